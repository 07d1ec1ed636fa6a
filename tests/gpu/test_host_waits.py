"""How often one update waits for a GPU, for every family, with and without objects."""

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import Family, InitSpec
from rethink_ray.training.moving import move_images, move_targets
from tests.detection.tiny_detectors import annotated, pictures, tiny
from tests.gpu.cuda_tensors import GPU
from tests.gpu.pretended_gpu import pretend_gpu

IMAGES = 4
CEILINGS: dict[Family, int] = {
    "retinanet": 0,
    "fcos": 0,
    "faster_rcnn": 3 + IMAGES,
    "mask_rcnn": 5 + IMAGES,
    "keypoint_rcnn": 5 + IMAGES,
    "cascade_rcnn": 9 + IMAGES,
    "cascade_mask_rcnn": 11 + IMAGES,
}
"""They may only fall. Suppression of duplicates waits once an image; kept proposals, drawn
proposals and each pooling of regions wait once a batch."""


def batch(num_objects: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [20.0, 10.0, 60.0, 50.0]])[:num_objects]
    labels = [1, 3][:num_objects]
    return pictures(IMAGES), [annotated(boxes, labels, image_id) for image_id in range(IMAGES)]


@pytest.mark.parametrize("family", CEILINGS)
def test_an_update_waits_no_more_often_than_it_has_to(family: Family) -> None:
    detector = build_detector(tiny(family), InitSpec(), 3, seed=0)
    with pretend_gpu() as waits:
        detector.to(GPU)
        counts = []
        for num_objects in (2, 0):
            images, targets = batch(num_objects)
            waits.forget()
            on_gpu = [
                {k: v if k == "image_id" else v.pin_memory() for k, v in t.items()} for t in targets
            ]
            on_gpu = move_targets(on_gpu, GPU)
            images = move_images([image.pin_memory() for image in images], GPU)
            assert not waits.all, waits.by_line()
            if num_objects:  # the first update builds tables of constants
                detector.losses(images, on_gpu, seed=0, step=0)
            waits.forget()
            losses = detector.losses(images, on_gpu, seed=0, step=1)
            torch.stack(list(losses.values())).sum().backward()
            counts.append(len(waits.all))
            assert counts[-1] <= CEILINGS[family], waits.by_line()
        assert max(counts) == CEILINGS[family], "a lower number replaces the ceiling"
