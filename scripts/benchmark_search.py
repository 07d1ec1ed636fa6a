"""What the search saves and loses, on a made-up response surface; no Ray and no torch.

Prints the tables of docs/benchmarks.md: equal budgets per cell; halving against random search at
equal cost and at full budget, with the sampler's share apart; and the time that decisions take.

    python scripts/benchmark_search.py [--seeds 20] [--cells 1000] [--trials 100]
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.check import check_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell, TrialConfig, cells_of
from rethink_ray.spec.study import Study

LENGTHS = (2.0, 3.0, 4.0, 6.0)
CELL = Cell("full", "scratch")
EQUAL_COST_TRIALS = 21
"""Straight 6x runs that cost what 32 halved trials cost; the table's cost column shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """True AP over (rate, decay, clip), and the noise of one measured rung.

    A parabola in the logarithms; the best rate moves down by ``drift`` decades from 2x to 6x, and
    higher rates cost more when the run is long.
    """

    seed: int
    drift: float
    noise_sd: float = 0.3

    def true_ap(self, config: TrialConfig, length: float) -> float:
        optimizer = config.recipe.optimizer
        rng = np.random.default_rng(seed_of("surface", self.seed))
        rate, decay, momentum = rng.uniform(-0.5, 0.5, size=3)
        late = math.log(length / 2) / math.log(3)
        off_rate = math.log10(optimizer.lr / 0.015) - 0.6 * rate + self.drift * late
        off_decay = math.log10(optimizer.weight_decay / 3e-4) - decay
        off_momentum = (optimizer.momentum - 0.88 - 0.05 * momentum) / 0.05
        loss = 10 * off_rate**2 + 3 * off_decay**2 + 1.5 * off_momentum**2
        return 30.0 + 5.0 * late - float(loss)

    def measure(self, config: TrialConfig, length: float) -> Mapping[str, float]:
        rng = np.random.default_rng(seed_of("noise", self.seed, config.seed, f"{length:g}"))
        ap = max(0.0, self.true_ap(config, length) + self.noise_sd * float(rng.normal()))
        return {"val/ap": ap, "test/ap": ap}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One way to spend a cell's effort."""

    name: str
    trials: int
    keep: tuple[int, ...]
    sampler: str
    lengths: tuple[float, ...] = LENGTHS
    audit: int = 0


def made_up_study(policy: Policy, seed: int, num_cells: int = 1) -> Study:
    """One arm per cell, all of one regime but for the number of cells."""
    tree: dict[str, Any] = {
        "study": "made_up",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "settings": {"optimizer": {"lr": 0.02, "weight_decay": 1e-4, "momentum": 0.9}},
        "arms": {"scratch": {}} | {f"arm{i}": {} for i in range(1, num_cells)},
        "search": {
            "optimizer.lr": {"log_uniform": [0.002, 0.1]},
            "optimizer.weight_decay": {"log_uniform": [1e-5, 1e-2]},
            "optimizer.momentum": {"uniform": [0.8, 0.95]},
        },
        "schedule": {
            "unit": 900,
            "lengths": policy.lengths,
            "decay": {"kind": "step", "before_end": [0.667, 0.222], "factor": 0.1},
        },
        "budget": {
            "trials": policy.trials,
            "keep": policy.keep[: len(policy.lengths)],
            "audit": policy.audit,
            "replicates": 0,
        },
        "sampler": policy.sampler,
        "seed": seed,
    }
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "made up")
    return study


def made_up_facts(study: Study) -> DataFacts:
    """Facts of a data set that nobody needs."""
    return DataFacts(
        fingerprint="made up",
        categories=("a",),
        regime_sizes=dict.fromkeys(study.regimes, 1),
        regime_digests={name: name for name in study.regimes},
        split_sizes={"train": 1, "val": 1, "test": 1},
        upstream_fingerprint="none",
    )


def spend(policy: Policy, surface: Surface) -> tuple[float, float]:
    """True AP of the incumbent at the longest length, and the cost in full 6x schedules."""
    study = made_up_study(policy, surface.seed)
    facts = made_up_facts(study)
    state = replay(study, facts, surface.measure, slots=4, order_seed=surface.seed)
    view = StudyView(study, state, facts).cell(CELL)
    best = view.config_of(view.incumbents[LENGTHS[-1]])
    cost = sum(rung.steps_new for rung in state.rungs.values()) / (900 * LENGTHS[-1])
    return surface.true_ap(best, LENGTHS[-1]), cost


