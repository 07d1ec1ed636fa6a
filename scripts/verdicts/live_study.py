"""The question on drawn shapes, as a study of this program: its size, its run and its answers.

The size was fixed before the first run, and has not changed since: quickstart's arms, data, search
and replicates, on smaller images and with shorter schedules. An update takes 20 to 35 ms and a score
0.5 s of CPU, so five seeds take about half an hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import rethink_ray
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.resolve import cells_of
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study
from verdicts.answers import Answer, Place
from verdicts.asked import declare_claims, judge_fixed
from verdicts.program import FIXED, StudyRun, list_winners, read_run
from verdicts.surfaces import ARMS, LENGTHS, REGIMES

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
"""Three arms, two regimes, 2x, 4x and 6x on drawn shapes: the study that the README runs."""
SEEDS = 5
IMAGE_PX = 64
DATA = {"train": 200, "val": 30, "test": 60, "image_px": IMAGE_PX}
IMAGES: Mapping[str, Any] = dict(zip(REGIMES, ({"images": "all"}, {"images": 40}), strict=True))
UPSTREAM = {"classes": 10, "images": 1200, "steps": 200, "lr": 0.005, "image_px": 32}
SCHEDULE = {
    "unit": 16,
    "lengths": LENGTHS,
    "warmup": 8,
    "decay": {"kind": "step", "before_end": [0.4, 0.13], "factor": 0.1},
}
BUDGET = {"trials": 3, "keep": [3, 2, 1], "replicates": 3}
"""Quickstart's, without its audit."""
REFERENCE_BUDGET = {"trials": 6, "keep": [6, 3, 2], "replicates": 5}
"""Of the study that regret is measured against: twice the search, and more replicates."""
REFERENCE_SEED = 1000
"""No seed of the five."""

Params = Mapping[str, Value]
"""Dotted path of the recipe -> sampled value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAnswer:
    """The answer of one way, and what it would train with."""

    answer: Answer
    recommended: Mapping[str, tuple[Place, Params]]
    """Regime -> arm and length, and the values that were searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStudy:
    """A finished study on drawn shapes."""

    directory: StudyDirectory
    view: StudyView
    run: StudyRun

    @property
    def study(self) -> Study:
        """What was run."""
        return self.directory.study


def write_tree(name: str, seed: int, budget: Mapping[str, Any]) -> dict[str, Any]:
    """The study file: quickstart at the size of this run, with the twelve questions."""
    tree = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    detector = {"min_side_px": IMAGE_PX, "max_side_px": IMAGE_PX}
    changes = {
        "study": name,
        "data": tree["data"] | {"shapes": DATA},
        "regimes": IMAGES,
        "settings": {"upstream": UPSTREAM, "detector": detector},
        "arms": dict(zip(ARMS, tree["arms"].values(), strict=True)),
        "schedule": SCHEDULE,
        "budget": budget,
        "claims": declare_claims(),
        "seed": seed,
    }
    return tree | changes


def run_live_study(where: Path, seed: int, slots: int, budget: Mapping[str, Any]) -> LiveStudy:
    """Runs the study of one seed, or continues it; of a finished one the records are read."""
    rethink_ray.run(write_tree(where.name, seed, budget), out=str(where), slots=slots)
    directory = StudyDirectory.open(where)
    view = StudyView(directory.study, directory.load_state(), directory.facts)
    return LiveStudy(directory=directory, view=view, run=read_run(view))


def answer_by_study(live: LiveStudy) -> LiveAnswer:
    """The verdicts of the study's findings, and the best mean of each regime."""
    run, replicates = live.run, live.study.budget.num_replicates
    updates = sum(one.updates(replicates) for one in run.cells.values())
    answer = Answer(
        policy=FIXED,
        budget=f"{replicates} replicates",
        winners=list_winners(run, dict.fromkeys(run.cells, replicates)),
        updates=updates,
        updates_longest=updates,
        updates_search=run.search_updates,
        verdicts=judge_fixed(live.study, run.samples),
    )
    recommended = {}
    for regime in REGIMES:
        best = answer.recommend(regime)
        assert best is not None, "every length has a winner"
        recommended[regime] = (best, find_params(live, best))
    return LiveAnswer(answer=answer, recommended=recommended)


def find_params(live: LiveStudy, best: Place) -> Params:
    """The values that the search chose for an arm and a length."""
    regime, arm, length = best
    cell = next(c for c in cells_of(live.study) if (c.regime, c.arm) == (regime, arm))
    return live.view.cell(cell).incumbents[length].params
