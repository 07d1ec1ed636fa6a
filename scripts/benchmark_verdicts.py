"""What a verdict costs: the same question answered by this program and by three ways without it.

    python scripts/benchmark_verdicts.py [--surfaces 20] [--figure docs/figures/verdicts.png]
    python scripts/benchmark_verdicts.py --check-replay
    python scripts/benchmark_verdicts.py --live studies/verdicts [--seeds 5]

The question: three arms, two regimes, schedules of 2x, 4x and 6x: is each arm above the first one,
equal to it, or below? That makes twelve verdicts on each of the planted surfaces
(``verdicts/surfaces.py``), of which every policy may leave open what it cannot decide, by one rule
(``verdicts/one_rule.py``). It ends with 0, also if a goal is missed: it is a measurement.

``--check-replay`` holds the replayed Ray Tune against Ray Tune itself. ``--live`` trains detectors
on drawn shapes instead, with this program and with Ray Tune.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from verdicts.figure import draw_figure
from verdicts.live import run_live
from verdicts.program import BUDGETS, answer_fixed_budgets, run_study
from verdicts.real_tune import check_replay
from verdicts.rivals import answer_by_rivals
from verdicts.sequential import answer_sequentially
from verdicts.surfaces import Surface, draw_surfaces
from verdicts.tables import all_tables
from verdicts.tally import Point, Score, Tally, score_answers


def run_policies(num: int, workers: int) -> Tally:
    """Every policy at every budget on ``num`` surfaces of each kind."""
    tally = Tally()
    surfaces = list(draw_surfaces(num))
    with ProcessPoolExecutor(workers) as pool:
        for surface, scores in zip(surfaces, pool.map(ask_policies, surfaces), strict=True):
            tally.add(surface, scores)
    return tally


def ask_policies(surface: Surface) -> list[tuple[Point, Score]]:
    """The scores of every policy at every budget on one surface."""
    studies = {trials: run_study(surface, trials) for trials in BUDGETS}
    answers = (
        *answer_fixed_budgets(studies),
        *answer_sequentially(studies),
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
    parser.add_argument("--check-replay", action="store_true", help="hold it against Ray Tune")
    parser.add_argument("--live", type=Path, help="run on drawn shapes, into this folder")
    parser.add_argument("--seeds", type=int, default=5, help="repeats of the live run")
    parser.add_argument("--slots", type=int, default=2, help="trials at a time of the live run")
    options = parser.parse_args()
    if options.live:
        for line in run_live(options.live, options.seeds, options.slots):
            print(line)
        return
    if options.check_replay:
        print(check_replay())
        return
    tally = run_policies(options.surfaces, options.workers)
    print(f"# What a verdict costs\n\n{cpu_seconds():.0f} s of CPU")
    for line in all_tables(tally):
        print(line)
    if options.figure:
        draw_figure(tally, options.figure)


if __name__ == "__main__":
    main()
