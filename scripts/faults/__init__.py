"""Faults for studies: how they are inflicted from outside, and what must hold afterwards."""
