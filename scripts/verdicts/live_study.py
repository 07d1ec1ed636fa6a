"""The question on drawn shapes, as a study of this program: its size, its run and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSize:
    """How much a run on drawn shapes trains.

    The defaults were fixed before the first run: quickstart's arms, upstream classifier, search and
    replicates, on smaller images and with shorter schedules. One thing changed since: the first try
    of seed 0 ended at once because a smaller classifier, of 32 px, was refused. An update takes 20
    to 35 ms and a score 0.5 s of CPU, so five seeds take half an hour or more.
    """

    image_px: int = 64
    images: tuple[int, int, int] = (200, 30, 60)
    """To train on, to choose by (``val``) and to judge by (``test``)."""
    few_images: int = 40
    """Training images of the second regime."""
    unit: int = 16
    """Updates of 1x, at batch 8."""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    """Where the upstream classifier differs from quickstart's."""
    keep: tuple[int, ...] = (3, 2, 1)
    """Search trials of each cell that run 2x, 4x and 6x: quickstart's, without its audit."""
    replicates: int = 3
    reference_keep: tuple[int, ...] = (6, 3, 2)
    reference_replicates: int = 5
    """Of the study that regret is measured against."""
    sweep_trials: int = 32
    """Of each regime's sweep in Ray Tune. On planted surfaces it has 16, 32 or 64."""
    fresh_runs: int = 2
    """New runs of each configuration that is recommended."""

    @property
    def budget(self) -> dict[str, Any]:
        """Of the study of one seed."""
        return {"trials": self.keep[0], "keep": list(self.keep), "replicates": self.replicates}

    @property
    def reference_budget(self) -> dict[str, Any]:
        """Of the reference: twice the search, and more replicates."""
        keep = list(self.reference_keep)
        return {"trials": keep[0], "keep": keep, "replicates": self.reference_replicates}


DECLARED = LiveSize()
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


def write_tree(name: str, seed: int, size: LiveSize, budget: Mapping[str, Any]) -> dict[str, Any]:
    """The study file: quickstart at this size, with the twelve questions."""
    tree: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    shapes = dict(zip(("train", "val", "test"), size.images, strict=True))
    images = ({"images": "all"}, {"images": size.few_images})
    decay = {"kind": "step", "before_end": [0.4, 0.13], "factor": 0.1}
    changes = {
        "study": name,
        "data": tree["data"] | {"shapes": shapes | {"image_px": size.image_px}},
        "regimes": dict(zip(REGIMES, images, strict=True)),
        "settings": {
            "upstream": tree["settings"]["upstream"] | dict(size.upstream),
            "detector": {"min_side_px": size.image_px, "max_side_px": size.image_px},
        },
        "arms": dict(zip(ARMS, tree["arms"].values(), strict=True)),
        "schedule": {"unit": size.unit, "lengths": list(LENGTHS), "warmup": 8, "decay": decay},
        "budget": budget,
        "claims": declare_claims(),
        "seed": seed,
    }
    return tree | changes


def run_live_study(where: Path, tree: Mapping[str, Any], slots: int) -> LiveStudy:
    """Runs a study of drawn shapes, or continues it; of a finished one the records are read."""
    rethink_ray.run(tree, out=str(where), slots=slots)
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
