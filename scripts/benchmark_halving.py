"""Which halving schedule leaves the lowest regret at equal updates, on made-up surfaces.

    python scripts/benchmark_halving.py [--seeds 200] [--first-seed 0] [--workers 2]
    python scripts/benchmark_halving.py --confirm NAME [--first-seed 200]

Each schedule gets as many trials as the updates of the former default allow (one round of all
trials, until 2026-11-29), and runs the program's own proposals and halving. Regret is the AP by
which the incumbent of the longest length misses the best configuration there. The schedules below
were written down before the first run; the one with the lowest regret is then held against the
former default on seeds that did not choose it (``--confirm``).
"""

import argparse
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing import Pool

import numpy as np
from benchmark_search import CELL, Policy, made_up_study
from halving_surfaces import FAMILIES, Params, PlantedSurface
from numpy.typing import NDArray

from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, RoundProposed, RungDone, TrialEnded
from rethink_ray.search.costs import new_steps
from rethink_ray.search.proposals import Proposer
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.recipe import ScheduleSpec
from rethink_ray.spec.resolve import base_recipe
from rethink_ray.spec.study import Study

_log = logging.getLogger(__name__)

LADDERS: Mapping[str, tuple[float, ...]] = {
    "2x to 8x": (2.0, 4.0, 8.0),
    "2x to 12x": (2.0, 4.0, 6.0, 12.0),
}
TRIALS_OF_FORMER = (8, 24)
"""Budgets: the updates that so many trials cost under the former default."""
FORMER, NONE = "one round, halved to 2", "none: rounds of 4 run all lengths"

Keep = Callable[[int, int], tuple[int, ...]]
"""(trials, number of lengths) -> how many of a round run each length."""


def in_one_round(factor: float, finalists: int) -> Keep:
    """All trials in one round, divided by ``factor`` from length to length."""

    def keep(trials: int, num_lengths: int) -> tuple[int, ...]:
        kept = [trials]
        while len(kept) < num_lengths:
            kept.append(max(min(kept[-1], finalists), math.floor(kept[-1] / factor)))
        return tuple(kept)

    return keep


def in_rounds(*kept: int) -> Keep:
    """Rounds of ``kept[0]``; the last entry holds for the lengths that are left."""

    def keep(trials: int, num_lengths: int) -> tuple[int, ...]:
        longer = kept + kept[-1:] * (num_lengths - len(kept))
        return tuple(min(num, trials) for num in longer[:num_lengths])

    return keep


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingSchedule:
    """A way to spend the updates of a cell's search."""

    keep: Keep
    first: float = 1.0
    """Factor on the first length; 2 leaves the first of the lengths out, 0.5 puts one before it."""
    audit: int = 0
    longest_only: bool = False

    def lengths(self, ladder: Sequence[float]) -> tuple[float, ...]:
        """The lengths that it runs."""
        if self.longest_only:
            return tuple(ladder[-1:])
        before = (ladder[0] / 2,) if self.first < 1 else ()
        return (*before, *(ladder[1:] if self.first > 1 else ladder))


