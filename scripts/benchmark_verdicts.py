"""What a verdict costs: the same question answered by this program and by three ways without it.

    python scripts/benchmark_verdicts.py [--surfaces 20] [--figure docs/figures/verdicts.png]
    python scripts/benchmark_verdicts.py --budgets calibration [--surfaces 20]
    python scripts/benchmark_verdicts.py --check-replay
    python scripts/benchmark_verdicts.py --live studies/verdicts [--seeds 5]

The question: three arms, two regimes, schedules of 2x, 4x and 6x: is each arm above the first one,
equal to it, or below? That makes twelve verdicts on each of the planted surfaces
(``verdicts/surfaces.py``), of which every policy may leave open what it cannot decide. This
program's verdicts are those of its findings. Rivals have none, so the same correction judges their
scores (``verdicts/one_rule.py``). It ends with 0, also if a goal is missed: it is a measurement.

``--budgets`` compares this program's budgets, on surfaces of their own. ``--check-replay`` holds
the replayed Ray Tune against Ray Tune itself. ``--live`` trains detectors on drawn shapes instead,
with this program and with Ray Tune.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from verdicts.budgets import TRIALS, budget_tables, list_surfaces, try_budgets
from verdicts.figure import draw_figure
from verdicts.live import run_live
from verdicts.live_study import SEEDS
from verdicts.program import BUDGETS, answer_fixed_budgets, judge_by_rule, run_study
from verdicts.real_tune import check_replay
from verdicts.rivals import answer_by_rivals
from verdicts.sentences import say_losses
from verdicts.sequential import answer_sequentially
from verdicts.surfaces import Surface, draw_surfaces
from verdicts.tables import all_tables
from verdicts.tally import Point, Score, Tally, score_answers

Ask = Callable[[Surface], list[tuple[Point, Score]]]
"""The scores of some policies on a surface."""


def tally_surfaces(ask: Ask, surfaces: Sequence[Surface], workers: int) -> Tally:
    """The scores of every policy and budget that is asked about, on these surfaces."""
    tally = Tally()
    with ProcessPoolExecutor(workers) as pool:
        for surface, scores in zip(surfaces, pool.map(ask, surfaces), strict=True):
            tally.add(surface, scores)
    return tally


def ask_policies(surface: Surface) -> list[tuple[Point, Score]]:
    """The scores of every policy at every budget on one surface."""
    studies = {trials: run_study(surface, trials) for trials in BUDGETS}
    fixed = list(answer_fixed_budgets(studies, surface.seed))
    answers = (
        *fixed,
        *map(judge_by_rule, fixed),
        *answer_sequentially(studies, surface.seed),
        *answer_by_rivals(surface),
    )
    return score_answers(answers, surface)


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--surfaces", type=int, default=20, help="of each of the 12 kinds")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--figure", type=Path, help="where to draw it; nowhere if left out")
    parser.add_argument("--budgets", choices=("calibration", "check"), help="compare our own")
    parser.add_argument("--check-replay", action="store_true", help="hold it against Ray Tune")
    parser.add_argument("--live", type=Path, help="run on drawn shapes, into this folder")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="repeats of the live run")
    parser.add_argument("--slots", type=int, default=2, help="trials at a time of the live run")
    options = parser.parse_args()
    if options.live:
        for line in run_live(options.live, options.seeds, options.slots):
            print(line, flush=True)
        return
    if options.check_replay:
        print(check_replay())
        return
    if options.budgets:
        surfaces = list(list_surfaces(options.budgets, options.surfaces))
        ask = partial(try_budgets, trials=TRIALS[options.budgets])
        tally = tally_surfaces(ask, surfaces, options.workers)
        print(f"# Budgets, {options.budgets}: {len(surfaces)} surfaces\n")
        for line in budget_tables(tally):
            print(line)
        return
    tally = tally_surfaces(ask_policies, list(draw_surfaces(options.surfaces)), options.workers)
    print(f"# What a verdict costs\n\n{cpu_seconds():.0f} s of CPU")
    for line in all_tables(tally):
        print(line)
    print("\n## Where we lose, in sentences\n")
    for line in say_losses(tally):
        print(line)
    if options.figure:
        draw_figure(tally, options.figure)


if __name__ == "__main__":
    main()
