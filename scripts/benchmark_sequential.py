"""What it saves, and what it costs, to run replicates only until a study is decided.

    python scripts/benchmark_sequential.py [--studies 20000]

Planted studies are looked at after 3, 5, 7 and 9 replicates and compared, draw for draw, with the
same studies run to 9. Prints the tables of docs/benchmarks.md; ends with 1 if a goal is missed.
The spending function is chosen on studies of another seed.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from planted_families import FAMILIES, ErrorLine, plant_family
from scipy.special import stdtrit
from sequential_trials import (
    EQUIVALENT,
    FUTILE,
    MIX,
    OPEN,
    SUPPORTED,
    Flags,
    Floats,
    Outcome,
    Policy,
    at_the_end,
    cover_unplanned,
    draw_scores,
    find_errors,
    run_fixed,
    run_fixed_family,
    run_studies,
)

from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.spending import LookPlan, interpolate_levels
from rethink_ray.judge.stage_estimates import estimate_median
from rethink_ray.judge.statistics import Estimate
from rethink_ray.spec.sequential import Spending

LOOKS = (3, 5, 7, 9)
MARGIN = 0.5
SEED = 11
TUNING_SEED = 1211
MOST_LOST_MEAN, MOST_LOST = 2.0, 3.0
"""Points of power."""
GOALS: Mapping[tuple[int, float], float] = {(2, 0.3): 0.35, (6, 0.3): 0.25, (6, 1.0): 0.20}
"""(arms, noise) -> the share of all replicates that is to be saved over the mix of truths."""
DESIGNS = ((2, 0.3), (2, 1.0), (6, 0.3), (6, 1.0))
MIXTURES = (1.0, 10.0, 100.0)
"""Variances of the effect sizes that e-values bet on; the tuning seed chooses."""
NUM_ESTIMATED = 1500
"""Median-unbiased estimates are computed one by one."""


def plant(design: tuple[int, float], studies: int, seed: int) -> tuple[Floats, Floats]:
    """Truths of a mix, and the scores of its studies."""
    arms, noise = design
    rng = np.random.default_rng([seed, arms, round(100 * noise)])
    truths = rng.choice(MIX, size=(studies, arms - 1))
    return truths, draw_scores(rng, truths, [noise] * arms, LOOKS[-1])


@dataclass(frozen=True)
class Worth:
    """What a policy saves in one design, and what power it loses, in points by truth."""

    saved: float
    lost: Mapping[float, float]
    """Against the fixed design with Holm's correction."""
    lost_family: Mapping[float, float]
    """Against the fixed design as a study is judged: both nulls corrected by the step-down."""
    lost_uncorrected: Mapping[float, float]
    """Against the fixed design with equality uncorrected: a 90 % interval inside the margin is
    called equivalent."""
    power: Mapping[float, float]
    """Of the fixed design with Holm's correction, in per cent."""


def weigh(policy: Policy, truths: Floats, scores: Floats) -> Worth:
    """Compares a policy with the fixed design, on the same draws."""
    outcome, (fixed, inside) = run_studies(scores, policy), run_fixed(scores, MARGIN)
    shown, holm = outcome.state == SUPPORTED, fixed.state == SUPPORTED

    def lost(against: Flags) -> dict[float, float]:
        return {
            truth: 100.0 * float(against[truths == truth].mean() - shown[truths == truth].mean())
            for truth in MIX
            if truth
        }

    return Worth(
        saved=outcome.saved(LOOKS[-1]),
        lost=lost(holm),
        lost_family=lost(run_fixed_family(scores, MARGIN).state == SUPPORTED),
        lost_uncorrected=lost(holm & ~inside),
        power={truth: 100.0 * float(holm[truths == truth].mean()) for truth in MIX if truth},
    )


def mean_lost(worths: Mapping[tuple[int, float], Worth]) -> float:
    """Mean over all cells: design and truth."""
    return float(np.mean([loss for worth in worths.values() for loss in worth.lost.values()]))


def weigh_all(policy: Policy, studies: int, seed: int) -> dict[tuple[int, float], Worth]:
    return {design: weigh(policy, *plant(design, studies, seed)) for design in DESIGNS}