def policies() -> list[Policy]:
    """All at the budget of 32 halved trials, except where the name says otherwise."""
    halving, flat = (8, 4, 2, 2), (1, 1, 1, 1)
    found = [
        Policy(name=f"halving, {sampler}", trials=32, keep=halving, sampler=sampler)
        for sampler in ("auto", "tpe", "quasi_random", "random")
    ]
    found.append(
        Policy(
            name="no halving, random, whole ladder, equal cost",
            trials=16,
            keep=flat,
            sampler="random",
        )
    )
    longest = (LENGTHS[-1],)
    for name, trials in (("equal cost", EQUAL_COST_TRIALS), ("full budget", 32)):
        found += [
            Policy(
                name=f"no halving, {sampler}, {name}",
                trials=trials,
                keep=flat,
                sampler=sampler,
                lengths=longest,
            )
            for sampler in ("random", "auto")
        ]
    return found


def print_equal_budgets() -> None:
    """Every cell of a study gets the same trials at every length."""
    policy = Policy(name="", trials=16, keep=(8, 4, 2, 2), sampler="auto")
    study = made_up_study(policy, 0, num_cells=4)
    state = replay(study, made_up_facts(study), Surface(seed=0, drift=0.3).measure, slots=3)
    print("\n## Equal budgets: finished search trials per cell and length\n")
    print("| cell | " + " | ".join(f"{x:g}x" for x in LENGTHS) + " |")
    print("|---" * (len(LENGTHS) + 1) + "|")
    for cell in cells_of(study):
        members = [m.trial_id for _, m in state.members(cell, "search")]
        done = [sum((t, x) in state.rungs for t in members) for x in LENGTHS]
        print(f"| {cell.name} | " + " | ".join(map(str, done)) + " |")


def print_halving(num_seeds: int) -> None:
    """True AP of the 6x incumbent by policy, without and with a drifting optimum."""
    print(f"\n## True AP of the 6x incumbent, median (quartiles) over {num_seeds} surfaces\n")
    print("| policy | trials | cost (6x runs) | optimum stands still | optimum drifts |")
    print("|---|---|---|---|---|")
    for policy in policies():
        columns, cost = [], 0.0
        for drift in (0.0, 0.4):
            spent = [spend(policy, Surface(seed=s, drift=drift)) for s in range(num_seeds)]
            columns.append(quartiles([ap for ap, _ in spent]))
            cost = statistics.median(cost for _, cost in spent)
        print(f"| {policy.name} | {policy.trials} | {cost:.1f} | {columns[0]} | {columns[1]} |")


def quartiles(values: Sequence[float]) -> str:
    """Median and quartiles, to the hundredth of an AP."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def print_decision_time(num_cells: int, num_trials: int) -> None:
    """Every event of a large study asks for a new decision; jobs end in a random order."""
    policy = Policy(name="", trials=num_trials, keep=(20, 10, 5, 2), sampler="auto")
    study = made_up_study(policy, 0, num_cells=num_cells)
    facts, surface = made_up_facts(study), Surface(seed=0, drift=0.3)
    rng = np.random.default_rng(0)
    answering = 0.0

    def answer(config: TrialConfig, length: float) -> Mapping[str, float]:
        nonlocal answering
        began = time.perf_counter()
        metrics = surface.measure(config, length)
        answering += time.perf_counter() - began
        return metrics

    began, began_cpu = time.perf_counter(), time.process_time()
    cluster = SimulatedCluster(
        study, facts, answer, slots=64, duration=lambda job, length: float(rng.random())
    )
    decision = cluster.run()
    cpu_seconds = time.process_time() - began_cpu
    seconds = time.perf_counter() - began - answering
    assert decision.done, "the large study must end"
    rungs = len(cluster.state.rungs)
    print(f"\n## Time of all decisions: {num_cells} cells x {num_trials} trials\n")
    print("| rungs | seconds | of these on the CPU | milliseconds a rung |")
    print("|---|---|---|---|")
    print(f"| {rungs} | {seconds:.0f} | {cpu_seconds:.0f} | {1000 * seconds / rungs:.2f} |")


def print_trunk() -> None:
    """What sharing the trunk saves on the ladder of the halving table."""
    policy = Policy(name="", trials=32, keep=(8, 4, 2, 2), sampler="auto")
    study = made_up_study(policy, 0)
    plan = plan_study(study, made_up_facts(study), slots=4)
    saved = 1 - plan.steps / plan.separate_steps
    print(
        f"\nOne cell of 32 trials: {plan.steps:,} updates with shared trunks, "
        f"{plan.separate_steps:,} without ({saved:.0%} saved); "
        f"4 slots busy {plan.busy_share:.0%} of the time."
    )


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    print_equal_budgets()
    print_trunk()
    print_halving(asked.seeds)
    if asked.cells:
        print_decision_time(asked.cells, asked.trials)


if __name__ == "__main__":
    main()
