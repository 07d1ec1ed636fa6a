"""How far a study's answer can be trusted: planted studies of known truth.

    python scripts/benchmark_answer.py [--studies 200] [--all]      # the answers of a study
    python scripts/benchmark_answer.py --sequential [--all]  # of one that stops when it has decided
    python scripts/benchmark_answer.py --methods [--all]     # statistics that could give the set

Arms differ by planted means; replicates add normal noise. Each study goes through the judge, which
corrects its comparisons, and ``choose_arm``, as a real one does. Ends with 1 if a line misses what
was asked.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr, stdtrit

from rethink_ray.judge.arm_choice import choose_arm
from rethink_ray.judge.best_set import NODES, WEIGHTS, interval_of_chosen
from rethink_ray.judge.corrections import Corrections
from rethink_ray.judge.judging import judge_questions, judge_study
from rethink_ray.judge.looks import take_look
from rethink_ray.judge.questions import ask_about_arms
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import mean_of
from rethink_ray.spec.study import Study

ARMS, REPLICATES = (2, 3, 4, 5, 6), (3, 5, 9)
FIRST_LOOK, LAST_LOOK = 3, 9
"""Replicates of a study that stops when it has decided."""
MARGIN = 0.5
SD = 0.5
LEADS = {"ties": 0.0, "best by 0.5": 0.5, "best by 1": 1.0, "best by 2": 2.0}
"""How far the true best (the last arm, the dearest) is ahead of all others, in points."""
SPREADS = ("equal", "best wide", "best narrow", "rising")
"""Which arms scatter up to four times as much as others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Planted arms. The last one is the dearest, and the true best unless ``best`` says another."""

    means: tuple[float, ...]
    sds: tuple[float, ...]
    replicates: int
    """With looks: the most."""
    best: int = -1
    """Which arm is the true best."""
    has_looks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRates:
    """What became of the answers of many simulated studies."""

    best_inside: float
    """Share of studies in which the true best may be the best."""
    all_within: float
    """Share in which, besides, no arm is further behind the best than was said."""
    covered: float
    """Share in which the interval of the recommended arm holds its true mean."""
    covered_plain: float
    """The same of the plain 95 % interval."""
    too_far_behind: float
    """Share that recommends the cheapest arm, although it is behind by the margin or more."""
    set_size: float
    """Mean number of arms that may be the best."""
    covered_early: float
    """As ``covered``, of recommended arms that have fewer replicates than the most."""
    num_early: int
    """Studies that recommend such an arm."""
    bias: float
    """Mean of the recommended arm's mean, less its true one."""


def build_design(num_arms: int, replicates: int, lead: float, spread: str) -> Design:
    """Arms of which the last leads by ``lead``, with sds between ``SD`` and four times it."""
    narrow, wide = SD, 4.0 * SD
    match spread:
        case "equal":
            sds = [narrow] * num_arms
        case "best wide":
            sds = [narrow] * (num_arms - 1) + [wide]
        case "best narrow":
            sds = [wide] * (num_arms - 1) + [narrow]
        case _:
            sds = [float(v) for v in np.linspace(narrow, wide, num_arms)]
    means = [20.0] * (num_arms - 1) + [20.0 + lead]
    return Design(means=tuple(means), sds=tuple(sds), replicates=replicates)


def build_planted(num_arms: int, *, has_looks: bool = False) -> Study:
    """A study of so many arms, of which the first is the reference."""
    until = {"from": FIRST_LOOK, "to": LAST_LOOK, "until": "decided"}
    replicates: dict[str, Any] = {"replicates": until} if has_looks else {}
    arms = {f"arm{i}": {"set": {"optimizer.momentum": 0.5 + 0.05 * i}} for i in range(num_arms)}
    tree: dict[str, Any] = {
        "study": "planted",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": arms,
        "schedule": {"unit": 60, "lengths": [2]},
        "budget": {"trials": 1, "keep": [1]} | replicates,
        "margin": MARGIN,
    }
    return Study.model_validate(tree, strict=False)


