"""The rules of a study, on (study, records): no file, no clock."""
