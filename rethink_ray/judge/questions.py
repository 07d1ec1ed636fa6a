"""The claims that every study makes by itself: which arms it compares, where, and how.

- A headline: an arm ends above the reference at the longest length that both have, or each at its
  own best length where ladders end when they converge. Headlines are corrected together.
- A secondary comparison: the same of two arms of which neither is the reference. They are corrected
  together among themselves, so that headlines keep their p.
- The other lengths of the same two arms, one by one.
- A catch-up: the reference catches up with the arm by the longest length.
- A check: two arms with exactly the same settings (twins) cannot be told apart.
- A length: a schedule is long enough for one arm, or a longer one still gains.

Each question holds a ``Claim``, as a study file could declare it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from rethink_ray.judge.arms import (
    differ_in_start_alone,
    find_reference_arm,
    find_twins,
    has_own_start,
)
from rethink_ray.judge.decisions import Judgement
from rethink_ray.judge.matching import find_comparisons
from rethink_ray.judge.measurements import Measurement, measure
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import FindingFamily, FindingKind
from rethink_ray.judge.wording import times
from rethink_ray.protocol.cell_rules import may_end_early
from rethink_ray.spec.claim import Claim, Selector
from rethink_ray.spec.study import Study

ArmInRegime = tuple[str, str]
"""(regime, arm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A claim that a study makes by itself."""

    kind: FindingKind
    family: FindingFamily
    regime: str
    arms: tuple[str, ...]
    """Two arms, the reference or the first twin before the other; a single one for a length."""
    claim: Claim
    is_about_start: bool = False
    """One arm starts from random and the other from trained weights; nothing else differs."""

    def measure(self, samples: Iterable[ScoreSample], margin: float) -> tuple[Measurement, ...]:
        """The difference in every comparison that tests the claim; empty if there is none."""
        comparisons = find_comparisons(self.claim, samples)
        if isinstance(comparisons, str):
            return ()
        return tuple(measure(self.claim, c, margin) for c in comparisons)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedQuestion:
    """A question, the difference measured for it, and the verdict."""

    question: Question
    measured: Measurement
    decision: Judgement


def ask_about_arms(study: Study) -> tuple[Question, ...]:
    """The study's questions about two arms, regime by regime, arms in the file's order."""
    return tuple(q for regime in study.regimes for q in _ask_of_regime(study, regime))


def _ask_of_regime(study: Study, regime: str) -> Iterator[Question]:
    reference, first_names = find_reference_arm(study, regime), find_twins(study)
    for arm in study.arms:
        if arm in first_names:
            yield ask_twins(study, regime, (first_names[arm], arm))
        elif arm != reference:
            pair = (reference, arm)
            is_about_start = _is_about_start(study, regime, pair)
            yield ask_lead(study, regime, pair, is_about_start=is_about_start)
            yield ask_rungs(study, regime, pair, is_about_start=is_about_start)
            yield ask_catch_up(study, regime, pair)
    others = [arm for arm in study.arms if arm != reference and arm not in first_names]
    for pair in combinations(others, 2):
        is_about_start = _is_about_start(study, regime, pair)
        lead = ask_lead(study, regime, pair, is_about_start=is_about_start)
        yield replace(lead, family="secondary")
        yield ask_rungs(study, regime, pair, is_about_start=is_about_start)


def _is_about_start(study: Study, regime: str, arms: tuple[str, str]) -> bool:
    """Whether the first arm starts from random weights, and the two differ in nothing else."""
    return has_own_start(study, regime, *arms) and differ_in_start_alone(study, regime, *arms)


def ask_lead(
    study: Study, regime: str, arms: tuple[str, str], *, is_about_start: bool = False
) -> Question:
    """The headline: the second arm ends above the first."""
    rung: Literal["longest", "best"] = "best" if may_end_early(study) else "longest"
    claim = _claim(study, regime, (arms[1], arms[0]), "ends above").model_copy(
        update={"rung": rung}
    )
    return Question(
        kind="arms",
        family="primary",
        regime=regime,
        arms=arms,
        claim=claim,
        is_about_start=is_about_start,
    )


def ask_at_best(study: Study, regime: str, arms: tuple[str, str]) -> Question:
    """The second arm ends above the first, each at its own best length."""
    claim = _claim(study, regime, (arms[1], arms[0]), "ends above").model_copy(
        update={"rung": "best"}
    )
    return Question(kind="arms", family="descriptive", regime=regime, arms=arms, claim=claim)


def ask_rungs(
    study: Study, regime: str, arms: tuple[str, str], *, is_about_start: bool = False
) -> Question:
    """The second arm is above the first, at every length that both have."""
    return Question(
        kind="arms",
        family="descriptive",
        regime=regime,
        arms=arms,
        claim=_claim(study, regime, (arms[1], arms[0]), "ends above"),
        is_about_start=is_about_start,
    )


def ask_catch_up(study: Study, regime: str, arms: tuple[str, str]) -> Question:
    """The first arm catches up with the second by the longest length."""
    claim = _claim(study, regime, arms, "catches up with")
    claim = claim.model_copy(update={"expect": "catches_up"})
    return Question(kind="catch_up", family="descriptive", regime=regime, arms=arms, claim=claim)


def ask_twins(study: Study, regime: str, arms: tuple[str, str]) -> Question:
    """Whether the two arms can be told apart at some length. The check expects that they cannot."""
    claim = _claim(study, regime, (arms[1], arms[0]), "is told apart from")
    return Question(kind="same", family="check", regime=regime, arms=arms, claim=claim)


def _claim(study: Study, regime: str, sides: tuple[str, str], verb: str) -> Claim:
    """A claim about two named arms at each length that both have."""
    return Claim(
        says=f"on {regime}, {sides[0]} {verb} {sides[1]}",
        side={"arm": sides[0]},
        against={"arm": sides[1]},
        where=_where(study, regime),
        match=(),
        rung="each",
    )


def ask_about_lengths(study: Study, samples: Sequence[ScoreSample]) -> tuple[Question, ...]:
    """One question for each cell with two lengths or more: how long a schedule it needs."""
    by_cell: dict[ArmInRegime, list[ScoreSample]] = {}
    for sample in samples:
        if sample.length is not None and not sample.absent:
            by_cell.setdefault((sample.regime, sample.arm), []).append(sample)
    questions = (_ask_of_ladder(study, cell, ladder) for cell, ladder in by_cell.items())
    return tuple(question for question in questions if question is not None)


def _ask_of_ladder(
    study: Study, cell: ArmInRegime, ladder: Sequence[ScoreSample]
) -> Question | None:
    """Whether the shortest length within the margin is enough, or the best one still gains.

    Both lengths are chosen by scores on the select split, so that the report split only judges.
    """
    lengths = [s.length for s in ladder if s.length is not None]
    best, short = find_best_lengths(
        {s.length: s.merit for s in ladder if s.length is not None and s.merit is not None},
        study.margin,
    )
    if best is None or short is None or len(lengths) < 2:
        return None
    if short < best:
        return _ask_length(study, cell, (short, best), is_enough=True)
    if best == lengths[0]:
        return _ask_length(study, cell, (best, lengths[-1]), is_enough=True)
    before = lengths[lengths.index(best) - 1]
    return _ask_length(study, cell, (before, best), is_enough=False)


def find_best_lengths(
    merits: dict[float, float], margin: float
) -> tuple[float | None, float | None]:
    """(best length, shortest within the margin of it); of equals the shorter one.

    Args:
        merits: length -> score on the select split.
        margin: of the study.
    """
    if not merits:
        return None, None
    top = max(merits.values())
    best = min(length for length, merit in merits.items() if merit == top)
    return best, min(length for length, merit in merits.items() if merit >= top - margin)


def _ask_length(
    study: Study, cell: ArmInRegime, lengths: tuple[float, float], *, is_enough: bool
) -> Question:
    """The shorter of two lengths is enough: not below the other. Or the longer one still gains."""
    (regime, arm), (short, long) = cell, (times(length) for length in lengths)
    judged, other = (short, long) if is_enough else (long, short)
    says = (
        f"{short} is enough for {arm}" if is_enough else f"{arm} still gains from {short} to {long}"
    )
    claim = Claim(
        says=f"on {regime}, {says}",
        side={"arm": arm, "schedule": judged},
        against={"arm": arm, "schedule": other},
        where=_where(study, regime),
        match=(),
        rung="best",  # of the one length that each side selects
        expect="not_below" if is_enough else "above",
    )
    return Question(kind="length", family="descriptive", regime=regime, arms=(arm,), claim=claim)


def _where(study: Study, regime: str) -> Selector:
    return {"regime": regime, "metric": study.objective.metric}


def describe_headlines(study: Study) -> str:
    """At which lengths headlines compare two arms, in words."""
    if may_end_early(study):
        return "each arm at its own best length"
    return "the longest shared length of each pair"