def answer_rates(design: Design, studies: int, rng: Generator) -> AnswerRates:
    """Simulates studies of one design; each goes through the judge and ``choose_arm``."""
    study = build_planted(len(design.means), has_looks=design.has_looks)
    names, best = list(study.arms), design.best % len(design.means)
    corrected = [q for q in ask_about_arms(study) if q.family in ("primary", "secondary")]
    truth = dict(zip(names, design.means, strict=True))
    inside = within = covered = plain = behind = early = covered_early = 0
    size = bias = 0.0
    for _ in range(studies):
        samples = [
            build_planted_sample(name, (mean + sd * rng.normal(size=design.replicates)).tolist())
            for name, mean, sd in zip(names, design.means, design.sds, strict=True)
        ]
        if design.has_looks:
            samples, corrections = run_until_decided(study, samples)
        else:
            corrections = judge_questions(study, corrected, samples).corrections
        choice = choose_arm(study, "full", samples, names, corrections)
        assert choice.best is not None
        assert choice.arm is not None
        is_inside = names[best] in choice.best.arms
        inside += is_inside
        within += is_inside and all(
            truth[names[best]] - truth[arm] <= most + 1e-9
            for arm, most in choice.best.behind.items()
        )
        mean = mean_of(choice.samples[choice.arm].numbers)
        assert mean is not None
        is_early = mean.nums[0] < design.replicates
        expected = interval_of_chosen(mean, len(names), before_last_look=is_early)
        is_held = _holds(expected, truth[choice.arm])
        covered += is_held
        early += is_early
        covered_early += is_held and is_early
        bias += mean.value - truth[choice.arm]
        plain += _holds(mean.interval(), truth[choice.arm])
        is_behind = truth[names[best]] - truth[choice.arm] >= MARGIN
        behind += choice.why == "cheapest" and is_behind
        size += len(choice.best.arms)
    counts = (inside, within, covered, plain, behind, size, bias)
    shares = [count / studies for count in counts]
    return AnswerRates(
        best_inside=shares[0],
        all_within=shares[1],
        covered=shares[2],
        covered_plain=shares[3],
        too_far_behind=shares[4],
        set_size=shares[5],
        covered_early=covered_early / max(1, early),
        num_early=early,
        bias=shares[6],
    )


def run_until_decided(
    study: Study, samples: Sequence[ScoreSample]
) -> tuple[list[ScoreSample], Corrections]:
    """The replicates that the looks of a study let run, and the corrections of its findings.

    Args:
        study: it stops when it has decided.
        samples: all replicates that there could be.
    """
    budget = study.budget.sequential
    assert budget is not None, "it has looks"
    run = {sample.arm: sample.up_to(0) for sample in samples}
    running, by_look = {sample.arm for sample in samples}, dict[int, list[ScoreSample]]()
    for number in budget.looks:
        run |= {sample.arm: sample.up_to(number) for sample in samples if sample.arm in running}
        by_look[number] = [sample.up_to(number) for sample in run.values()]
        decisions = take_look(study, by_look)
        running = {arm for _, arm in decisions.open_arms}
        if not running:
            break
    replicates = list(run.values())
    return replicates, judge_study(study, replicates, (), decisions).corrections


def build_planted_sample(arm: str, values: Sequence[float]) -> ScoreSample:
    """Replicates of one arm at the study's only length."""
    labels = {"arm": arm, "regime": "full", "metric": "ap", "schedule": "2x"}
    return ScoreSample(
        labels={column: frozenset({text}) for column, text in labels.items()},
        images=400,
        length=2.0,
        values=dict(enumerate(values)),
        evidence=(),
        configuration=arm,
        merit=20.0,
    )


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def designs(*, is_whole: bool) -> Iterator[tuple[str, Design]]:
    """All designs, or a few of them."""
    nums = (ARMS, REPLICATES) if is_whole else ((2, 5), (3, 5))
    leads = LEADS if is_whole else {name: LEADS[name] for name in ("ties", "best by 0.5")}
    for num_arms, replicates, spread in product(*nums, SPREADS):
        for name, lead in leads.items():
            what = f"{num_arms} arms, {replicates} replicates, sds {spread}, {name}"
            yield what, build_design(num_arms, replicates, lead, spread)