SCHEDULES: Mapping[str, HalvingSchedule] = {
    FORMER: HalvingSchedule(keep=in_one_round(2, 2)),
    "one round, halved to 1": HalvingSchedule(keep=in_one_round(2, 1)),
    "one round, thirds to 2": HalvingSchedule(keep=in_one_round(3, 2)),
    "one round, thirds to 1": HalvingSchedule(keep=in_one_round(3, 1)),
    "one round, two thirds": HalvingSchedule(keep=in_one_round(1.5, 2)),
    "rounds of 4: 4, 2, 1": HalvingSchedule(keep=in_rounds(4, 2, 1)),
    "rounds of 4: 4, 2, 2": HalvingSchedule(keep=in_rounds(4, 2, 2)),
    "rounds of 6: 6, 3, 2": HalvingSchedule(keep=in_rounds(6, 3, 2)),
    "rounds of 6: 6, 2, 1": HalvingSchedule(keep=in_rounds(6, 2, 1)),
    "rounds of 8: 8, 4, 2": HalvingSchedule(keep=in_rounds(8, 4, 2)),
    "rounds of 8: 8, 4, 2, 1": HalvingSchedule(keep=in_rounds(8, 4, 2, 1)),
    "rounds of 8: 8, 2, 2": HalvingSchedule(keep=in_rounds(8, 2, 2)),
    "rounds of 8: 8, 2, 1": HalvingSchedule(keep=in_rounds(8, 2, 1)),
    "rounds of 8: 8, 6, 4": HalvingSchedule(keep=in_rounds(8, 6, 4)),
    "rounds of 12: 12, 6, 3": HalvingSchedule(keep=in_rounds(12, 6, 3)),
    f"{FORMER}, audit": HalvingSchedule(keep=in_one_round(2, 2), audit=1),
    f"{FORMER}, half a first length before": HalvingSchedule(keep=in_one_round(2, 2), first=0.5),
    f"{FORMER}, from the second length": HalvingSchedule(keep=in_one_round(2, 2), first=2.0),
    "rounds of 8: 8, 4, 2, from the second length": HalvingSchedule(
        keep=in_rounds(8, 4, 2), first=2.0
    ),
    NONE: HalvingSchedule(keep=in_rounds(4, 4)),
    "none: the longest length only": HalvingSchedule(keep=in_rounds(4), longest_only=True),
}
"""By name. Fixed on 2026-11-29, before the first run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One surface, ladder and budget, under one schedule."""

    schedule: str
    family: str
    seed: int

    @property
    def ladder(self) -> str:
        """Every second seed has the longer one."""
        return list(LADDERS)[self.seed % 2]

    @property
    def trials_of_former(self) -> int:
        """The budget: every second pair of seeds has the larger one."""
        return TRIALS_OF_FORMER[self.seed // 2 % 2]


def count_updates(schedule: HalvingSchedule, ladder: Sequence[float], trials: int) -> int:
    """Updates of a search in which no trial diverges."""
    lengths = schedule.lengths(ladder)
    steps = [new_steps(_spec(), x, lengths[:i]) for i, x in enumerate(lengths)]
    kept = schedule.keep(trials, len(lengths))
    full, left = divmod(trials, kept[0])
    sizes = [kept] * full + [tuple(min(num, left) for num in kept)]
    total = sum(num * step for size in sizes for num, step in zip(size, steps, strict=True))
    return total + schedule.audit * sum(steps[1:])


def choose_trials(schedule: HalvingSchedule, ladder: Sequence[float], updates: int) -> int:
    """The number of trials whose cost is nearest to so many updates; of two the smaller."""
    return min(
        range(1, 4 * max(TRIALS_OF_FORMER)),
        key=lambda trials: abs(count_updates(schedule, ladder, trials) - updates),
    )


@cache
def _spec() -> ScheduleSpec:
    study = made_up_study(Policy(name="", trials=1, keep=(1, 1, 1, 1), sampler="auto"), 0)
    return base_recipe(study, CELL).schedule


@cache
def _study(policy: Policy) -> Study:
    """The study of a policy: checking one takes as long as running it here."""
    return made_up_study(policy, 0)


@cache
def _budget(schedule: str, ladder: str, trials_of_former: int) -> int:
    """The number of trials of a schedule that costs what the former default costs."""
    lengths = LADDERS[ladder]
    updates = count_updates(SCHEDULES[FORMER], lengths, trials_of_former)
    return choose_trials(SCHEDULES[schedule], lengths, updates)


def find_regret(setting: Setting) -> tuple[float, float]:
    """Regret at the longest length in AP, and the updates over those of the former default."""
    schedule, ladder = SCHEDULES[setting.schedule], LADDERS[setting.ladder]
    lengths, surface = schedule.lengths(ladder), FAMILIES[setting.family](setting.seed)
    trials = _budget(setting.schedule, setting.ladder, setting.trials_of_former)
    keep = schedule.keep(trials, len(lengths))
    policy = Policy(
        name="", trials=trials, keep=keep, sampler="auto", lengths=lengths, audit=schedule.audit
    )
    changes = {"seed": setting.seed, "search": dict(surface.searched)}
    study = _study(policy).model_copy(update=changes)
    view = run_search(study, surface, setting.seed)
    updates = sum(rung.steps_new for rung in view.state.rungs.values())
    budget = count_updates(SCHEDULES[FORMER], ladder, setting.trials_of_former)
    best = view.incumbents.get(ladder[-1])
    ap = 0.0 if best is None else surface.true_ap(numbers_of(best), ladder[-1])
    return surface.best_ap(ladder[-1]) - ap, updates / budget


def run_search(study: Study, surface: PlantedSurface, seed: int) -> CellView:
    """The records of one cell's search: the program's proposals, halving and audit."""
    state = StudyState()
    view = StudyView(study, state).cell(CELL)
    proposer = Proposer(view)
    while not view.is_search_over:
        if view.is_round_due:
            state.add(_propose(view, proposer))
        for run in view.pending_search:
            for length in run.lengths:
                done = state.lengths_done(run.member.trial_id, view.ladder.lengths)
                state.add(_measure(surface, run.member, length, seed, done))
                if run.member.trial_id in state.ended:
                    break
    return view


def _propose(view: CellView, proposer: Proposer) -> RoundProposed:
    """The next round. A trial is named by its number, so that schedules share their noise."""
    number, first = len(view.rounds("search")), len(view.members("search"))
    size = min(view.ladder.keep[0], view.num_unproposed)
    members = [
        Member(trial_id=f"{first + index:04d}", params=params, seed=first + index)
        for index, params in enumerate(proposer.propose(number, size))
    ]
    return RoundProposed(
        regime=CELL.regime,
        arm=CELL.arm,
        number=number,
        purpose="search",
        members=tuple(members),
    )


def _measure(
    surface: PlantedSurface, member: Member, length: float, seed: int, done: Sequence[float]
) -> RungDone | TrialEnded:
    """A scored rung, or the end of a trial that diverges.

    Half of the noise's variance belongs to the trunk, which all lengths of a trial share.
    """
    ap = surface.true_ap(numbers_of(member), length)
    if ap == 0.0:
        return TrialEnded(trial_id=member.trial_id, outcome="diverged", reason="planted")
    trunk, branch = (
        np.random.default_rng(seed_of(name, seed, member.trial_id, when)).normal()
        for name, when in (("trunk", ""), ("branch", f"{length:g}"))
    )
    noisy = max(0.0, ap + surface.sd * float(trunk + branch) * math.sqrt(0.5))
    return RungDone(
        trial_id=member.trial_id,
        length=length,
        steps=_spec().steps(length),
        metrics={"val/ap": noisy},
        seconds_train=0.0,
        seconds_score=0.0,
        steps_new=new_steps(_spec(), length, done),
    )


def numbers_of(member: Member) -> Params:
    """The sampled values, all of which are numbers here."""
    return {path: float(value or 0.0) for path, value in member.params.items()}


def run_schedules(
    names: Sequence[str], seeds: range, workers: int
) -> Mapping[str, NDArray[np.float64]]:
    """Schedule -> [families, seeds, 2]: regret and relative updates."""
    settings = [
        Setting(schedule=name, family=family, seed=seed)
        for family, seed, name in product(FAMILIES, seeds, names)
    ]
    with Pool(workers) as pool:
        results = []
        for index, result in enumerate(pool.imap(find_regret, settings, chunksize=50)):
            results.append(result)
            if index % 2000 == 0:
                _log.info("%d of %d searches", index, len(settings))
    values = np.array(results).reshape(len(FAMILIES), len(seeds), len(names), 2)
    return {name: values[:, :, index] for index, name in enumerate(names)}


def interval_of(differences: NDArray[np.float64]) -> str:
    """Mean and 95 % interval; the mean of all families on one seed is one value."""
    by_seed = differences.mean(axis=0)
    half = 1.96 * float(by_seed.std(ddof=1)) / math.sqrt(by_seed.size)
    mean = float(by_seed.mean())
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def table_of(results: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """Regret by schedule and family, the lowest mean first, and the paired difference to the former
    default."""
    yield "| schedule | updates | " + " | ".join(FAMILIES) + " | all | minus former default |"
    yield "|---" * (len(FAMILIES) + 4) + "|"
    former = results[FORMER][..., 0]
    for name, values in sorted(results.items(), key=lambda pair: float(pair[1][..., 0].mean())):
        regret, updates = values[..., 0], float(values[..., 1].mean())
        families = " | ".join(f"{x:.2f}" for x in regret.mean(axis=1))
        compared = "" if name == FORMER else interval_of(regret - former)
        yield f"| {name} | {updates:.2f} | {families} | {regret.mean():.2f} | {compared} |"


def parts_table_of(results: Mapping[str, NDArray[np.float64]], seeds: range) -> Iterator[str]:
    """The paired difference to the former default's by family, and by ladder and budget."""
    settings = [Setting(schedule=FORMER, family="", seed=seed) for seed in seeds]
    kinds = [f"{s.ladder}, {s.trials_of_former} trials" for s in settings]
    parts = list(dict.fromkeys(kinds))
    yield "| schedule | " + " | ".join((*FAMILIES, *parts)) + " |"
    yield "|---" * (len(FAMILIES) + len(parts) + 1) + "|"
    for name, values in results.items():
        differences = values[..., 0] - results[FORMER][..., 0]
        cells = [interval_of(row[None]) for row in differences]
        for part in parts:
            cells.append(interval_of(differences[:, [kind == part for kind in kinds]]))
        if name != FORMER:
            yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--confirm", metavar="NAME", choices=SCHEDULES)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    names = (FORMER, NONE, options.confirm) if options.confirm else tuple(SCHEDULES)
    results = run_schedules(tuple(dict.fromkeys(names)), seeds, options.workers)
    print(f"\n## Regret in AP at the longest length, means over {len(seeds)} surfaces a family\n")
    print("\n".join(table_of(results)))
    print("\n## Difference to the former default, by part\n")
    print("\n".join(parts_table_of(results, seeds)))


if __name__ == "__main__":
    main()
