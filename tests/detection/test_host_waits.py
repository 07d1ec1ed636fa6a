"""How often an update waits for a GPU, counted on a CPU for every family."""

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import Family, InitSpec
from tests.detection.host_waits import HostWaits
from tests.detection.tiny_detectors import annotated, pictures, tiny

IMAGES = 4
AT_MOST: dict[Family, int] = {
    "retinanet": 0,
    "fcos": 0,
    "faster_rcnn": 3 + IMAGES,
    "mask_rcnn": 5 + IMAGES,
    "keypoint_rcnn": 5 + IMAGES,
    "cascade_rcnn": 9 + IMAGES,
    "cascade_mask_rcnn": 11 + IMAGES,
}
"""Suppression of duplicates waits once an image; kept proposals, drawn proposals and each pooling
of regions wait once a batch."""


def batch(num_objects: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [20.0, 10.0, 60.0, 50.0]])[:num_objects]
    labels = [1, 3][:num_objects]
    return pictures(IMAGES), [annotated(boxes, labels, image_id) for image_id in range(IMAGES)]


@pytest.mark.parametrize("family", AT_MOST)
def test_an_update_waits_no_more_often_than_it_has_to(family: Family) -> None:
    detector = build_detector(tiny(family), InitSpec(), 3, seed=0)
    for num_objects in (2, 0):
        images, targets = batch(num_objects)
        with HostWaits(on_host=[target["image_id"] for target in targets]) as waits:
            losses = detector.losses(images, targets, seed=0, step=0)
            torch.stack(list(losses.values())).sum().backward()
        assert waits.total <= AT_MOST[family], waits.by_name


def test_the_counter_sees_each_kind_of_wait_and_no_other() -> None:
    values = torch.arange(6.0)
    mask = values > 2
    with HostWaits() as waits:
        float(values.sum())
        values.tolist()
        bool(mask.any())
        torch.where(mask)
        values[mask]
        values[mask] = values[mask] * 2
        torch.tensor(1.0, device=values.device)
    assert waits.by_kind == {"value": 3, "size": 1, "mask": 3, "constant": 1}

    with HostWaits(on_host=[values]) as none:
        values.tolist()
        values[mask] = 0.0
        torch.where(mask, values, 0.0)
        values[torch.tensor([0, 1])].sum()
        torch.nonzero_static(mask, size=3)
    assert none.total == 0