def sequential_designs(*, is_whole: bool) -> Iterator[tuple[str, Design]]:
    """Studies that stop when they have decided; the true best is the last arm or the reference."""
    leads = LEADS if is_whole else {name: LEADS[name] for name in ("ties", "best by 0.5")}
    sides: tuple[tuple[str, int], ...] = (("the last arm", -1), ("the reference", 0))
    for num_arms, spread in product(ARMS if is_whole else (2, 5), SPREADS):
        for (lead, points), (side, best) in product(leads.items(), sides):
            design = build_design(num_arms, LAST_LOOK, points, spread)
            if best == 0:
                design = replace(design, means=design.means[::-1], sds=design.sds[::-1], best=0)
            what = f"{num_arms} arms, sds {spread}, {lead}, best is {side}"
            yield what, replace(design, has_looks=True)


METHODS = ("Welch alone", "Bonferroni", "Dunnett", "Dunnett, least df", "pooled variance")


def method_rates(design: Design, studies: int, rng: Generator) -> dict[str, tuple[float, float]]:
    """Method -> (share of sets with the true best, mean size), by the statistics alone."""
    num, arms = design.replicates, len(design.means)
    noise = rng.normal(size=(studies, arms, num))
    scores = np.array(design.means)[None, :, None] + np.array(design.sds)[None, :, None] * noise
    means, variances = scores.mean(axis=2), scores.var(axis=2, ddof=1) / num
    kept = {method: np.ones((studies, arms), dtype=bool) for method in METHODS}
    for control in range(arms):
        others = [arm for arm in range(arms) if arm != control]
        leads = means[:, others] - means[:, [control]]
        totals = variances[:, others] + variances[:, [control]]
        parts = (variances[:, others] ** 2 + variances[:, [control]] ** 2) / (num - 1)
        df = totals**2 / parts
        shared = np.sqrt(variances[:, [control]] / totals)
        level = common_levels(shared, 0.05)
        pooled = np.broadcast_to(2.0 * variances.mean(axis=1)[:, None], totals.shape)
        even = common_levels(np.full((1, arms - 1), 0.5**0.5), 0.05)
        limits = {
            "Welch alone": stdtrit(df, 0.95) * np.sqrt(totals),
            "Bonferroni": stdtrit(df, 1.0 - 0.05 / (arms - 1)) * np.sqrt(totals),
            "Dunnett": stdtrit(df, 1.0 - level) * np.sqrt(totals),
            "Dunnett, least df": stdtrit(num - 1, 1.0 - level) * np.sqrt(totals),
            "pooled variance": stdtrit(arms * (num - 1), 1.0 - even) * np.sqrt(pooled),
        }
        for method, limit in limits.items():
            kept[method][:, control] = (leads <= limit).all(axis=1)
    return {m: (float(k[:, -1].mean()), float(k.sum(axis=1).mean())) for m, k in kept.items()}


def common_levels(shared: np.ndarray, error: float) -> np.ndarray:
    """``find_common_level`` of many studies at once: ``[studies, arms - 1] -> [studies, 1]``."""
    rest = np.sqrt(np.maximum(1.0 - shared**2, 1e-12))
    low, high = np.full((len(shared), 1), 1.0), np.full((len(shared), 1), 3.5)
    for _ in range(22):
        middle = (low + high) / 2.0
        none = np.ones((len(shared), len(NODES)))
        for column in range(shared.shape[1]):
            none *= ndtr((middle + NODES * shared[:, [column]]) / rest[:, [column]])
        too_often = 1.0 - (none @ WEIGHTS)[:, None] > error
        low, high = np.where(too_often, middle, low), np.where(too_often, high, middle)
    return np.asarray(ndtr(-high))


