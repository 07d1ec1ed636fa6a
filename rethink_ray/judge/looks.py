"""Looks at a study while it runs: which primary comparisons are decided, and which arms run on.

    decisions = take_look(study, {3: samples_at_3, 5: samples_at_5})
    decisions.comparisons[0].verdict, decisions.comparisons[0].decided_at   # 'supported', 5
    decisions.open_arms                                                     # these run on

A look happens study-wide once every arm that still runs has so many replicates (or searches). It
tests each open comparison with sequential p values, corrected for the whole family
(``families``). A decided comparison is frozen: verdict, p and interval are those of its look, at
equal numbers, though more runs follow. From ``FIRST_FUTILE`` replicates on a comparison also stops
if the looks to come have hardly a chance to decide it. That is never a verdict, and no level takes
it into account (non-binding).

The same samples always give the same decisions: ``search`` takes them to know what runs next, and
``judge_study`` takes them again to state findings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.corrections import (
    Corrections,
    DifferenceKey,
    FrozenDifference,
    Null,
    key_of_difference,
    list_nulls,
    null_expected,
    nulls_of,
)
from rethink_ray.judge.decisions import decide
from rethink_ray.judge.families import FamilyDecision, decide_family
from rethink_ray.judge.look_errors import LookErrors, read_look_errors
from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.look_tests import (
    PrimaryComparison,
    SeriesTests,
    derive_tests,
)
from rethink_ray.judge.measurements import Measurement, turn_round
from rethink_ray.judge.power import POWER
from rethink_ray.judge.questions import ArmInRegime, Question, ask_about_arms
from rethink_ray.judge.rules import ALPHA, rule_of
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.spending import chance_to_decide_later
from rethink_ray.judge.stage_estimates import estimate_stage
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, LEVEL, Estimate
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.records.types import ComparisonVerdict
from rethink_ray.spec.claim import about
from rethink_ray.spec.edits import select_declared_claims
from rethink_ray.spec.study import Study

FIRST_FUTILE = 5
"""With fewer replicates no comparison is given up."""
FUTILE_BELOW = 0.02
"""A comparison is given up if each look to come decides it with a smaller chance than this."""
VERDICTS: Mapping[Verdict, ComparisonVerdict] = {
    Verdict.SUPPORTED: "supported",
    Verdict.CONTRADICTED: "contradicted",
    Verdict.EQUIVALENT: "equivalent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOutcome:
    """What the looks so far say of one primary comparison."""

    comparison: PrimaryComparison
    """With the numbers of the look that stopped it, or of the last one."""
    stop: LookStop
    look: int
    """Number of that look, from zero."""
    p_values: Mapping[Null, float]
    """Null -> its p, corrected for the family, at that look."""
    sequential: Mapping[Null, float]
    """Null -> its sequential p, as if nothing else had been compared."""
    p_value: float | None
    """Corrected p of the null that the claim expects to be wrong; None without an interval."""
    has_left: bool
    """Its share of the error has passed on to the others."""
    num_sharing: int
    """How many comparisons shared the error with it at that look."""

    @property
    def key(self) -> str:
        """Names the comparison in its study."""
        return self.comparison.key

    @property
    def verdict(self) -> ComparisonVerdict:
        """Open, decided, or given up."""
        return self.stop.verdict

    @property
    def decided_at(self) -> int | None:
        """Replicates of each arm at the look that stopped it; None: it is open."""
        return None if self.verdict == "open" else self.stop.number


@dataclass(frozen=True, slots=True, kw_only=True)
class LookDecisions:
    """The primary comparisons after the looks so far."""

    comparisons: tuple[LookOutcome, ...]
    """In the order of the study: headlines, then primary claims."""
    open_arms: frozenset[ArmInRegime]
    """(regime, arm) of the cells that run on to the next look, the reference among them; after the
    last look, those that it left open."""
    corrections: Corrections
    """Of all findings of the study."""

    most: int
    """Replicates of each arm at the last planned look."""

    def with_all(self, comparisons: Sequence[PrimaryComparison]) -> "LookDecisions":
        """The same; before the first look, with these comparisons, of which nothing is shown yet.

        Args:
            comparisons: with the replicates that there are.
        """
        if self.comparisons:
            return self
        outcomes = tuple(_wait(self.most, comparison) for comparison in comparisons)
        return replace(self, comparisons=outcomes, corrections=correct_looks(outcomes))

    def freeze(self, key: str, measured: Measurement) -> Measurement:
        """The measurement of the look that stopped a comparison, with what came later beside it.

        Args:
            key: of the comparison.
            measured: with all replicates that there are.
        """
        outcome = next(o for o in self.comparisons if o.key == key)
        frozen, now = outcome.comparison.measured, measured.effect
        assert frozen is not None, "it is tested now, so it was at the looks"
        is_later = frozen.effect and now and now.nums != frozen.effect.nums
        return replace(frozen, stop=replace(outcome.stop, later=now if is_later else None))


def take_look(study: Study, samples_by_look: Mapping[int, Iterable[ScoreSample]]) -> LookDecisions:
    """The decisions of the looks so far, for a study that stops when it has decided.

    Args:
        study: its arms, claims, margin and budget.
        samples_by_look: number of replicates (or searches) at a look -> the samples with so many;
            looks in order. Without any look, the primary comparisons have no numbers.
    """
    errors = read_look_errors(study)
    assert errors is not None, "its budget says until: decided"
    by_look = {num: list_primary(study, samples) for num, samples in samples_by_look.items()}
    decisions = decide_looks(errors, by_look)
    twins = {
        (regime, name)
        for regime in study.regimes
        for name, first in find_twins(study).items()
        if (regime, first) in decisions.open_arms
    }
    return replace(decisions, open_arms=decisions.open_arms | twins)


def list_primary(study: Study, samples: Iterable[ScoreSample]) -> tuple[PrimaryComparison, ...]:
    """The comparisons that are corrected together: headlines, then the study's primary claims."""
    known = list(samples)
    return (*_list_headlines(study, known), *_list_claims(study, known))


