"""Whole runs on a pretended GPU: trained, stopped, resumed and scored like those on the CPU.

Every operation would also run on CUDA: none mixes devices. The kernels are the CPU's, so each
number must be the CPU's as well; on a real GPU it is not.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.recipe import Precision
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from tests.builders import micro_recipe, micro_trial
from tests.gpu.gpu_runs import climb_on_gpu, on_gpu
from tests.gpu.pretended_gpu import NAME, pretend_gpu
from tests.training.runs import climb, digests
from tests.training.test_self_training import taught

LENGTHS = (2.0, 3.0)
IMAGES = 2
CEILINGS = {
    "tiny_retinanet": 0,
    "tiny_fcos": 0,
    "tiny_faster_rcnn": 3 + IMAGES,
    "tiny_mask_rcnn": 5 + IMAGES,
    "tiny_keypoint_rcnn": 5 + IMAGES,
    "tiny_cascade_rcnn": 9 + IMAGES,
    "tiny_cascade_mask_rcnn": 11 + IMAGES,
}
"""Waits of the host for the GPU in an update of two images; they may only fall. Suppression of
duplicates waits once an image; kept proposals, drawn proposals and each pooling of regions wait
once a batch. Losses are read once in 20 updates, which are not counted here."""
QUICK = ("tiny_retinanet", "bf16")


def assert_same(
    config: TrialConfig, folder: Path, lengths: Sequence[float] = LENGTHS
) -> Counter[str]:
    """The run's weights, costs and scores do not depend on the device; its worst update's waits.

    What it starts from is built on the same device.
    """
    build_assets(config, folder / "cpu" / "assets")
    with pretend_gpu():
        build_assets(on_gpu(config), folder / "gpu" / "assets")
    of_cpu = climb(config, folder / "cpu", lengths)
    of_gpu, waits = climb_on_gpu(on_gpu(config), folder / "gpu", lengths)
    assert digests(folder / "gpu", lengths) == digests(folder / "cpu", lengths)
    for ours, theirs in zip(of_gpu, of_cpu, strict=True):
        assert ours.step_flops == theirs.step_flops
        assert dict(ours.metrics) == pytest.approx(dict(theirs.metrics), abs=1e-3, nan_ok=True)
        assert ours.peak_memory_of == "gpu"
    return waits


def build_assets(config: TrialConfig, folder: Path) -> None:
    """Those that are too poor to start from as well: the classifier of a few updates is one."""
    for spec in assets_of(config):
        build_asset(spec, config.data, folder)


CASES = [
    pytest.param(*case, marks=[] if case == QUICK else pytest.mark.slow)
    for case in itertools.product(CEILINGS, ("fp32", "bf16"))
]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_a_run_of_each_family_is_the_cpus(tmp_path: Path, name: str, precision: Precision) -> None:
    config = micro_trial(micro_recipe(name, precision=precision))
    is_short = precision == "fp32" or (name, precision) == QUICK
    lengths = LENGTHS[:1] if is_short else LENGTHS
    waits = assert_same(config, tmp_path, lengths)
    assert waits.total() == CEILINGS[name], f"a lower number replaces the ceiling: {waits}"


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "pictures of two shapes, several views": (
        "tiny_faster_rcnn",
        {
            "detector__min_side_px": 48,
            "detector__max_side_px": 90,
            "evaluation__scales": [0.75, 1.0],
            "evaluation__flip": True,
        },
    ),
    "an average of the weights, AdamW by depth": (
        "tiny_fcos",
        {
            "optimizer": {"name": "adamw", "lr": 0.001, "layer_decay": 0.8}
            | {"ema": {"half_life": 0.5}},
        },
    ),
    "NAS-FPN": ("tiny_retinanet", {"detector__neck": "nas_fpn"}),
    "BiFPN, a frozen start": (
        "tiny_retinanet",
        {"detector__neck": "bifpn", "init__frozen": "layer1", "init__unfreeze": {"after": 0.5}},
    ),
    "batch norm": ("tiny_cascade_rcnn", {"detector__norm": "bn"}),
    "joint training": ("tiny_retinanet", {"joint__weight": 1.0, "joint__batch_size": 4}),
    "an upstream classifier": ("tiny_retinanet", {"init__source": "upstream"}),
    "direct pre-training": (
        "tiny_retinanet",
        {"init__source": "direct", "direct__passes": 2.0, "direct__batch_size": 4}
        | {"direct__warmup": 2, "direct__norm": "gn"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_recipe_can_add_is_the_cpus(tmp_path: Path, variant: str) -> None:
    name, settings = VARIANTS[variant]
    config = micro_trial(micro_recipe(name, **settings))
    config = config.model_copy(update={"asset_seed": 7})
    assert_same(config, tmp_path, (2.0,))


DETERMINISTIC = [
    ("tiny_retinanet", "nas_fpn"),
    ("tiny_fcos", "fpn"),
    ("tiny_faster_rcnn", "fpn"),
    ("tiny_keypoint_rcnn", "fpn"),
    ("tiny_cascade_mask_rcnn", "fpn"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "neck"), DETERMINISTIC)
def test_deterministic_runs_call_nothing_that_cuda_refuses_then(
    tmp_path: Path, name: str, neck: str
) -> None:
    config = micro_trial(micro_recipe(name, detector__neck=neck), deterministic=True)
    try:
        [rung], _ = climb_on_gpu(on_gpu(config), tmp_path, (2.0,))
    finally:
        torch.use_deterministic_algorithms(False)
    assert math.isfinite(rung.metrics["train/loss"])
    assert rung.gpu.startswith(NAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_retinanet", "tiny_mask_rcnn"])
def test_micro_batches_are_the_cpus(tmp_path: Path, name: str) -> None:
    config = micro_trial(micro_recipe(name, batch_size=4), images_per_step=2)
    assert_same(config, tmp_path, (2.0,))


@pytest.mark.slow
def test_a_student_and_its_teacher_are_the_cpus(tmp_path: Path) -> None:
    """A Mask R-CNN's pseudo labels are not, by a rounding of their scores (1e-9)."""
    assert_same(taught(family="tiny_fcos"), tmp_path, (2.0,))
