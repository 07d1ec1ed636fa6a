"""A study's tables, read once into all that verdicts are made from.

    scores = read_scores(tables)
    scores.list_samples()              # what claims compare: one sample per cell, length and metric

Looks, findings, plans and ``compare`` take this one path, so they cannot disagree about a score.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.judge.read.costs import StudyCost, study_cost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.searches import cell_results
from rethink_ray.judge.read.study_samples import objective_samples, study_samples
from rethink_ray.judge.read.trials import CellRecord, read_cells
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyScores:
    """The trials of each cell, what they amount to, and what they cost."""

    tables: StudyTables
    records: Mapping[Cell, CellRecord]
    results: Mapping[Cell, CellResult]
    cost: StudyCost

    def list_samples(self) -> tuple[ScoreSample, ...]:
        """One sample per cell, length and metric; a contender's second name is left out."""
        tables = self.tables
        return tuple(
            study_samples(tables.study, tables.facts, self.records, self.results, self.cost)
        )

    def list_objective_samples(self) -> tuple[ScoreSample, ...]:
        """One sample per cell and length, of the objective; second names are included."""
        return tuple(objective_samples(self.tables.study, self.tables.facts, self.results))


def read_scores(tables: StudyTables) -> StudyScores:
    """The scores of a study, finished or not.

    Raises:
        RecordError: the tables lack a column.
    """
    records = read_cells(tables)
    return StudyScores(
        tables=tables,
        records=records,
        results=cell_results(tables.study, records),
        cost=study_cost(tables, records),
    )
