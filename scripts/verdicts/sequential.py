"""This program's answer with replicates until decided: looks at 3, 5, 7 and 9 of each arm.

At a look every open comparison is tested by its sequential p values, and all of them are corrected
together (``rethink_ray/judge/families.py``). From five replicates on a comparison is given up, and
stays open in the end, if no look to come has a chance of 2 % to decide it. An arm runs on while a
comparison of it is neither decided nor given up, the reference as long as any of its regime's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rethink_ray.judge.families import (
    FamilyDecision,
    FamilyMember,
    decide_family,
    is_clear_of_margin,
)
from rethink_ray.judge.rules import rule_of
from rethink_ray.judge.spending import (
    LookPlan,
    chance_to_decide_later,
    sequential_p,
    sequential_p_one_sided,
)
from rethink_ray.judge.statistics import Estimate, contrast
from rethink_ray.judge.verdicts import Verdict
from verdicts.answers import Answer
from verdicts.one_rule import LONGEST_QUESTIONS, p_of_margin, verdict_of
from verdicts.program import CellRun
from verdicts.surfaces import ARMS, LENGTHS, MARGIN, QUESTIONS, Cell, Question

SEQUENTIAL = "rethink-ray, until decided"
PLAN = LookPlan(looks=(3, 5, 7, 9))
FIRST, LAST = PLAN.looks[0], PLAN.looks[-1]
FIRST_FUTILE = 5
FUTILE_BELOW = 0.02


@dataclass(slots=True)
class OpenComparison:
    """One comparison while a study runs."""

    question: Question
    p_zero: list[float] = field(default_factory=list)
    """Of the difference against zero, look by look."""
    p_far: list[float] = field(default_factory=list)
    """Of the difference against the margin, the larger of both sides."""
    verdict: Verdict | None = None
    """None while it runs; ``INCONCLUSIVE`` once it is given up."""
    has_left: bool = False

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """The two cells that it compares."""
        regime = self.question.regime
        return (regime, self.question.arm), (regime, ARMS[0])

    def look(self, effect: Estimate) -> FamilyMember:
        """What the family needs to know at a look with this difference."""
        assert effect.p_value is not None, "three scores on each side"
        self.p_zero.append(effect.p_value)
        self.p_far.append(p_of_margin(effect))
        return FamilyMember(
            p_zero=sequential_p(PLAN, self.p_zero),
            p_far=sequential_p_one_sided(PLAN, self.p_far),
            is_clear=is_clear_of_margin(effect, MARGIN),
            has_left=self.has_left,
        )

    def decide(self, decision: FamilyDecision, effect: Estimate) -> None:
        """Keeps what a look decides."""
        self.has_left = decision.has_left
        verdict = verdict_of(decision, effect.value)
        self.verdict = None if verdict is Verdict.INCONCLUSIVE else verdict

    def give_up_if_futile(self, effect: Estimate, num: int, num_left: int) -> None:
        """Stops the comparison if it can hardly be decided any more.

        Args:
            effect: its difference at this look.
            num: replicates at this look.
            num_left: how many comparisons share the error still.
        """
        if self.verdict is not None or not FIRST_FUTILE <= num < LAST:
            return
        rule = rule_of("above", MARGIN, apart_by=num_left, margin_by=num_left)
        chances = chance_to_decide_later(PLAN, PLAN.looks.index(num), effect, rule)
        if max(chances) < FUTILE_BELOW:
            self.verdict = Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How a sequential study ended."""

    verdicts: Mapping[Question, Verdict]
    replicates: Mapping[Cell, int]
    """Cell -> how many replicates of each of its configurations ran."""

    def updates(self, cells: Mapping[Cell, CellRun]) -> float:
        """What search and replicates cost, in units of 1x."""
        return sum(run.updates(self.replicates[cell]) for cell, run in cells.items())


def answer_until_decided(cells: Mapping[Cell, CellRun], trials: int) -> Answer:
    """The answer of a study that stops each comparison once it is decided."""
    everything, longest = (take_looks(cells, q) for q in (QUESTIONS, LONGEST_QUESTIONS))
    winners = {
        (*cell, length): run.winner(length, everything.replicates[cell])
        for cell, run in cells.items()
        for length in LENGTHS
    }
    return Answer(
        policy=SEQUENTIAL,
        budget=f"{trials} trials, {FIRST} to {LAST} replicates",
        winners=winners,
        updates=everything.updates(cells),
        updates_longest=longest.updates(cells),
        verdicts=everything.verdicts,
        verdicts_longest=longest.verdicts,
    )


def take_looks(cells: Mapping[Cell, CellRun], questions: Sequence[Question]) -> Looked:
    """Every look at a study that asks these questions, until all are decided or none is left."""
    comparisons = [OpenComparison(question) for question in questions]
    replicates = dict.fromkeys(cells, FIRST)
    for num in PLAN.looks:
        still_open = [c for c in comparisons if c.verdict is None]
        for cell in {cell for c in still_open for cell in c.cells}:
            replicates[cell] = num
        _look(comparisons, cells, num)
    verdicts = {c.question: c.verdict or Verdict.INCONCLUSIVE for c in comparisons}
    return Looked(verdicts=verdicts, replicates=replicates)


def _look(comparisons: Sequence[OpenComparison], cells: Mapping[Cell, CellRun], num: int) -> None:
    effects: dict[Question, Estimate] = {}
    members: list[FamilyMember] = []
    for comparison in comparisons:
        if comparison.verdict is not None:
            members.append(FamilyMember(is_open=False, has_left=comparison.has_left))
            continue
        side, against = (
            cells[cell].winner(comparison.question.length, num).scores for cell in comparison.cells
        )
        effect = contrast(((1.0, side), (-1.0, against)))
        assert effect is not None, "both sides have scores"
        effects[comparison.question] = effect
        members.append(comparison.look(effect))
    decisions = decide_family(members)
    num_left = max(1, sum(not decision.has_left for decision in decisions))
    for comparison, decision in zip(comparisons, decisions, strict=True):
        effect = effects.get(comparison.question)
        if effect is not None:
            comparison.decide(decision, effect)
            comparison.give_up_if_futile(effect, num, num_left)


def answer_sequentially(studies: Mapping[int, Mapping[Cell, CellRun]]) -> Iterator[Answer]:
    """The sequential answers of studies of every size.

    Args:
        studies: search trials -> the cells of the study of that size.
    """
    for trials, cells in studies.items():
        yield answer_until_decided(cells, trials)
