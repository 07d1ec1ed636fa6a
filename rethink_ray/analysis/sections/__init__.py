"""One file per optional section: rows in, one sheet out."""
