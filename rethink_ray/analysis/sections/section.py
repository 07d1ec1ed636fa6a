"""What an optional section of the report is, and what it is made from.

A section file holds everything about one question: the rows that answer it, and the sheet that
shows them. It ends in one ``Section``, which ``registry.py`` lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rethink_ray.analysis.read.kept_boxes import KeptStudy
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.verdicts import Finding
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

ReportPart = Literal["differences", "claims", "cost", "search", "caveats", "detections"]
"""The part of the report that a section stands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionInput:
    """Everything that sections read of a study."""

    study: Study
    facts: DataFacts
    records: Mapping[Cell, CellRecord]
    results: Mapping[Cell, CellResult]
    cost: StudyCost
    findings: tuple[Finding, ...] = ()
    """Empty while the findings themselves are being derived."""
    root: Path | None = None
    """The study's directory, for a section that reads files; None for all others."""
    boxes: KeptStudy | None = None
    """The boxes that replicates kept, for sections about detections; None for all others."""


def is_always_shown(given: SectionInput) -> bool:
    """True: the section applies to every study for which it has rows."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question, the rows that answer it, and the sheet that shows these rows."""

    key: str
    """Of its rows in ``Findings.sections`` and in ``findings.json``."""
    title: str
    """As readers know it, and as ``missing_sections`` names it."""
    part: ReportPart
    derive_rows: Callable[[SectionInput], tuple[Any, ...]]
    """Dataclasses; none where the section does not apply to a study."""
    build_sheet: Callable[[SectionInput, tuple[Any, ...]], Sheet]
    applies: Callable[[SectionInput], bool] = is_always_shown


def is_about_detections(given: SectionInput) -> bool:
    """Whether replicates of the study kept their boxes."""
    return given.boxes is not None


def is_about_annotations(given: SectionInput) -> bool:
    """Whether boxes were kept, and the annotations that they belong to are there."""
    return given.boxes is not None and given.boxes.images is not None
