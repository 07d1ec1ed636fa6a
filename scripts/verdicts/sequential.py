"""This program's answer with replicates until decided: looks at 3, 5, 7 and 9 of each arm.

The looks are the program's own (``rethink_ray.judge.looks.take_look``): levels, correction for the
family, futility, and which comparison stops where. An arm runs on while one of its comparisons is
open, so it has as many replicates as the last of them needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.judge.looks import VERDICTS, take_look
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.records.types import ComparisonVerdict
from rethink_ray.spec.study import Study
from verdicts.answers import Answer
from verdicts.asked import question_of
from verdicts.program import CellRun, StudyRun, build_study, list_winners
from verdicts.surfaces import Cell, Question

SEQUENTIAL = "rethink-ray, until decided"
UNTIL_DECIDED = (3, 9)
"""Replicates at the first and at the last look."""
VERDICT_OF: Mapping[ComparisonVerdict, Verdict] = {said: v for v, said in VERDICTS.items()}
"""How a look words a verdict -> verdict. What is open or given up in the end is inconclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How a sequential study ended."""

    verdicts: Mapping[Question, Verdict]
    replicates: Mapping[Cell, int]
    """Cell -> how many replicates of each of its configurations ran."""

    def updates(self, cells: Mapping[Cell, CellRun]) -> float:
        """What search and replicates cost, in units of 1x."""
        return sum(run.updates(self.replicates[cell]) for cell, run in cells.items())


def answer_until_decided(
    run: StudyRun, trials: int, seed: int, replicates: tuple[int, int] = UNTIL_DECIDED
) -> Answer:
    """The answer of a study that stops each comparison once it is decided.

    Args:
        run: of the study with as many replicates as the last look has.
        trials: search trials of each cell.
        seed: of the study.
        replicates: at the first and at the last look.
    """
    every, longest = (
        take_looks(build_study(trials, seed, replicates, is_longest_alone=alone), run.samples)
        for alone in (False, True)
    )
    return Answer(
        policy=SEQUENTIAL,
        budget=f"{trials} trials, {replicates[0]} to {replicates[1]} replicates",
        winners=list_winners(run, every.replicates),
        updates=every.updates(run.cells),
        updates_longest=longest.updates(run.cells),
        updates_search=run.search_updates,
        verdicts=every.verdicts,
        verdicts_longest=longest.verdicts,
    )


def take_looks(study: Study, samples: Sequence[ScoreSample]) -> Looked:
    """Every look at a study, until all comparisons are decided or no look is left.

    Args:
        study: its budget says ``until: decided``.
        samples: with as many replicates as the last look has, or more. Those that a stopped
            comparison would not have run change nothing: its numbers are frozen.
    """
    budget = study.budget.sequential
    assert budget is not None, "replicates until decided"
    looks = {num: [sample.up_to(num) for sample in samples] for num in budget.looks}
    outcomes = take_look(study, looks).comparisons
    replicates = {(sample.regime, sample.arm): budget.first for sample in samples}
    verdicts = {}
    for outcome in outcomes:
        measured = outcome.comparison.measured
        assert measured is not None, "every question has two sides"
        verdicts[question_of(measured)] = VERDICT_OF.get(outcome.verdict, Verdict.INCONCLUSIVE)
        for cell in outcome.comparison.arms:
            replicates[cell] = max(replicates[cell], outcome.decided_at or budget.to)
    return Looked(verdicts=verdicts, replicates=replicates)


def answer_sequentially(studies: Mapping[int, StudyRun], seed: int) -> Iterator[Answer]:
    """The sequential answers of studies of every size.

    Args:
        studies: search trials -> the study of that size.
        seed: of the studies.
    """
    for trials, run in studies.items():
        yield answer_until_decided(run, trials, seed)
