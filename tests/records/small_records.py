"""A small study and events written by hand."""

import json
from typing import Any

from rethink_ray.records.types import Member, RoundProposed, RungDone
from rethink_ray.spec.check import check_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study

FACTS = DataFacts(
    fingerprint="f",
    categories=("disk", "box"),
    regime_sizes={"full": 12},
    regime_digests={"full": "a"},
    split_sizes={"train": 12, "val": 4, "test": 4},
    upstream_fingerprint="u",
)


def small_study(**changes: Any) -> Study:
    """One regime, one arm, rungs 2x and 4x, four trials of which two go on, one replicate."""
    tree = {
        "study": "small",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}},
        "search": {
            "optimizer.lr": {"log_uniform": [0.002, 0.1]},
            "detector.norm": {"choice": ["gn", "bn"]},
        },
        "schedule": {
            "unit": 10,
            "lengths": [2.0, 4.0],
            "warmup": 2,
            "decay": {"before_end": [0.5]},
        },
        "budget": {"trials": 4, "keep": [4, 2], "replicates": 1},
    }
    study = Study.model_validate_json(json.dumps(tree | changes))
    check_study(study, "small")
    return study


def proposed(*trial_ids: str, number: int = 0, of: str | None = None) -> RoundProposed:
    """A round of the only cell; the rate of its i-th trial is 0.01 * (i + 1)."""
    return RoundProposed(
        regime="full",
        arm="scratch",
        number=number,
        purpose="search" if of is None else "replicate",
        members=tuple(
            Member(
                trial_id=trial_id,
                params={"optimizer.lr": 0.01 * (i + 1), "detector.norm": "gn"},
                seed=i,
                of=of,
            )
            for i, trial_id in enumerate(trial_ids)
        ),
    )


def rung(trial_id: str, length: float, ap: float, **more: Any) -> RungDone:
    """A rung that scored ``ap`` on val and two points less on test."""
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=round(10 * length),
        metrics={"val/ap": ap, "test/ap": ap - 2.0, "train/loss": 1.0},
        seconds_train=3.0,
        seconds_score=1.0,
        steps_new=10,
        **more,
    )
