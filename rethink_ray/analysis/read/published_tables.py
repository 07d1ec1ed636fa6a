"""Numbers that papers report, as tables that a reader can write: one row per number.

A table that ships is named ``published:he_2018``; any other is a CSV file with the same columns.
Columns beyond those are kept, and claims may select by them.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rethink_ray.spec.claim import COLUMNS, NUMBERS
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.settings import nearest

PUBLISHED_PREFIX = "published:"
PUBLISHED_FOLDER = Path(__file__).parent / "published"
REMARKS = ("table", "note", "seeds")
"""Columns that say nothing about what was trained; two rows equal in all others are one number."""
AP_METRIC = re.compile(r"(mask_|keypoint_)?ap(50|75|_\w+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One reported number and what it was reported for."""

    line: int
    """In its file, the header being line 1."""
    value: float
    images: int
    labels: Mapping[str, str]
    """Every column but ``value``, as written, without outer blanks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """A table of reported numbers."""

    name: str
    citation: str
    """Empty for a reader's table."""
    rows: tuple[PublishedRow, ...]


def is_published(name: str) -> bool:
    """Whether ``name`` means a table of numbers and not a study directory."""
    return name.startswith(PUBLISHED_PREFIX) or name.endswith(".csv")


def published_names() -> tuple[str, ...]:
    """Stems of the tables that ship, in alphabetical order."""
    return tuple(sorted(path.stem for path in PUBLISHED_FOLDER.glob("*.csv")))


def load_published(name: str) -> PublishedTable:
    """The table ``published:STEM`` or the CSV file of that path.

    Raises:
        DataError: no such table; a missing column, a cell that is no number, a number given twice:
            with file, line and remedy.
    """
    if not name.startswith(PUBLISHED_PREFIX):
        return PublishedTable(name=Path(name).name, citation="", rows=_read(Path(name), name))
    stem = name.removeprefix(PUBLISHED_PREFIX)
    if stem not in published_names():
        must = "must name a table that ships"
        raise DataError(explain(name, must, stem, nearest(stem, list(published_names()))))
    citations = yaml.safe_load((PUBLISHED_FOLDER / "sources.yaml").read_text(encoding="utf-8"))
    rows = _read(PUBLISHED_FOLDER / f"{stem}.csv", name)
    return PublishedTable(name=name, citation=citations[stem], rows=rows)


def _read(path: Path, where: str) -> tuple[PublishedRow, ...]:
    """Every row of a file, checked cell by cell."""
    reader = csv.reader(io.StringIO(_text_of(path, where), newline=""), strict=True)
    rows: list[PublishedRow] = []
    header: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _checked_header([cell.strip() for cell in cells], f"{where}: line {line}")
            else:
                rows.append(_row(header, [cell.strip() for cell in cells], where, line))
    except csv.Error as error:
        must = "must be comma-separated values"
        raise DataError(explain(f"{where}: line {reader.line_num}", must, str(error))) from None
    if not rows:
        remedy = f"Write a header and a row per number: {', '.join(COLUMNS)}."
        raise DataError(explain(where, "must hold at least one number", "none", remedy))
    _check_points(rows, where)
    return _without_repeats(rows, where)


def _check_points(rows: Sequence[PublishedRow], where: str) -> None:
    """Refuses AP in shares of one: every difference would be inside the margin."""
    scores = [row.value for row in rows if AP_METRIC.fullmatch(row.labels["metric"])]
    if scores and 0.0 < max(scores) <= 1.0:
        must = "AP must be in points from 0 to 100, and some of it above 1"
        remedy = "Multiply shares by 100."
        raise DataError(explain(where, must, f"at most {max(scores):g}", remedy))


def _text_of(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        remedy = f"Tables that ship: {', '.join(PUBLISHED_PREFIX + n for n in published_names())}."
        raise DataError(explain(where, "must be a readable file", error.strerror, remedy)) from None
    except UnicodeDecodeError:
        remedy = "Save the table as UTF-8."
        raise DataError(explain(where, "must be UTF-8 text", "other bytes", remedy)) from None


def _checked_header(header: list[str], line_name: str) -> list[str]:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        must = f"must have the columns {', '.join(COLUMNS)}"
        remedy = f"Add: {', '.join(missing)}."
        if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
            remedy = "Separate cells by commas, and write numbers with a point: 36.8."
        raise DataError(explain(line_name, must, ", ".join(header), remedy))
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        must = "must name each column once"
        raise DataError(explain(line_name, must, ", ".join(twice), "Rename or drop one of them."))
    return header


def _row(header: Sequence[str], cells: list[str], where: str, line: int) -> PublishedRow:
    line_name = f"{where}: line {line}"
    if len(cells) != len(header):
        must = f"must have {len(header)} cells"
        remedy = "A cell that holds a comma stands in double quotes."
        raise DataError(explain(line_name, must, len(cells), remedy))
    labels = dict(zip(header, cells, strict=True))
    empty = [c for c in COLUMNS if not labels[c] and c not in ("note", "tuning", "table")]
    if empty:
        must = f"{', '.join(empty)} must be given"
        raise DataError(
            explain(line_name, must, "an empty cell", "Write none where there is none.")
        )
    numbers = {column: _number(labels[column], column, line_name) for column in NUMBERS}
    for column in ("images", "seeds"):
        if numbers[column] < 1 or numbers[column] != int(numbers[column]):
            must = f"{column} must be a whole number above zero"
            raise DataError(explain(line_name, must, labels[column]))
    value = numbers["value"]
    if AP_METRIC.fullmatch(labels["metric"]) and not 0.0 <= value <= 100.0:
        must = f"{labels['metric']} must be in points from 0 to 100"
        raise DataError(explain(line_name, must, labels["value"]))
    del labels["value"]
    return PublishedRow(line=line, value=value, images=int(numbers["images"]), labels=labels)


def _number(text: str, column: str, line_name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        remedy = "Write it plainly, with a point: 36.8. Leave out a row without a number."
        raise DataError(explain(line_name, f"{column} must be a number", text, remedy))
    return value


def _without_repeats(rows: list[PublishedRow], where: str) -> tuple[PublishedRow, ...]:
    """Each number once: two tables of a paper may print the same number."""
    first: dict[tuple[tuple[str, str], ...], PublishedRow] = {}
    for row in rows:
        same = tuple((c, v) for c, v in row.labels.items() if c not in REMARKS)
        known = first.setdefault(same, row)
        if known.value != row.value:
            must = f"must say what line {known.line} says of the same run ({known.value:g})"
            remedy = "Tell the two rows apart in some column, or leave one out."
            raise DataError(explain(f"{where}: line {row.line}", must, row.value, remedy))
    return tuple(first.values())
