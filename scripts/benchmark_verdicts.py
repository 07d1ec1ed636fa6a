"""What a verdict costs: the same question answered by this program and by three ways without it.

    python scripts/benchmark_verdicts.py [--surfaces 30] [--figure docs/figures/verdicts.png]
    python scripts/benchmark_verdicts.py --check-replay
    python scripts/benchmark_verdicts.py --live studies/verdicts [--seeds 5]

The question: three arms, two regimes, schedules of 2x, 4x and 6x: is each arm above the first one,
equal to it, or below? That makes twelve verdicts on each of the planted surfaces
(``verdicts/surfaces.py``), of which every policy may leave open what it cannot decide, by one rule
(``verdicts/one_rule.py``). It ends with 0 whatever comes out: it is a measurement.

``--check-replay`` holds the replayed Ray Tune against Ray Tune itself. ``--live`` trains detectors
on drawn shapes instead, with this program and with Ray Tune.
"""

import argparse
import time
from pathlib import Path

from verdicts.figure import draw_figure
from verdicts.live import run_live
from verdicts.program import BUDGETS, answer_fixed_budgets, run_study
from verdicts.real_tune import check_replay
from verdicts.rivals import answer_by_rivals
from verdicts.sequential import answer_sequentially
from verdicts.surfaces import draw_surfaces
from verdicts.tables import all_tables
from verdicts.tally import Tally
from verdicts.todays_findings import answer_as_findings


def run_policies(num: int) -> Tally:
    """Every policy at every budget on ``num`` surfaces of each kind."""
    tally = Tally()
    for surface in draw_surfaces(num):
        studies = {trials: run_study(surface, trials) for trials in BUDGETS}
        fixed = list(answer_fixed_budgets(studies))
        answers = (
            *fixed,
            *map(answer_as_findings, fixed),
            *answer_sequentially(studies),
            *answer_by_rivals(surface),
        )
        tally.add(surface, answers)
    return tally


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--surfaces", type=int, default=30, help="of each of the 12 kinds")
    parser.add_argument("--figure", type=Path, help="where to draw it; nowhere if left out")
    parser.add_argument("--check-replay", action="store_true", help="hold it against Ray Tune")
    parser.add_argument("--live", type=Path, help="run on drawn shapes, into this folder")
    parser.add_argument("--seeds", type=int, default=5, help="repeats of the live run")
    parser.add_argument("--slots", type=int, default=2, help="trials at a time of the live run")
    asked = parser.parse_args()
    if asked.live:
        for line in run_live(asked.live, asked.seeds, asked.slots):
            print(line)
        return
    if asked.check_replay:
        print(check_replay())
        return
    began = time.process_time()
    tally = run_policies(asked.surfaces)
    print(f"# What a verdict costs\n\n{time.process_time() - began:.0f} s of CPU")
    for line in all_tables(tally):
        print(line)
    if asked.figure:
        draw_figure(tally, asked.figure)


if __name__ == "__main__":
    main()
