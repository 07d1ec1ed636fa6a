"""A table of text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table: a title, what to know before reading it, and rows of text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Columns that read better aligned to the right."""
    missing: bool = False
    """It could not be built, and its note says why."""


def missing_sheet(title: str, sentence: str) -> Sheet:
    """Stands in the place of a table that could not be built."""
    return Sheet(title=title, note=sentence, columns=(), rows=(), missing=True)
