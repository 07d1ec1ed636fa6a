"""How far findings can be trusted: simulated studies of known truth, beside what was asked for.

    python scripts/benchmark_findings.py [--studies 2000]

Prints the tables of docs/benchmarks.md; ends with 1 if a line misses what was asked. ``--families``
prints the last two alone: what families err in, and what it costs to correct equality.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from planted_families import SHOWN_TRUTHS, compare_errors, compare_power
from soundness import (
    NOISES,
    Luck,
    bracket_coverage,
    false_by_luck,
    family_rates,
    importance_rates,
    normal,
    paired_coverage,
    strongly_skewed,
    welch_coverage,
)

from rethink_ray.spec.study import Study

FINER = 10
"""Times as many studies for coverage: 2,000 alone leave it uncertain by 1 %."""
LADDERS = ((3.0, 2.0, 1.0, 0.0, 0.0), (1.0, 0.5, 0.3, 0.2, 0.0), (0.0, 0.0, 0.0, 0.0))
TREE: dict[str, Any] = {
    "study": "planted",
    "data": {"dataset": "shapes"},
    "regimes": {"full": {"images": "all"}},
    "recipe": "tiny_retinanet",
    "arms": {"scratch": {}},
    "schedule": {"unit": 60, "lengths": [2]},
    "budget": {"trials": 1, "keep": [1]},
}


@dataclass(frozen=True)
class Line:
    """One row of the table; without bounds it is only told."""

    what: str
    value: float
    low: float = 0.0
    high: float = 1.0

    @property
    def met(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        asked = f"{100 * self.low:g} % to {100 * self.high:g} %"
        asked = "-" if (self.low, self.high) == (0.0, 1.0) else asked
        missed = "" if self.met else " **missed**"
        return f"| {self.what} | {100 * self.value:.1f} %{missed} | {asked} |"


def coverage_lines(studies: int, rng: Generator) -> Iterator[Line]:
    for num in (3, 5):
        head = f"Welch, {num} replicates"
        for ratio in (1, 2, 4):
            held = welch_coverage((normal, normal), (1.0, ratio), num, studies, rng)
            yield Line(f"{head}, normal, sd 1 and {ratio}", held, 0.94, 0.98)
        for name in ("t4", "skewed", "5 % crashes"):
            noises = (NOISES[name], NOISES[name])
            held = welch_coverage(noises, (1.0, 1.0), num, studies, rng)
            yield Line(f"{head}, {name}", held, 0.94, 0.98)
        held = welch_coverage((strongly_skewed, normal), (1.0, 0.25), num, studies, rng)
        yield Line(f"{head}, exponential against normal of a quarter of its sd", held)
    for num in (3, 5):
        head = f"paired t along a ladder, {num} replicates"
        yield Line(f"{head}, normal", paired_coverage(normal, num, studies, rng), 0.94, 0.96)
        for name in ("t4", "skewed", "5 % crashes"):
            yield Line(f"{head}, {name}", paired_coverage(NOISES[name], num, studies, rng))


def bracket_lines(studies: int, rng: Generator) -> Iterator[Line]:
    for num in (3, 5):
        for leads in LADDERS:
            held = bracket_coverage(leads, 0.3, num, 0.5, studies, rng)
            shown = ", ".join(f"{lead:g}" for lead in leads)
            yield Line(f"catch-up bracket, {num} replicates, behind by {shown}", held, 0.95)


def verdict_lines(studies: int, rng: Generator) -> Iterator[Line]:
    strict, usual = build_study(0.1), build_study(0.5)
    for num in (3, 5):
        for effects in ([0.0] * 6, [0.0] * 10, [1.0] + [0.0] * 9):
            rates = family_rates(strict, effects, 0.3, num, studies, rng)
            better = sum(map(bool, effects))
            who = f"{len(effects)} pairs" + (f", {better} truly different" if better else "")
            name = f"families with a false verdict, {num} replicates, {who}"
            yield Line(name, rates.false_family, 0.0, 0.05)
    alone = family_rates(usual, [1.0], 0.3, 5, studies, rng)
    yield Line("1.0 AP found, noise 0.3, 5 replicates, alone", alone.found, 0.95)
    among = family_rates(usual, [1.0] + [0.0] * 9, 0.3, 5, studies, rng)
    yield Line("the same, the only one of ten", among.found, 0.75)
    all_ten = family_rates(usual, [1.0] * 10, 0.3, 5, studies, rng)
    yield Line("the same, all ten so", all_ten.found, 0.75)
    for noise, num in ((0.20, 4), (0.25, 6), (0.30, 8)):
        rates = family_rates(usual, [0.0], noise, num, studies, rng)
        name = f"equal pairs shown equivalent (margin 0.5), noise {noise:g}, {num} replicates"
        yield Line(name, rates.equivalent, 0.8)
    rates = family_rates(usual, [0.0], 0.3, 5, studies, rng)
    more = f"the open ones ask for {rates.needed:.0f} in the middle" if rates.needed else ""
    yield Line(f"the same, noise 0.3, 5 replicates ({more})", rates.equivalent)
    for num in (3, 5, 9):
        rates = family_rates(usual, [0.5] * 5, 0.15, num, studies, rng)
        name = f"families with a false verdict, {num} replicates, 5 pairs at the margin, noise 0.15"
        yield Line(name, rates.false_family, 0.0, 0.055)


def luck_lines(studies: int, rng: Generator) -> Iterator[Line]:
    for spread in (0.5, 1.0):
        luck = Luck(trials=8, spread=spread, noise=0.3)
        for searches, replicates in ((1, 3), (1, 5), (3, 1), (5, 1), (3, 3), (5, 3)):
            budget = {"replicates": replicates, "searches": searches}
            study = build_study(0.01, **budget)
            false = false_by_luck(study, luck, replicates, studies, rng)
            many = "1 search" if searches == 1 else f"{searches} searches"
            repeats = "1 replicate" if replicates == 1 else f"{replicates} replicates"
            name = f"equal arms, configurations of sd {spread:g}, {many}, {repeats}: told apart"
            yield Line(name, false, 0.0, 1.0 if searches == 1 else 0.05)


def importance_lines(studies: int, rng: Generator) -> Iterator[Line]:
    for noise, trials in ((0.3, 20), (0.6, 20), (0.6, 32), (1.0, 50)):
        rates = importance_rates(noise, trials, studies, rng)
        head = f"importance, {trials} trials, noise {noise:g} on a rate worth 0 to 2.6"
        asked = 0.95 if noise < 1.0 else 0.0
        yield Line(f"{head}: the planted parameter is first", rates.first, asked)
        yield Line(f"{head}: it is clear", rates.clear)
        yield Line(f"{head}: its shuffled copy is clear", rates.shuffled, 0.0, 0.005)


def show_families(studies: int) -> int:
    """Errors of families, and power, with equality uncorrected and as studies are judged; returns
    how many families err too often."""
    print("\n| family | equality uncorrected | as judged | upper 97.5 % bound | at most 5.5 % |")
    print("|---|---|---|---|---|")
    missed = 0
    for before, now in compare_errors(studies):
        was = 100.0 * before.num / before.of
        what, rest = str(now)[1:].split("|", 1)
        print(f"|{what}| {was:.2f} % |{rest}", flush=True)
        missed += not now.is_met
    heads = ("equal: equivalent", *(f"{truth:g} ahead: supported" for truth in SHOWN_TRUTHS))
    columns = " | ".join(f"{head}, uncorrected | as judged" for head in heads)
    print(f"\n| arms | noise | replicates | {columns} |\n|{'---|' * (3 + 2 * len(heads))}")
    for line in compare_power(studies):
        print(line, flush=True)
    return missed


def build_study(margin: float, **budget: int) -> Study:
    tree = TREE | {"margin": margin, "budget": TREE["budget"] | budget}
    return Study.model_validate_json(json.dumps(tree))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", action="store_true", help="the last two tables alone")
    asked = parser.parse_args()
    if asked.families:
        return 1 if show_families(asked.studies * FINER) else 0
    print("| what | measured | asked |\n|---|---|---|")
    missed = 0
    kinds = (coverage_lines, bracket_lines, verdict_lines, importance_lines, luck_lines)
    for index, lines in enumerate(kinds):
        studies = asked.studies * (FINER if lines in (coverage_lines, luck_lines) else 1)
        for line in lines(studies, np.random.default_rng([asked.seed, index])):
            print(line, flush=True)
            missed += not line.met
    missed += show_families(asked.studies * FINER)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
