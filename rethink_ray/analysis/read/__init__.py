"""Numbers out of a study's tables, or of a published one."""
