"""Readers of annotation formats: files in, ``RawSplit`` out."""
