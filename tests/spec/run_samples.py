"""A handful of runs that differ in all that an id depends on, with every value said here.

No base recipe stands behind them: only the defaults of the specs do, which ids write out.
"""

from typing import Any

from rethink_ray.spec.recipe import DetectorSpec, InitSpec, LabelsSpec, Recipe, ScheduleSpec
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import ResourceSpec

TINY = DetectorSpec(family="retinanet", backbone="tiny", min_side_px=96, max_side_px=96)


def sample(recipe: Recipe | None = None, **changes: Any) -> TrialConfig:
    """Scratch RetinaNet with a tiny backbone, on 400 made-up images, by one CPU process."""
    plain: dict[str, Any] = {
        "study": "sample",
        "regime": "full",
        "arm": "scratch",
        "images": "all",
        "data": DataSpec(dataset="shapes"),
        "recipe": recipe or with_parts(),
        "seed": 7,
        "data_fingerprint": "d" * 16,
        "regime_digest": "r" * 16,
        "upstream_fingerprint": "u" * 16,
        "num_categories": 6,
        "num_images": 400,
    }
    return TrialConfig(**(plain | changes))


def with_parts(**parts: Any) -> Recipe:
    """The recipe of ``sample`` with whole groups replaced."""
    schedule = ScheduleSpec(unit=60, lengths=(2.0, 4.0), warmup=20)
    return Recipe(**({"detector": TINY, "schedule": schedule} | parts))


def samples() -> dict[str, TrialConfig]:
    """Name -> run."""
    student = with_parts(labels=LabelsSpec(kind="self_training", threshold=0.4))
    teacher = sample(seed=8)
    file = InitSpec(source="file", weights="w.pth", weights_norm="gn")
    taught = {"asset_seed": 8, "unlabelled_fingerprint": "p" * 16}
    in_file = sample(seed=0, weights_file="t.pth", weights_digest="t" * 16)
    return {
        "scratch": sample(),
        "upstream": sample(with_parts(init=InitSpec(source="upstream"))),
        "direct": sample(with_parts(init=InitSpec(source="direct")), asset_seed=9),
        "file": sample(with_parts(init=file), weights_digest="w" * 16),
        "self_training": sample(student, teacher=teacher, **taught),
        "taught_by_a_file": sample(student, teacher=in_file, unlabelled_fingerprint="p" * 16),
        "workers_2": sample(resources=ResourceSpec(workers=2)),
        "gpu": sample(resources=ResourceSpec(gpus_per_worker=1)),
        "gpu_upstream": sample(
            with_parts(init=InitSpec(source="upstream")), resources=ResourceSpec(gpus_per_worker=1)
        ),
    }
