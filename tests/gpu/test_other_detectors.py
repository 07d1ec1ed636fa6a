"""Detectors of other code on a pretended GPU: one of one's own, SSDs, RT-DETRv2."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.training.moving import move_images, move_targets
from tests.detection.own_example import EXAMPLE, importable
from tests.detection.tiny_detectors import pictures, targets
from tests.gpu.cuda_tensors import GPU
from tests.gpu.pretended_gpu import pretend_gpu
from tests.gpu.test_ladders import assert_same
from tests.training.test_own_runs import recipe_of, trial

pytestmark = pytest.mark.slow
IMAGES = 2
SIDE_AND_CEILING = {
    EXAMPLE: (64, IMAGES),
    "torchvision:ssdlite320_mobilenet_v3_large": (320, 12 * IMAGES),
}
"""Side of the input in pixels, and waits for the GPU in an update of two images, which may only
fall. All of them are in code that is not ours."""
SLOW = {"torchvision:ssd300_vgg16": 300, "transformers:rtdetr_v2_r18vd": 128}
"""Too slow for a whole run in a test; side of the input in pixels."""


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Iterator[None]:
    with importable(tmp_path):
        yield


@pytest.mark.parametrize("family", SIDE_AND_CEILING)
def test_a_run_of_a_detector_of_other_code_is_the_cpus(tmp_path: Path, family: str) -> None:
    side_px, ceiling = SIDE_AND_CEILING[family]
    config = trial(family, detector__min_side_px=side_px, detector__max_side_px=side_px)
    waits = assert_same(config, tmp_path, (2.0,))
    assert waits.total() == ceiling, f"a lower number replaces the ceiling: {waits}"


@pytest.mark.parametrize("family", SLOW)
def test_a_large_detector_of_other_code_learns_and_detects_on_a_gpu(family: str) -> None:
    if family.startswith("transformers:"):
        pytest.importorskip("transformers")
    side_px = SLOW[family]
    recipe = recipe_of(family, detector__min_side_px=side_px, detector__max_side_px=side_px)
    detector = build_detector(recipe.detector, InitSpec(), 3, seed=0)
    images, annotated = pictures(), targets()
    with torch.no_grad():
        expected = detector.losses(images, annotated, seed=0, step=0)
    with pretend_gpu():
        detector.to(GPU)
        on_gpu = move_images(images, GPU), move_targets(annotated, GPU)
        losses = detector.losses(*on_gpu, seed=0, step=0)
        torch.stack(list(losses.values())).sum().backward()
        assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)
        assert {name: float(loss.detach()) for name, loss in losses.items()} == pytest.approx(
            {name: float(loss) for name, loss in expected.items()}, rel=1e-6
        )
        assert len(detector.detect(on_gpu[0])) == 2