def _list_headlines(study: Study, samples: Sequence[ScoreSample]) -> Iterator[PrimaryComparison]:
    for question in ask_about_arms(study):
        if question.family == "primary":
            for index, measured in enumerate(question.measure(samples, study.margin)):
                key = name_headline(question, index)
                yield PrimaryComparison(key=key, measured=measured)


def _list_claims(study: Study, samples: Sequence[ScoreSample]) -> Iterator[PrimaryComparison]:
    declared = about(study.objective.metric, select_declared_claims(study))
    primary = {name: claim for name, claim in declared.items() if claim.primary}
    for claim in measure_claims(primary, samples, study.margin):
        for index, measured in enumerate(claim.primary):
            yield PrimaryComparison(key=name_claim(claim.name, index), measured=measured)


def name_headline(question: Question, index: int) -> str:
    """The key of one comparison of a headline; mostly there is one."""
    return question.claim.says + (f" #{index}" if index else "")


def name_claim(name: str, index: int) -> str:
    """The key of one comparison of a declared claim."""
    return f"claim:{name}#{index}"


def decide_looks(
    errors: LookErrors, by_look: Mapping[int, Sequence[PrimaryComparison]]
) -> LookDecisions:
    """As ``take_look``, with the comparisons given: simulations judge many studies of one design.

    Args:
        errors: that the looks may spend.
        by_look: number of replicates at a look -> all comparisons, in the same order at each.
    """
    outcomes: tuple[LookOutcome, ...] = ()
    numbers = tuple(by_look)[: errors.num_deciding]
    for look in range(len(numbers)):
        history = [by_look[number] for number in numbers[: look + 1]]
        outcomes = _take_one(errors, numbers[look], history, outcomes)
    open_arms = (o.comparison.arms for o in outcomes if o.verdict == "open")
    return LookDecisions(
        comparisons=outcomes,
        open_arms=frozenset[ArmInRegime]().union(*open_arms),
        corrections=correct_looks(outcomes),
        most=errors.most,
    )