def choose(policies: Mapping[str, Policy], studies: int) -> str:
    """The policy that saves most among those that lose no more power than allowed on average.

    If all lose more, the one that loses least.
    """
    print("\n| rival | saved (2 arms 0.3, 6 arms 0.3, 6 arms 1.0) | lost on average | at most |")
    print("|---|---|---|---|")
    worth = {name: weigh_all(policy, studies, TUNING_SEED) for name, policy in policies.items()}
    for name, by_design in worth.items():
        saved = ", ".join(f"{100 * by_design[design].saved:.1f} %" for design in GOALS)
        most = max(loss for w in by_design.values() for loss in w.lost.values())
        print(f"| {name} | {saved} | {mean_lost(by_design):.2f} | {most:.1f} |", flush=True)
    allowed = [name for name in worth if mean_lost(worth[name]) <= MOST_LOST_MEAN]
    if not allowed:
        return min(worth, key=lambda name: mean_lost(worth[name]))
    return max(allowed, key=lambda name: sum(worth[name][design].saved for design in GOALS))


def find_misses(policy: Policy, outcome: Outcome, truths: Floats, error: float) -> Flags:
    """Comparisons whose repeated interval, at the look that ended them, misses the truth."""
    levels = interpolate_levels(policy.plan, np.asarray(error))[outcome.ended]
    return _misses(outcome, truths, levels)


def _misses(outcome: Outcome, truths: Floats, levels: Floats) -> Flags:
    end = at_the_end(outcome)
    missed: Flags = np.abs(end.value - truths) > stdtrit(end.df, 1.0 - levels / 2.0) * end.se
    return missed


def line_up(policy: Policy, studies: int) -> Iterator[ErrorLine]:
    """Errors of families and of intervals. Futility stops nothing here: levels must not need it."""
    tested = replace(policy, is_futile=False)
    covered: list[ErrorLine] = []
    for name, planted, sds in FAMILIES:
        truths, scores = plant_family(planted, sds, studies, LOOKS[-1])
        outcome = run_studies(scores, tested)
        yield ErrorLine(name, int(find_errors(outcome, truths, MARGIN).any(axis=1).sum()), studies)
        stopped = run_studies(scores, policy)
        family = find_misses(policy, stopped, truths, ALPHA / truths.shape[1])
        alone = find_misses(policy, stopped, truths, ALPHA)[:, 0]
        covered.append(ErrorLine(f"repeated interval, {name}", int(alone.sum()), studies))
        if truths.shape[1] > 1:
            missed = int(family.any(axis=1).sum())
            covered.append(ErrorLine(f"family-adjusted intervals, {name}", missed, studies))
    yield from covered


def show_rivals_of_the_family(policy: Policy, studies: int) -> None:
    """What other step-downs err in, and nine replicates with and without equality corrected."""
    print(
        "\n| family error | this step-down | leaves once either null is rejected | at 9 "
        "| at 9, equality uncorrected |\n|---|---|---|---|---|"
    )
    for name, planted, sds in FAMILIES:
        if len(planted) == 1:
            continue
        truths, scores = plant_family(planted, sds, studies, LOOKS[-1])
        ours, either = (
            run_studies(scores, replace(policy, is_futile=False, leaves=leaves))
            for leaves in ("clear", "either")
        )
        fixed, inside = run_fixed(scores, MARGIN)
        uncorrected = replace(fixed, state=np.where(inside, EQUIVALENT, fixed.state))
        shares = [
            100.0 * find_errors(outcome, truths, MARGIN).any(axis=1).mean()
            for outcome in (ours, either, run_fixed_family(scores, MARGIN), uncorrected)
        ]
        print(f"| {name} | " + " | ".join(f"{share:.1f} %" for share in shares) + " |", flush=True)


