"""The large study of the benchmarks: made up, with two regimes and so many arms."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.spec.check import check_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study


def large_study(
    num_cells: int,
    lengths: Sequence[float],
    budget: Mapping[str, Any],
    arms: Mapping[str, Any] | None = None,
) -> Study:
    """Two regimes, and so many arms that there are ``num_cells`` cells; four searched paths.

    Args:
        num_cells: of the study.
        lengths: its ladder, in units of 1x.
        budget: the study file's ``budget``.
        arms: arms that are not plain, by name (``arm0``, ``arm1``, ...).
    """
    tree: dict[str, Any] = {
        "study": "large",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}, "few": {"images": 60}},
        "recipe": "tiny_retinanet",
        "arms": {f"arm{i}": {} for i in range(max(1, num_cells // 2))} | dict(arms or {}),
        "search": {
            "optimizer.lr": {"log_uniform": [0.005, 0.2]},
            "optimizer.weight_decay": {"log_uniform": [1e-5, 1e-2]},
            "optimizer.momentum": {"uniform": [0.8, 0.95]},
            "detector.norm": {"choice": ["gn", "bn"]},
        },
        "schedule": {"unit": 100, "lengths": list(lengths), "warmup": 20},
        "budget": dict(budget),
    }
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "large.yaml")
    return study


def facts_of(study: Study) -> DataFacts:
    """Facts as ``data`` would have gathered them."""
    return DataFacts(
        fingerprint="f" * 16,
        categories=("disc", "square"),
        regime_sizes=dict.fromkeys(study.regimes, 60),
        regime_digests={name: f"digest of {name}" for name in study.regimes},
        split_sizes={"train": 800, "val": 200, "test": 600},
        upstream_fingerprint="u" * 16,
    )
