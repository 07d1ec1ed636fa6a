"""What the keys of a study mean together: every rule is an entry of a table, by subject."""
