"""Describes what a run took over from a whole detector that was trained before."""

from typing import Any

from rethink_ray.detection.detector_start import KeptClasses
from rethink_ray.training.live import Live


def read_keep_classes(live: Live) -> str:
    """``init.keep_classes`` by the rows that were kept; as configured if no name is shared."""
    assert live.kept is not None, "only a run that starts from a whole detector has it"
    if live.kept.categories:
        return "by_name"
    return "none" if live.kept.shared else live.recipe.init.keep_classes


def describe_start(kept: KeptClasses) -> dict[str, Any]:
    """The entry ``start`` of ``effective.json``: the table of what was kept."""
    return {
        "kept_categories": dict(kept.categories),
        "drawn_categories": list(kept.drawn),
        "kept_keypoints": list(kept.keypoints),
        "kept_rows": {
            name: f"{rows.num_kept} of {rows.num_rows}" for name, rows in kept.rows.items()
        },
        "tensors_loaded_whole": kept.num_loaded,
    }
