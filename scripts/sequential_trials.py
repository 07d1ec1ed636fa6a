"""Simulated studies that end once they are decided, many at once (``benchmark_sequential``).

Sequential p values, levels and chances come from the functions that the package decides with. Two
are written anew for arrays, Welch's t and the step-down; a test compares them with the package's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from rethink_ray.judge.rules import ALPHA, DecisionRule
from rethink_ray.judge.spending import Effects, LookPlan, chances_later, invert_level
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, LEVEL

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

MIX = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Truths in AP: each arm draws its own, each equally often. Written down before the first run."""
OPEN, SUPPORTED, CONTRADICTED, EQUIVALENT, FUTILE = range(5)
FUTILE_BELOW = 0.02
FUTILE_FROM = 5
"""Replicates of the first look that may stop a comparison for futility."""
Leaves = Literal["clear", "either", "never"]
"""When a comparison leaves the count: clear of the margin, either null rejected (which errs too
often), or never (Bonferroni)."""


@dataclass(frozen=True)
class Policy:
    """How a simulated study decides."""

    plan: LookPlan
    margin: float = 0.5
    is_futile: bool = True
    leaves: Leaves = "clear"
    mixture: float | None = None
    """e-values take the place of the p values of "the difference is zero": the variance of the
    effect sizes that they bet on."""


@dataclass(frozen=True)
class Outcome:
    """What became of ``[studies, comparisons]``."""

    state: Numbers
    """``OPEN``: inconclusive after the last look."""
    ended: Numbers
    """Number of the look that ended it, counting from zero."""
    effects: tuple[Effects, ...]
    """The differences at each look."""
    replicates: Numbers
    """``[studies, arms]``, the reference first."""
    sharing: Numbers
    """``[studies]``: how many comparisons shared the error in the end."""

    def saved(self, fixed: int) -> float:
        """The share of the replicates of a fixed design that was not run."""
        return 1.0 - float(self.replicates.mean()) / fixed


def draw_scores(rng: np.random.Generator, truths: Floats, sds: Sequence[float], num: int) -> Floats:
    """Scores ``[studies, arms, replicates]`` with normal noise.

    Args:
        rng: source of all chance.
        truths: ``[studies, comparisons]``, how far each arm is ahead of the reference.
        sds: of the reference and of each arm.
        num: replicates.
    """
    means = np.concatenate([np.zeros((len(truths), 1)), truths], axis=1)
    noise = rng.normal(size=(*means.shape, num))
    scores: Floats = means[:, :, None] + np.asarray(sds)[None, :, None] * noise
    return scores


def measure(scores: Floats, num: int) -> Effects:
    """Welch's difference of each arm from the reference after ``num`` replicates."""
    kept = scores[:, :, :num]
    means, parts = kept.mean(axis=2), kept.var(axis=2, ddof=1) / num
    se2 = parts[:, 1:] + parts[:, :1]
    df = se2**2 * (num - 1) / (parts[:, 1:] ** 2 + parts[:, :1] ** 2)
    return Effects(value=means[:, 1:] - means[:, :1], se=np.sqrt(se2), df=df)


def p_of_zero(effects: Effects) -> Floats:
    """Two-sided p of "the difference is zero"."""
    p: Floats = 2.0 * stdtr(effects.df, -np.abs(effects.value) / effects.se)
    return p


def p_of_far(effects: Effects, margin: float) -> Floats:
    """p of "the two differ by the margin or more", the larger of the two sides."""
    p: Floats = stdtr(effects.df, (np.abs(effects.value) - margin) / effects.se)
    return p


def find_clear(effects: Effects, margin: float) -> Flags:
    """``is_clear_of_margin`` of many comparisons."""
    beyond = np.abs(effects.value) - margin > stdtrit(effects.df, 0.5 + LEVEL / 2) * effects.se
    hopeless = margin < stdtrit(effects.df, 0.5 + EQUIVALENCE_LEVEL / 2) * effects.se
    clear: Flags = beyond | hopeless
    return clear


def log_e_values(scores: Floats, num: int, mixture: float) -> Floats:
    """Logarithms of e-values of "the difference is zero" after ``num`` replicates.

    Of the differences in the order of the replicates, by a t test that bets on normal effect sizes
    of the given variance, whatever the noise. They may be looked at after every replicate.
    """
    gaps = scores[:, 1:, :num] - scores[:, :1, :num]
    t2 = num * gaps.mean(axis=2) ** 2 / gaps.var(axis=2, ddof=1)
    spread, df = 1.0 + num * mixture, num - 1.0
    ratio: Floats = np.log1p(t2 / df) - np.log1p(t2 / (df * spread))
    logs: Floats = (df + 1.0) / 2.0 * ratio - np.log(spread) / 2.0
    return logs