def print_methods(studies: int, seed: int, *, is_whole: bool) -> None:
    """The table of methods, and the least share of each."""
    print(f"| design | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}")
    least: dict[str, float] = dict.fromkeys(METHODS, 1.0)
    sizes: dict[str, list[float]] = {method: [] for method in METHODS}
    for index, (name, design) in enumerate(designs(is_whole=is_whole)):
        rates = method_rates(design, studies, np.random.default_rng([seed, index]))
        for method, (inside, size) in rates.items():
            least[method] = min(least[method], inside)
            sizes[method].append(size)
        cells = " | ".join(f"{100 * i:.1f} % ({s:.2f})" for i, s in rates.values())
        print(f"| {name} | {cells} |", flush=True)
    last = " | ".join(f"{100 * least[m]:.1f} % ({np.mean(sizes[m]):.2f})" for m in METHODS)
    print(f"| least share (mean size) | {last} |")


def print_answers(studies: int, seed: int, *, is_whole: bool) -> int:
    """The table of all designs; returns how many lines miss what was asked."""
    print(
        "| design | best inside (95 %) | and none further behind | interval holds (95 %) | plain "
        "interval | cheapest, yet behind (5 %) | arms in the set |\n|---|---|---|---|---|---|---|"
    )
    slack, missed = 2.0 * (0.05 * 0.95 / studies) ** 0.5, 0
    for index, (name, design) in enumerate(designs(is_whole=is_whole)):
        rates = answer_rates(design, studies, np.random.default_rng([seed, index]))
        is_met = min(rates.best_inside, rates.all_within, rates.covered) >= 0.95 - slack
        is_met &= rates.too_far_behind <= 0.05 + slack
        missed += not is_met
        shares = (rates.best_inside, rates.all_within, rates.covered, rates.covered_plain)
        cells = " | ".join(f"{100 * share:.1f} %" for share in (*shares, rates.too_far_behind))
        mark = "" if is_met else " **missed**"
        print(f"| {name}{mark} | {cells} | {rates.set_size:.2f} |", flush=True)
    return missed


def print_sequential(studies: int, seed: int, *, is_whole: bool) -> int:
    """The table of studies with looks; returns how many lines miss what was asked."""
    print(
        "| design, 3 to 9 replicates | best inside (95 %) | interval holds (95 %) | plain interval "
        "| chosen before the last look | interval holds then | cheapest, yet behind (5 %) | mean "
        f"less truth |\n|---|{'---|' * 7}"
    )
    slack, missed = 2.0 * (0.05 * 0.95 / studies) ** 0.5, 0
    for index, (name, design) in enumerate(sequential_designs(is_whole=is_whole)):
        rates = answer_rates(design, studies, np.random.default_rng([seed, index]))
        is_met = min(rates.best_inside, rates.covered) >= 0.95 - slack
        is_met &= rates.too_far_behind <= 0.05 + slack
        missed += not is_met
        early = rates.num_early / studies
        held = (rates.best_inside, rates.covered, rates.covered_plain)
        of_early = (early, rates.covered_early, rates.too_far_behind)
        cells = " | ".join(f"{100 * share:.1f} %" for share in (*held, *of_early))
        mark = "" if is_met else " **missed**"
        print(f"| {name}{mark} | {cells} | {rates.bias:+.2f} |", flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", action="store_true")
    parser.add_argument("--sequential", action="store_true", help="studies that stop when decided")
    parser.add_argument("--all", action="store_true", help="the whole grid of designs")
    given = parser.parse_args()
    if given.methods:
        print_methods(given.studies, given.seed, is_whole=given.all)
        return 0
    if given.sequential:
        return 1 if print_sequential(given.studies, given.seed, is_whole=given.all) else 0
    return 1 if print_answers(given.studies, given.seed, is_whole=given.all) else 0


if __name__ == "__main__":
    sys.exit(main())
