"""Batches on their way to a GPU: pinned, packed, and without a wait; there they are the CPU's."""

from itertools import islice
from typing import Any

import pytest
import torch

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.loader import Loading, TrainBatch, WorkerShare, eval_batches, train_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.samples import unpack_masks
from rethink_ray.data.splits import open_split
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec, Family
from rethink_ray.training.moving import DEVICE_KEYS, move_classified, move_images, move_targets
from tests.builders import MICRO_DATA
from tests.gpu.cuda_tensors import GPU
from tests.gpu.pretended_gpu import pretend_gpu

MIRRORED, RESIZED = AugmentSpec(flip=0.5), AugmentSpec(flip=0.5, scale=(0.5, 1.5), color=0.5)


def load(family: Family, spec: AugmentSpec, **loading: Any) -> list[TrainBatch]:
    detector = DetectorSpec(family=family, min_side_px=48, max_side_px=64)
    index = open_split(MICRO_DATA, "train")
    batches = train_batches(
        index,
        index.image_ids.tolist(),
        Augmentation(spec=spec, detector=detector),
        RunOrder(seed=5, batch_size=3),
        Loading(**loading),
        WorkerShare(),
    )
    return list(islice(batches, 3))


@pytest.mark.parametrize(("spec", "dtype"), [(MIRRORED, torch.uint8), (RESIZED, torch.float32)])
@pytest.mark.parametrize("family", ["mask_rcnn", "keypoint_rcnn"])
def test_a_batch_on_a_gpu_is_the_cpus_and_nothing_waits_for_it(
    family: Family, spec: AugmentSpec, dtype: torch.dtype
) -> None:
    expected = load(family, spec)
    with pretend_gpu() as waits:
        for (images, targets), (cpu_images, cpu_targets) in zip(
            load(family, spec, pinned=True), expected, strict=True
        ):
            assert {image.dtype for image in images} == {dtype}
            waits.forget()
            moved, moved_targets = move_images(images, GPU), move_targets(targets, GPU)
            assert not waits.all, waits.by_line()
            for image, cpu_image in zip(moved, cpu_images, strict=True):
                assert torch.equal(image.cpu(), cpu_image)
            for target, cpu_target in zip(moved_targets, cpu_targets, strict=True):
                assert target["image_id"] == cpu_target["image_id"]
                keys = [key for key in DEVICE_KEYS if key in cpu_target]
                assert ("masks" in keys) == (family == "mask_rcnn")
                for key in keys:
                    assert target[key].device == GPU
                    assert torch.equal(target[key].cpu(), cpu_target[key])


def test_pictures_to_be_scored_are_pinned_bytes() -> None:
    index = open_split(MICRO_DATA, "val")
    image_ids = index.image_ids.tolist()
    expected = [image for images, _ in eval_batches(index, image_ids, 2) for image in images]
    with pretend_gpu() as waits:
        batches = list(eval_batches(index, image_ids, 2, Loading(pinned=True)))
        assert {image.dtype for images, _ in batches for image in images} == {torch.uint8}
        moved = [image for images, _ in batches for image in move_images(images, GPU)]
        assert not waits.all, waits.by_line()
        assert all(torch.equal(a.cpu(), b) for a, b in zip(moved, expected, strict=True))


def test_upstream_images_do_not_wait_either() -> None:
    with pretend_gpu() as waits:
        images, labels = move_classified((torch.ones(2, 3, 4, 4), torch.tensor([1, 0])), GPU)
        assert not waits.all, waits.by_line()
        assert (images.device, labels.tolist()) == (GPU, [1, 0])


def test_masks_of_any_number_of_pixels_are_unpacked() -> None:
    bits = torch.tensor([0b10110000, 0b01000000], dtype=torch.uint8)
    assert unpack_masks(bits, (1, 2, 5)).tolist() == [[[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]]
    assert unpack_masks(bits[:0], (0, 4, 4)).shape == (0, 4, 4)