@dataclass(frozen=True)
class Family:
    """Sequential p values of ``[studies, comparisons]`` and who still takes part."""

    p_zero: Floats
    p_far: Floats
    clear: Flags
    is_open: Flags
    left: Flags


@dataclass(frozen=True)
class SteppedDown:
    """``decide_family`` of many families at once."""

    rejects_zero: Flags
    rejects_far: Flags
    left: Flags
    sharing: Numbers
    """``[studies]``: by how many comparisons the error was divided in the end."""


def step_down(family: Family, leaves: Leaves = "clear", error: float = ALPHA) -> SteppedDown:
    """Divides the error by those that have not left, until none leaves any more."""
    zero = np.where(family.is_open, family.p_zero, 1.0)
    far = np.where(family.is_open, family.p_far, 1.0)
    left = family.left
    for _ in range(zero.shape[1] + 1):
        sharing = np.maximum(1, (~left).sum(axis=1))
        rejects_zero, rejects_far = (sharing[:, None] * p < error for p in (zero, far))
        match leaves:
            case "clear":
                left = left | (rejects_zero & (family.clear | rejects_far))
            case "either":
                left = left | rejects_zero | rejects_far
    return SteppedDown(
        rejects_zero=rejects_zero, rejects_far=rejects_far, left=left, sharing=sharing
    )


def run_studies(scores: Floats, policy: Policy) -> Outcome:
    """Looks at all studies until each of their comparisons is decided, futile, or out of looks."""
    plan, margin = policy.plan, policy.margin
    shape = (len(scores), scores.shape[1] - 1)
    p_zero, p_far = np.ones(shape), np.ones(shape)
    state, ended = np.full(shape, OPEN), np.full(shape, len(plan.looks) - 1)
    left = np.zeros(shape, dtype=np.bool_)
    effects = tuple(measure(scores, num) for num in plan.looks)
    for look, (num, now) in enumerate(zip(plan.looks, effects, strict=True)):
        is_open = state == OPEN
        p_zero = np.minimum(p_zero, _p_zero_at(scores, now, look, policy))
        far = np.minimum(1.0, 2.0 * p_of_far(now, margin))
        p_far = np.minimum(p_far, invert_level(plan, look, far) / 2.0)
        stepped = step_down(
            Family(p_zero, p_far, find_clear(now, margin), is_open, left), policy.leaves
        )
        left = stepped.left
        sign = np.where(now.value > 0.0, SUPPORTED, CONTRADICTED)
        fresh = np.where(stepped.rejects_far, EQUIVALENT, sign)
        decided = is_open & (stepped.rejects_far | stepped.rejects_zero)
        state = np.where(decided, fresh, state)
        is_last = look == len(plan.looks) - 1
        if policy.is_futile and num >= FUTILE_FROM and not is_last:
            hope = _hope(plan, look, now, margin, stepped.sharing)
            state = np.where((state == OPEN) & (hope < FUTILE_BELOW), FUTILE, state)
        ended = np.where(is_open & (state != OPEN), look, ended)
    arms = np.asarray(plan.looks)[ended]
    replicates = np.concatenate([arms.max(axis=1, keepdims=True), arms], axis=1)
    return Outcome(state, ended, effects, replicates, stepped.sharing)


def _p_zero_at(scores: Floats, now: Effects, look: int, policy: Policy) -> Floats:
    """The p of this look that counts among the sequential ones."""
    if policy.mixture is None:
        return invert_level(policy.plan, look, p_of_zero(now))
    logs = log_e_values(scores, policy.plan.looks[look], policy.mixture)
    p: Floats = np.exp(-np.maximum(0.0, logs))
    return p


def _hope(plan: LookPlan, look: int, now: Effects, margin: float, sharing: Numbers) -> Floats:
    """The best chance that one of the later looks decides a comparison."""
    errors = np.broadcast_to(ALPHA / sharing[:, None], now.value.shape)
    rule = DecisionRule(expects="above", margin=margin)
    chances = chances_later(plan, look, now, rule, (errors, errors))
    best: Floats = chances.max(axis=-1)
    return best


def run_fixed(scores: Floats, margin: float) -> tuple[Outcome, Flags]:
    """A fixed design with Holm's correction of the differences alone.

    Returns:
        The outcome without any verdict of equality; and the pairs that a 90 % interval, which is
        corrected for nothing, calls equivalent.
    """
    num = scores.shape[2]
    effects = measure(scores, num)
    p = p_of_zero(effects)
    order = np.argsort(p, axis=1)
    many = p.shape[1] - np.arange(p.shape[1])
    stepped = np.maximum.accumulate(many * np.take_along_axis(p, order, axis=1), axis=1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, axis=1)
    sign = np.where(effects.value > 0.0, SUPPORTED, CONTRADICTED)
    state = np.where(adjusted < ALPHA, sign, OPEN)
    outcome = Outcome(
        state=state,
        ended=np.zeros_like(state),
        effects=(effects,),
        replicates=np.full((len(scores), scores.shape[1]), num),
        sharing=(adjusted >= ALPHA).sum(axis=1),
    )
    return outcome, p_of_far(effects, margin) < ALPHA


