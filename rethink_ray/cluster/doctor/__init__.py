"""Checks of machine, cluster and study, before a study runs."""