def show_coverage_by_look(policy: Policy, studies: int) -> None:
    """Coverage of plain and of repeated intervals, and the bias of two estimates, by last look."""
    print("\n| noise 1, 2 arms, truth | ended at | share | plain interval | repeated interval |")
    print("|---|---|---|---|---|")
    for truth in (0.5, 1.0, 2.0):
        truths, scores = plant_family((truth,), (1.0, 1.0), studies, LOOKS[-1])
        outcome = run_studies(scores, policy)
        plain = ~_misses(outcome, truths, np.full(truths.shape, ALPHA))
        repeated = ~find_misses(policy, outcome, truths, ALPHA)
        for look, num in enumerate((*LOOKS, 0)):
            here = outcome.ended == look if num else np.ones_like(plain)
            if here.sum() >= 50:
                shares = (float(100 * flags[here].mean()) for flags in (plain, repeated))
                shown = " | ".join(f"{share:.1f} %" for share in shares)
                print(f"| {truth:g} | {num or 'any'} | {100 * here.mean():.1f} % | {shown} |")
    show_bias(policy)


def show_bias(policy: Policy) -> None:
    """The bias of the plain difference and of the median-unbiased estimate."""
    print("\n| noise 1, truth | futility | estimate | too high | mean bias | decided before 9 |")
    print("|---|---|---|---|---|---|")
    for truth in (0.5, 1.0, 2.0):
        _, scores = plant_family((truth,), (1.0, 1.0), NUM_ESTIMATED, LOOKS[-1])
        for futility, tried in (("stops", policy), ("ignored", replace(policy, is_futile=False))):
            outcome = run_studies(scores, tried)
            early = outcome.replicates[:, 0] < LOOKS[-1]
            early &= outcome.state[:, 0] == SUPPORTED
            plain, unbiased = at_the_end(outcome).value[:, 0], estimate_medians(tried, outcome)
            for name, values in (("plain", plain), ("median-unbiased", unbiased)):
                bias = values - truth
                shown = f"{100 * np.mean(bias > 0):.0f} % | {bias.mean():+.2f}"
                print(f"| {truth:g} | {futility} | {name} | {shown} | {bias[early].mean():+.2f} |")


def estimate_medians(policy: Policy, outcome: Outcome) -> Floats:
    """The package's median-unbiased estimates of the first comparison of each study."""
    values = []
    for study, ended in enumerate(outcome.ended[:, 0]):
        looks = [
            Estimate(
                value=float(e.value[study, 0]),
                se=float(e.se[study, 0]),
                df=float(e.df[study, 0]),
                nums=(num, num),
            )
            for e, num in zip(outcome.effects[: ended + 1], LOOKS, strict=False)
        ]
        values.append(estimate_median(policy.plan, looks, ALPHA))
    return np.array(values)


def show_unplanned(policy: Policy, studies: int) -> None:
    """Coverage of plain intervals of differences that no look was about."""
    covered = [cover_unplanned(policy, truth, studies, SEED) for truth in (0.0, 1.0, 2.0)]
    print("\n| plain 95 % interval, 6 arms, noise 1, all ahead by | 0 | 1 | 2 |\n|---|---|---|---|")
    for name in covered[0]:
        shown = " | ".join(f"{100 * by_name[name]:.1f} %" for by_name in covered)
        print(f"| {name} | {shown} |", flush=True)