def run_fixed_family(scores: Floats, margin: float) -> Outcome:
    """A fixed design, judged as a study with a plain number of replicates is."""
    fixed, _ = run_fixed(scores, margin)
    (effects,) = fixed.effects
    nothing = np.zeros(effects.value.shape, dtype=np.bool_)
    family = Family(
        p_of_zero(effects),
        p_of_far(effects, margin),
        find_clear(effects, margin),
        ~nothing,
        nothing,
    )
    stepped = step_down(family)
    sign = np.where(effects.value > 0.0, SUPPORTED, CONTRADICTED)
    state = np.where(stepped.rejects_zero, sign, OPEN)
    return replace(fixed, state=np.where(stepped.rejects_far, EQUIVALENT, state))


def find_errors(outcome: Outcome, truths: Floats, margin: float) -> Flags:
    """``[studies, comparisons]``: wrong supported, contradicted or equivalent."""
    state = outcome.state
    wrong: Flags = (
        ((state == SUPPORTED) & (truths <= 0.0))
        | ((state == CONTRADICTED) & (truths >= 0.0))
        | ((state == EQUIVALENT) & (np.abs(truths) >= margin))
    )
    return wrong


def at_the_end(outcome: Outcome) -> Effects:
    """The difference of each comparison at the look that ended it."""

    def pick(name: Literal["value", "se", "df"]) -> Floats:
        stacked = np.stack([getattr(e, name) for e in outcome.effects], axis=-1)
        picked: Floats = np.take_along_axis(stacked, outcome.ended[..., None], axis=-1)[..., 0]
        return picked

    return Effects(value=pick("value"), se=pick("se"), df=pick("df"))


def cover_unplanned(policy: Policy, truth: float, studies: int, seed: int) -> dict[str, float]:
    """Share of plain 95 % intervals that hold the truth, of differences that no look was about.

    Six arms of noise 1, all ahead of the reference by ``truth``, with the replicates that the
    looks left them.
    """
    rng = np.random.default_rng(seed)
    truths = np.full((studies, 5), truth)
    first, second = (draw_scores(rng, truths, [1.0] * 6, policy.plan.looks[-1]) for _ in "ab")
    nums = run_studies(first, policy).replicates
    others = run_studies(second, policy).replicates
    means = np.concatenate([np.zeros((studies, 1)), truths], axis=1)[:, :, None]
    rung = means + 0.8 * (first - means) + 0.6 * (second - means)
    twin = draw_scores(rng, truths, [1.0] * 6, policy.plan.looks[-1])
    reference, arm = _summarize(first, nums), _summarize(first, nums, 1)
    return {
        "headline itself": _covers(arm, reference, truth),
        "another rung, correlated by 0.8": _covers(
            _summarize(rung, nums, 1), _summarize(rung, nums), truth
        ),
        "twins": _covers(_summarize(twin, nums, 1, at=1), arm, 0.0),
        "two arms without the reference": _covers(_summarize(first, nums, 2), arm, 0.0),
        "an arm and another study's reference": _covers(arm, _summarize(second, others), truth),
    }


@dataclass(frozen=True)
class Summary:
    """Mean of each study's replicates of one arm, its squared standard error, and their number."""

    mean: Floats
    part: Floats
    num: Numbers


def _summarize(scores: Floats, nums: Numbers, arm: int = 0, *, at: int | None = None) -> Summary:
    """The first replicates of an arm, as many as ``nums`` says of it (or of arm ``at``)."""
    num = nums[:, arm if at is None else at]
    kept = np.arange(scores.shape[2]) < num[:, None]
    values = np.where(kept, scores[:, arm], 0.0)
    mean = values.sum(axis=1) / num
    squares = np.where(kept, (scores[:, arm] - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return Summary(mean=mean, part=squares / (num - 1) / num, num=num)


def _covers(first: Summary, second: Summary, truth: float) -> float:
    """Share of plain 95 % intervals by Welch's t that hold the true difference."""
    se2 = first.part + second.part
    df = se2**2 / (first.part**2 / (first.num - 1) + second.part**2 / (second.num - 1))
    missed = np.abs(first.mean - second.mean - truth) > stdtrit(df, 0.5 + LEVEL / 2) * np.sqrt(se2)
    return 1.0 - float(missed.mean())
