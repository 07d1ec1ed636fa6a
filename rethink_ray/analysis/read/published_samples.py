"""Samples read from tables of published numbers: what the papers' claims compare."""

import re
from collections.abc import Iterator

from rethink_ray.analysis.read.published_tables import PublishedTable
from rethink_ray.judge.samples import ScoreSample

LENGTH = re.compile(r"(\d+(?:\.\d+)?)x")


def published_samples(table: PublishedTable) -> Iterator[ScoreSample]:
    """One sample per number."""
    for row in table.rows:
        labels = {column: frozenset({text}) for column, text in row.labels.items()}
        labels["dataset"] = frozenset({row.labels["regime"].partition("_")[0]})
        line = f"{table.name}, line {row.line}"
        yield ScoreSample(
            labels=labels,
            images=row.images,
            length=_length_of(row.labels["schedule"]),
            values={0: row.value},
            evidence=(line,),
            configuration=line,
            merit=row.value,
            notes=(f"a row is noted: {row.labels['note']}",) if row.labels["note"] else (),
        )


def _length_of(schedule: str) -> float | None:
    match = LENGTH.fullmatch(schedule)
    return float(match[1]) if match else None
