"""Small studies, made-up facts and made-up answers for the tests of the search."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Outcome, RungDone
from rethink_ray.spec.check import check_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, TrialConfig
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts

SEARCH: dict[str, Any] = {
    "optimizer.lr": {"log_uniform": [0.002, 0.1]},
    "optimizer.weight_decay": {"log_uniform": [1e-5, 1e-2]},
}
BASE: dict[str, Any] = {
    "optimizer": {"name": "sgd", "lr": 0.02, "weight_decay": 1e-4, "momentum": 0.9},
    "augment.color": 0.0,
    "upstream.steps": 1500,
}
"""Pinned here, so that a better tuned base recipe moves no number of these tests."""
LADDER: dict[str, Any] = {
    "unit": 100,
    "lengths": [2, 4, 6],
    "warmup": 20,
    "decay": {"before_end": [0.4, 0.13]},
}


def small_study(**changes: Any) -> Study:
    """Two regimes x two arms, rungs 2x 4x 6x, 8 trials of which 4 and 2 go on, 2 replicates."""
    tree: dict[str, Any] = {
        "study": "small",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}, "few": {"images": 60}},
        "recipe": "tiny_retinanet",
        "settings": BASE,
        "arms": {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}},
        "search": SEARCH,
        "schedule": LADDER,
        "budget": {"trials": 8, "keep": [8, 4, 2], "replicates": 2},
        "seed": 0,
    }
    study = Study.model_validate_json(json.dumps(tree | changes))
    check_study(study, "small.yaml")
    return study


def facts_of(study: Study) -> DataFacts:
    """Facts as ``data`` would have gathered them."""
    return made_up_facts(
        dict.fromkeys(study.regimes, 60), split_sizes={"train": 800, "val": 200, "test": 600}
    )


def ap_of(config: TrialConfig, length: float) -> Mapping[str, float]:
    """Best at a rate of 0.02; grows with length; a little noise from the seed."""
    off = abs(math.log10(config.recipe.optimizer.lr / 0.02))
    noise = (config.seed % 1000) / 1000
    ap = 20.0 + 2.0 * length - 10.0 * off + noise
    return {"val/ap": ap, "test/ap": ap - 1.0}


def diverging_above(limit: float) -> Any:
    """Like ``ap_of``, but a rate above ``limit`` diverges."""

    def answer(config: TrialConfig, length: float) -> Mapping[str, float] | Outcome:
        return "diverged" if config.recipe.optimizer.lr > limit else ap_of(config, length)

    return answer


def rung(trial_id: str, length: float, ap: float) -> RungDone:
    """A finished rung with an AP and nothing else of note."""
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=1,
        metrics={"val/ap": ap},
        seconds_train=0.0,
        seconds_score=0.0,
        steps_new=1,
    )


def member(trial_id: str) -> Member:
    """A member with nothing sampled."""
    return Member(trial_id=trial_id, params={}, seed=0)


def ran(state: StudyState, cell: Cell, length: float) -> list[str]:
    """Search trials of a cell that finished a length, in the order of their proposal."""
    return [
        m.trial_id for _, m in state.members(cell, "search") if (m.trial_id, length) in state.rungs
    ]
