"""Three ways to answer without this program: one sweep, a sweep for each arm, a grid.

They see the same surfaces and noise. All of them know the lengths, the arms and the range of rates
in advance, and none shares the constant part of a schedule between lengths.
"""

import math
from collections.abc import Iterator, Mapping

from optuna.distributions import CategoricalDistribution, FloatDistribution

from rethink_ray.spec.hashing import seed_of
from verdicts.answers import Answer, Place, Winner
from verdicts.surfaces import ARMS, LENGTHS, RATES, REGIMES, Cell, Surface
from verdicts.tune_replay import Params, TuneTrial, replay_tune

SWEEP, GRID = "Ray Tune, one sweep", "grid, 3 seeds"
ASHA_PER_ARM, ASHA_MORE_SEEDS = "ASHA for each arm, 3 seeds", "ASHA for each arm, more seeds"
SWEEP_TRIALS = (16, 32, 64)
"""Trials of each regime's sweep."""
ASHA_BUDGETS: Mapping[int, tuple[int, ...]] = {4: (3,), 8: (3,), 16: (3, 5, 9)}
"""Trials for each arm and length -> seeds of each winner. Good practice takes three; five and nine
are what this program takes."""
ASHA_USUAL_SEEDS = 3
GRID_RATES = (1, 3, 5, 9)
GRID_SEEDS = 3
RATE = FloatDistribution(*RATES, log=True)
EVERY_PLACE: tuple[Place, ...] = tuple(
    (regime, arm, length) for regime in REGIMES for arm in ARMS for length in LENGTHS
)


def answer_by_rivals(surface: Surface) -> Iterator[Answer]:
    """The answers of every rival at every budget."""
    for num in SWEEP_TRIALS:
        yield sweep(surface, num)
    for num in ASHA_BUDGETS:
        yield from tune_each_arm(surface, num)
    for num in GRID_RATES:
        yield try_grid(surface, num)


def report(
    surface: Surface, cell: Cell, rate: float, run: str, times: tuple[float, float]
) -> tuple[float, bool]:
    """What a run reports: (score, whether it has ended).

    Args:
        surface: the planted world.
        cell: regime and arm.
        rate: peak rate of the run.
        run: its name.
        times: how far it has trained, and the length of its schedule.
    """
    time, length = times
    if time < length:
        return surface.measure_early(cell, rate, run, time), False
    return surface.measure(cell, rate, run, length), True


def sweep(surface: Surface, num: int) -> Answer:
    """One Tune experiment for each regime, over arm, rate and length; best trials win.

    Each arm and length is answered by its best trial that ran to its end: a single score.
    """
    space = {
        "arm": CategoricalDistribution(ARMS),
        "rate": RATE,
        "length": CategoricalDistribution(LENGTHS),
    }
    winners: dict[Place, Winner] = {}
    updates = 0.0
    for regime in REGIMES:

        def measure(
            number: int, params: Params, time: float, regime: str = regime
        ) -> tuple[float, bool]:
            times = (time, params["length"])
            run = f"sweep {num} {number}"
            return report(surface, (regime, params["arm"]), params["rate"], run, times)

        seed = seed_of("sweep", surface.family, surface.seed, regime, num)
        trials = replay_tune(space, measure, num, longest=max(LENGTHS), seed=seed)
        updates += sum(trial.time for trial in trials)
        for trial in trials:
            planted_cell = (regime, trial.params["arm"], trial.params["length"])
            if trial.is_finished and (
                planted_cell not in winners or trial.value > winners[planted_cell].scores[0]
            ):
                winners[planted_cell] = Winner(rate=trial.params["rate"], scores=(trial.value,))
    return Answer(
        policy=SWEEP,
        budget=f"{num} trials",
        winners=winners,
        updates=updates,
        updates_longest=updates,
        updates_search=updates,
    )


def tune_each_arm(surface: Surface, num: int) -> Iterator[Answer]:
    """One Tune experiment for each arm, regime and length; new seeds of each winner count."""
    most = max(ASHA_BUDGETS[num])
    repeated: dict[Place, Winner] = {}
    tuning = dict.fromkeys(LENGTHS, 0.0)
    for planted_cell in EVERY_PLACE:
        *_, length = planted_cell
        trials = _tune(surface, planted_cell, num)
        rate = max(trials, key=lambda trial: trial.value).params["rate"]
        repeated[planted_cell] = _repeat(surface, planted_cell, rate, f"winner of {num}", most)
        tuning[length] += sum(trial.time for trial in trials)
    num_cells = len(EVERY_PLACE) // len(LENGTHS)
    for seeds in ASHA_BUDGETS[num]:
        updates = {x: spent + num_cells * seeds * x for x, spent in tuning.items()}
        yield Answer(
            policy=ASHA_PER_ARM if seeds == ASHA_USUAL_SEEDS else ASHA_MORE_SEEDS,
            budget=f"{num} trials, {seeds} seeds",
            winners={
                planted_cell: winner.first(seeds) for planted_cell, winner in repeated.items()
            },
            updates=sum(updates.values()),
            updates_longest=updates[max(LENGTHS)],
            updates_search=sum(tuning.values()),
        )


def _tune(surface: Surface, planted_cell: Place, num: int) -> list[TuneTrial]:
    regime, arm, length = planted_cell

    def measure(number: int, params: Params, time: float) -> tuple[float, bool]:
        run = f"{length:g}x {num} {number}"
        return report(surface, (regime, arm), params["rate"], run, (time, length))

    seed = seed_of("asha", surface.family, surface.seed, regime, arm, f"{length:g}", num)
    return replay_tune({"rate": RATE}, measure, num, longest=length, seed=seed)


def try_grid(surface: Surface, num: int) -> Answer:
    """Every rate of a grid with three seeds; the best mean is each arm's, as in papers' tables."""
    winners: dict[Place, Winner] = {}
    for planted_cell in EVERY_PLACE:
        tried = [
            _repeat(surface, planted_cell, rate, f"grid {num} {rate:.6g}", GRID_SEEDS)
            for rate in grid_rates(num)
        ]
        winners[planted_cell] = max(tried, key=lambda winner: winner.mean)
    updates = {x: num * GRID_SEEDS * x * len(EVERY_PLACE) / len(LENGTHS) for x in LENGTHS}
    return Answer(
        policy=GRID,
        budget=f"{num} rate{'s' if num > 1 else ''}",
        winners=winners,
        updates=sum(updates.values()),
        updates_longest=updates[max(LENGTHS)],
        updates_search=sum(updates.values()) * (num - 1) / num,
    )


def grid_rates(num: int) -> list[float]:
    """The middles of equal parts of the range, in logarithms; a single one is the usual rate."""
    low, high = (math.log10(rate) for rate in RATES)
    return [10.0 ** (low + (index + 0.5) * (high - low) / num) for index in range(num)]


def _repeat(surface: Surface, planted_cell: Place, rate: float, run: str, seeds: int) -> Winner:
    regime, arm, length = planted_cell
    scores = (
        surface.measure((regime, arm), rate, f"{run} at {length:g}x, seed {seed}", length)
        for seed in range(seeds)
    )
    return Winner(rate=rate, scores=tuple(scores))
