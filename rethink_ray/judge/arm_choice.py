"""Which arm a study recommends in one regime: a choice from the arms that may be the best.

1. Each arm stands at its own best length. Search trials choose it on the select split, so that its
   replicates are used once: to compare it.
2. ``best_set`` says which arms are not shown to be worse than another. The judge has a say: a
   comparison that the findings call open, or equal within the margin, leaves no arm out.
3. If the cheapest arm of the set is shown to be less than the margin behind all others of it, it is
   chosen; else the arm with the highest mean. ``cost_order`` ranks arms by their recipes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from rethink_ray.judge.best_set import CAUTION, BestSet, find_best_set
from rethink_ray.judge.corrections import Corrections
from rethink_ray.judge.decisions import Judgement, decide, find_rule
from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.matching import Comparison, MatchedPair
from rethink_ray.judge.measurements import Measurement, measure
from rethink_ray.judge.power import count_replicates_needed
from rethink_ray.judge.questions import ask_at_best, find_best_lengths
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES, mean_of, sample_sd
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.study import Study

Why = Literal["one_arm", "alone", "cheapest", "highest", "no_interval", "unreplicated", "none"]
"""Why an arm was chosen. ``one_arm``: no other has three replicates. ``alone``: every other is
shown to be behind. ``cheapest``: of the set, and less than the margin behind all others of it.
``highest``: it has the highest mean of the set. ``no_interval``: the highest mean, but no arm has
three replicates. ``unreplicated``: it has none, and is the study's only arm. ``none``: nothing was
chosen, because single search trials lead by luck, or because every replicate failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """Two arms, each at its own best length."""

    arms: tuple[str, str]
    """The claim is that the second ends above the first."""
    measured: Measurement
    decision: Judgement

    def is_shown_ahead(self, arm: str) -> bool:
        """Whether the verdict is that this arm ends above the other."""
        is_second = arm == self.arms[1]
        return self.decision.verdict is (Verdict.SUPPORTED if is_second else Verdict.CONTRADICTED)

    def p_not_behind(self, arm: str, corrections: Corrections) -> float | None:
        """p of the null that this arm is behind the other by the margin or more."""
        difference, margin = self.measured.difference, self.measured.margin
        if arm == self.arms[1]:
            return corrections.p_not_below(difference, margin)
        return corrections.p_not_above(difference, margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenComparison:
    """The chosen arm and another of the set: which one is better is not decided."""

    arms: tuple[str, str]
    """The chosen arm, then the other."""
    lead: float
    """Of the chosen arm, in points."""
    is_equal: bool
    """They are shown to differ by less than the margin, so nothing is left to decide."""
    needed: int | None
    """Replicates per arm that would decide, four times in five; None: more than 100."""
    stop: LookStop | None
    """Where the looks leave it; None: no look decides about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmChoice:
    """The arm that a study recommends in one regime, and the arms that it was chosen from."""

    regime: str
    samples: Mapping[str, ScoreSample]
    """Arm -> its replicates at its best length, arms in the study's order; twins once."""
    judged: tuple[str, ...]
    """Arms that were compared: those with three replicates, or with any if none has three."""
    best: BestSet | None
    """None where no arm has three replicates."""
    arm: str | None
    """The chosen arm; None if no arm has a replicate, or if every replicate failed."""
    why: Why
    shown_behind: Mapping[str, str]
    """Arm outside the set -> the best arm that is shown to be ahead of it."""
    open: tuple[OpenComparison, ...]
    """The chosen arm against each other of the set."""


def choose_arm(
    study: Study,
    regime: str,
    samples: Sequence[ScoreSample],
    cost_order: Sequence[str],
    corrections: Corrections,
) -> ArmChoice:
    """The arm to train with in a regime.

    Args:
        study: its margin and objective.
        regime: the regime.
        samples: of the study's objective; a second name of a twin must be left out.
        cost_order: the arms from the cheapest to the dearest.
        corrections: the study's, so that the choice and the findings agree.
    """
    at_best = {s.arm: s for s in _at_best_lengths(study, regime, samples)}
    judged = [arm for arm, s in at_best.items() if len(s.values) >= MIN_REPLICATES]
    if not judged:
        return _choose_without_interval(regime, at_best, cost_order)
    pairs = _Pairs(study, [at_best[arm] for arm in judged], corrections)
    looks = max(at_best[arm].looks for arm in judged)
    groups = {arm: at_best[arm].numbers for arm in judged}
    best = find_best_set(groups, ALPHA / looks, pairs.is_shown_ahead)
    cheapest = next(arm for arm in cost_order if arm in best.arms)
    is_enough = best.behind[cheapest] < study.margin and pairs.is_never_behind(cheapest, best.arms)
    chosen = cheapest if is_enough else _highest(best.arms, at_best, cost_order)
    why: Why = "cheapest" if is_enough else "highest"
    if len(best.arms) == 1:
        why = "alone" if len(judged) > 1 else "one_arm"
    is_failed = at_best[chosen].all_failed
    return ArmChoice(
        regime=regime,
        samples=at_best,
        judged=tuple(judged),
        best=best,
        arm=None if is_failed else chosen,
        why="none" if is_failed else why,
        shown_behind={
            arm: next(o for o in (*best.arms, *judged) if o != arm and pairs.is_shown_ahead(o, arm))
            for arm in judged
            if arm not in best.arms
        },
        open=tuple(
            _state_open(pairs.of(chosen, other), chosen, pairs.count_needed(chosen, other))
            for other in best.arms
            if other != chosen and not is_failed
        ),
    )


class _Pairs:
    """Every two of the compared arms, and what the judge says of them."""

    def __init__(
        self, study: Study, samples: Sequence[ScoreSample], corrections: Corrections
    ) -> None:
        self._corrections, self._num_arms = corrections, len(samples)
        self._pairs = {
            frozenset((one.arm, other.arm)): _compare(study, (one, other), corrections)
            for one, other in combinations(samples, 2)
        }

    def of(self, one: str, other: str) -> ArmComparison:
        """The comparison of two arms, in either order."""
        return self._pairs[frozenset((one, other))]

    def is_shown_ahead(self, arm: str, than: str) -> bool:
        """Whether the verdict is that the first arm ends above the second."""
        return self.of(arm, than).is_shown_ahead(arm)

    def is_never_behind(self, arm: str, others: Sequence[str]) -> bool:
        """Whether an arm is shown to be less than the margin behind each of the others."""
        p_values = (
            self.of(arm, other).p_not_behind(arm, self._corrections)
            for other in others
            if other != arm
        )
        return all(p is not None and p < ALPHA for p in p_values)

    def count_needed(self, one: str, other: str) -> int | None:
        """Replicates per arm that would decide between two arms of the set.

        A lead that is shown by itself, but not among all arms, needs those that the comparison of
        all arms takes.
        """
        pair = self.of(one, other)
        decision, effect = pair.decision, pair.measured.effect
        if decision.verdict is Verdict.INCONCLUSIVE or effect is None or effect.se is None:
            return decision.needed
        (matched,) = pair.measured.comparison.matched_pairs
        assert matched.against is not None, "two arms"
        sds = (sample_sd(matched.side.numbers), sample_sd(matched.against.numbers))
        among_all = max(1.0, (self._num_arms - 1) / (2.0 * CAUTION)) * effect.looks
        rule = replace(find_rule(pair.measured, self._corrections), apart=ALPHA / among_all)
        return count_replicates_needed(effect.value, sds, rule, max(effect.nums))


def _choose_without_interval(
    regime: str, at_best: Mapping[str, ScoreSample], cost_order: Sequence[str]
) -> ArmChoice:
    """The highest mean of one or two replicates; without any, the only arm there is, or none."""
    judged = [arm for arm, sample in at_best.items() if sample.values]
    chosen: str | None = None
    why: Why = "none"
    if judged:
        chosen = _highest(judged, at_best, cost_order)
        why = "no_interval"
    elif len(at_best) == 1:
        (only,) = at_best.values()
        chosen = only.arm if only.merit is not None else None
        why = "unreplicated"
    if chosen is not None and at_best[chosen].all_failed:
        chosen = None
    return ArmChoice(
        regime=regime,
        samples=at_best,
        judged=tuple(judged),
        best=None,
        arm=chosen,
        why="none" if chosen is None else why,
        shown_behind={},
        open=(),
    )


def _at_best_lengths(
    study: Study, regime: str, samples: Sequence[ScoreSample]
) -> Iterator[ScoreSample]:
    """Each arm of the regime at the length with the best search score; without any, its longest."""
    for arm in study.arms:
        ladder = [s for s in samples if (s.regime, s.arm) == (regime, arm) and s.length is not None]
        merits = {s.length: s.merit for s in ladder if s.length and s.merit is not None}
        best, _ = find_best_lengths(merits, study.margin)
        if ladder:
            yield next((s for s in ladder if s.length == best), ladder[-1])


def _compare(
    study: Study, samples: tuple[ScoreSample, ScoreSample], corrections: Corrections
) -> ArmComparison:
    first, second = samples
    arms = (first.arm, second.arm)
    question = ask_at_best(study, first.regime, arms)
    pair = MatchedPair(weight=1.0, label="", side=second, against=first)
    comparison = Comparison(labels={"regime": first.regime}, matched_pairs=(pair,))
    measured = corrections.freeze(measure(question.claim, comparison, study.margin))
    return ArmComparison(arms=arms, measured=measured, decision=decide(measured, corrections))


def _highest(
    arms: Sequence[str], samples: Mapping[str, ScoreSample], cost_order: Sequence[str]
) -> str:
    """The arm with the highest mean; of equal means the cheapest."""

    def merit(arm: str) -> tuple[float, int]:
        mean = mean_of(samples[arm].numbers)
        assert mean is not None, "it has replicates"
        return (-mean.value, cost_order.index(arm))

    return min(arms, key=merit)


def _state_open(pair: ArmComparison, chosen: str, needed: int | None) -> OpenComparison:
    (other,) = (arm for arm in pair.arms if arm != chosen)
    effect = pair.measured.effect
    value = effect.value if effect else 0.0
    return OpenComparison(
        arms=(chosen, other),
        lead=value if chosen == pair.arms[1] else 0.0 - value,
        is_equal=pair.decision.verdict is Verdict.EQUIVALENT,
        needed=needed,
        stop=pair.measured.stop,
    )