def show_worth(policy: Policy, mixture: float, studies: int) -> list[bool]:
    """Replicates saved and power lost; says which goals are met."""
    betting = replace(policy, mixture=mixture)
    worths = weigh_all(policy, studies, SEED)
    bets = {design: weigh(betting, *plant(design, studies, SEED)) for design in DESIGNS}
    print("\n| arms | noise | saved | asked | saved by e-values | their loss of power, mean |")
    print("|---|---|---|---|---|---|")
    for (arms, noise), worth in worths.items():
        goal, bet = GOALS.get((arms, noise)), bets[arms, noise]
        goal_percent = f"{100 * goal:.0f} %" if goal else ""
        print(
            f"| {arms} | {noise:g} | {100 * worth.saved:.1f} % | {goal_percent} "
            f"| {100 * bet.saved:.1f} % | {np.mean(list(bet.lost.values())):.1f} |"
        )
    print(
        "\n| arms | noise | truth | power at 9, Holm | lost to Holm | to 9 as judged "
        "| to 9, equality uncorrected |\n|---|---|---|---|---|---|---|"
    )
    for (arms, noise), worth in worths.items():
        for truth, loss in worth.lost.items():
            print(
                f"| {arms} | {noise:g} | {truth:g} | {worth.power[truth]:.1f} % | {loss:.1f} "
                f"| {worth.lost_family[truth]:.1f} | {worth.lost_uncorrected[truth]:.1f} |"
            )
    most = max(loss for worth in worths.values() for loss in worth.lost.values())
    print(f"\nLost on average {mean_lost(worths):.2f} points, at most {most:.1f} in a cell.")
    as_judged = [loss for worth in worths.values() for loss in worth.lost_family.values()]
    print(f"To 9 as judged: {np.mean(as_judged):.2f}, at most {max(as_judged):.1f}.")
    return [
        *(worths[design].saved >= goal for design, goal in GOALS.items()),
        mean_lost(worths) <= MOST_LOST_MEAN,
        most <= MOST_LOST,
    ]


def show_truths(policy: Policy, studies: int) -> None:
    """Savings where all arms have one truth, and what became of the comparisons."""
    print("\n| arms | noise | all at | saved | supported | equivalent | futile | open |")
    print("|---|---|---|---|---|---|---|---|")
    for arms, noise in DESIGNS:
        for truth in MIX:
            sds = (noise,) * arms
            _, scores = plant_family((truth,) * (arms - 1), sds, studies, LOOKS[-1])
            outcome = run_studies(scores, policy)
            shares = (
                100 * float(np.mean(outcome.state == state))
                for state in (SUPPORTED, EQUIVALENT, FUTILE, OPEN)
            )
            shown = " | ".join(f"{share:.0f} %" for share in shares)
            saved = f"{100 * outcome.saved(LOOKS[-1]):.0f} %"
            print(f"| {arms} | {noise:g} | {truth:g} | {saved} | {shown} |", flush=True)


def show_equivalence(policy: Policy, studies: int) -> None:
    """How many truly equal pairs of a mix are called equivalent."""
    print(
        "\n| arms | noise | equal pairs called equivalent | at 9 | at 9, uncorrected |"
        "\n|---|---|---|---|---|"
    )
    for arms, noise in (*DESIGNS[:1], *DESIGNS[2:3], (2, 0.2), (6, 0.2)):
        truths, scores = plant((arms, noise), studies, SEED)
        equal = truths == 0.0
        _, uncorrected = run_fixed(scores, MARGIN)
        shares = [
            100 * float(flags[equal].mean())
            for flags in (
                run_studies(scores, policy).state == EQUIVALENT,
                run_fixed_family(scores, MARGIN).state == EQUIVALENT,
                uncorrected,
            )
        ]
        shown = " | ".join(f"{share:.0f} %" for share in shares)
        print(f"| {arms} | {noise:g} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20_000)
    studies: int = parser.parse_args().studies
    plans = {s: Policy(LookPlan(looks=LOOKS, spending=s), MARGIN) for s in get_args(Spending)}
    policy = plans[choose(plans, studies // 4)]
    bets = {f"{g:g}": replace(policy, mixture=g) for g in MIXTURES}
    mixture = float(choose(bets, studies // 4))
    print(
        f"\nChosen: {policy.plan.spending}; e-values bet on effect sizes of variance {mixture:g}."
    )
    print("\n| errs | share | upper 97.5 % bound | at most 5.5 % |\n|---|---|---|---|")
    is_met = []
    for line in line_up(policy, studies):
        print(line, flush=True)
        is_met.append(line.is_met)
    show_rivals_of_the_family(policy, studies // 4)
    show_coverage_by_look(policy, studies)
    show_unplanned(policy, studies // 2)
    is_met += show_worth(policy, mixture, studies)
    show_truths(policy, studies // 4)
    show_equivalence(policy, studies // 4)
    print(f"\n{sum(is_met)} of {len(is_met)} goals are met.")
    sys.exit(0 if all(is_met) else 1)


if __name__ == "__main__":
    main()