def correct_looks(outcomes: Sequence[LookOutcome]) -> Corrections:
    """The corrections of a study whose primary comparisons were judged at looks.

    If two comparisons test the same null, or are about the same difference, the one that was
    decided first counts.
    """
    p_values: dict[Null, float] = {}
    sequential: dict[Null, float] = {}
    shares: dict[Null, int] = {}
    frozen: dict[DifferenceKey, FrozenDifference] = {}
    for outcome in sorted(outcomes, key=lambda o: (not o.stop.is_decided, o.look)):
        for known, more in ((p_values, outcome.p_values), (sequential, outcome.sequential)):
            known.update({null: p for null, p in more.items() if null not in known})
        for null in outcome.p_values:
            shares.setdefault(null, outcome.num_sharing)
        measured = outcome.comparison.measured
        if measured is not None:
            key = key_of_difference(measured.difference)
            effect = measured.effect
            if measured.difference.terms != key[0]:
                effect = turn_round(effect)
            frozen.setdefault(key, FrozenDifference(effect=effect, stop=outcome.stop))
    return Corrections(
        p_values=p_values,
        num=max(1, len(outcomes)),
        shares=shares,
        sequential=sequential,
        frozen=frozen,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look, and the family that it decides about."""

    index: int
    number: int
    """Replicates of each arm."""
    num_compared: int


def _take_one(
    errors: LookErrors,
    number: int,
    history: Sequence[Sequence[PrimaryComparison]],
    before: Sequence[LookOutcome],
) -> tuple[LookOutcome, ...]:
    """The outcomes after one more look: what had stopped stays as it was, the rest is tested."""
    tested = [derive_tests(errors, series) for series in zip(*history, strict=True)]
    stopped = [
        before[i] if before and before[i].verdict != "open" else None for i in range(len(tested))
    ]
    decided = decide_family(
        [
            tests.as_member(is_open=outcome is None, has_left=bool(outcome and outcome.has_left))
            for tests, outcome in zip(tested, stopped, strict=True)
        ]
    )
    look = _Look(index=len(history) - 1, number=number, num_compared=len(tested))
    return tuple(
        outcome or _conclude(errors, look, tests, decision)
        for outcome, tests, decision in zip(stopped, tested, decided, strict=True)
    )


def _conclude(
    errors: LookErrors, look: _Look, tests: SeriesTests, decision: FamilyDecision
) -> LookOutcome:
    """What a look says of one comparison that was open."""
    measured = tests.comparison.measured
    verdict: ComparisonVerdict = "open"
    p_values: dict[Null, float] = {}
    if measured is not None and tests.sequential:
        p_values = dict(zip(nulls_of(measured), (decision.p_zero, decision.p_far), strict=True))
        measured = _widen(errors, look.index, measured)
        corrections = Corrections(p_values=p_values, num=1, sequential=tests.sequential)
        verdict = VERDICTS.get(decide(measured, corrections).verdict, "open")
    chances = _chances(errors, look, measured, decision.num_sharing)
    if measured is None or measured.effect is None:
        verdict = "futile"  # one side has no score, and more replicates have none either
    elif verdict == "open" and look.number >= FIRST_FUTILE and chances:
        verdict = "futile" if max(chances.values()) < FUTILE_BELOW else "open"
    stop = LookStop(
        verdict=verdict,
        number=look.number,
        most=max(look.number, errors.most),
        more=_count_more(look.number, chances) if verdict == "open" else None,
        p=tests.sequential[null_expected(measured)] if measured and tests.sequential else None,
    )
    return LookOutcome(
        comparison=replace(tests.comparison, measured=measured),
        stop=_with_estimates(errors, tests.effects, stop, look.num_compared),
        look=look.index,
        p_values=p_values,
        sequential=tests.sequential,
        p_value=_p_expected(measured, decision) if p_values else None,
        has_left=decision.has_left,
        num_sharing=decision.num_sharing,
    )


def _wait(most: int, comparison: PrimaryComparison) -> LookOutcome:
    """A comparison before the first look; its numbers decide nothing yet."""
    nothing_shown = dict.fromkeys(list_nulls(comparison.measured), 1.0)
    return LookOutcome(
        comparison=comparison,
        stop=LookStop(verdict="open", number=0, most=most),
        look=-1,
        p_values=nothing_shown,
        sequential=nothing_shown,
        p_value=None,
        has_left=False,
        num_sharing=1,
    )


def _widen(errors: LookErrors, look: int, measured: Measurement) -> Measurement:
    """The measurement with intervals that hold whichever look stops the study."""
    effect = measured.effect
    if effect is None:
        return measured
    levels = tuple((x, errors.at_look(look, 1.0 - x)) for x in (LEVEL, EQUIVALENCE_LEVEL))
    difference = replace(measured.difference, effect=replace(effect, errors=levels))
    return replace(measured, difference=difference)


def _chances(
    errors: LookErrors, look: _Look, measured: Measurement | None, num_sharing: int
) -> dict[int, float]:
    """Number of replicates at each planned look to come -> chance that it decides."""
    effect, looks = measured.effect if measured else None, errors.plan.looks
    if measured is None or effect is None or look.index >= len(looks) - 1:
        return {}
    by = num_sharing * effect.looks * ALPHA / (ALPHA - errors.reserve)
    rule = rule_of(measured.expects, measured.margin, apart_by=by, margin_by=by)
    chances = chance_to_decide_later(errors.plan, look.index, effect, rule)
    return dict(zip(looks[look.index + 1 :], chances, strict=True))


def _count_more(number: int, chances: Mapping[int, float]) -> int | None:
    """How many more replicates decide four times in five; None: no look to come does."""
    return next((num - number for num, chance in chances.items() if chance >= POWER), None)


def _with_estimates(
    errors: LookErrors, effects: Sequence[Estimate], stop: LookStop, num_compared: int
) -> LookStop:
    """The stop with the estimates that allow for the looks; none without an interval."""
    if not effects or len(effects) > len(errors.plan.looks):
        return stop
    error = ALPHA - errors.reserve
    estimates = estimate_stage(errors.plan, effects, num_compared, error=error)
    if estimates is None:
        return stop
    return replace(stop, family_interval=estimates.family, unbiased=estimates.median_unbiased)


def _p_expected(measured: Measurement | None, decision: FamilyDecision) -> float | None:
    """Corrected p of the null that the claim expects to be wrong."""
    if measured is None:
        return None
    return decision.p_zero if measured.expects == "above" else decision.p_far
