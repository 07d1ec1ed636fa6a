import os
import signal
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from data_files import coco, coco_spec, many_images, write_coco
from torch.utils.data import Dataset

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import (
    LoaderDied,
    Loading,
    PictureLost,
    TrainBatch,
    TrainBatches,
    WorkerShare,
    _next_of,
    build_loader,
    eval_batches,
    explain_death,
    train_batches,
)
from rethink_ray.data.order import RunOrder
from rethink_ray.data.regimes import regime_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec
from tests.golden_words import assert_says

EVERYTHING = AugmentSpec(flip=0.5, scale=(0.5, 1.5), color=0.5)
SMALL = DetectorSpec(min_side_px=48, max_side_px=64)
AUGMENTATION = Augmentation(spec=EVERYTHING, detector=SMALL)


def _take(
    data: DataSpec,
    count: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    **more: Any,
) -> list[TrainBatch]:
    index = open_split(data, "train")
    image_ids = regime_image_ids(data, "all")
    order, share = RunOrder(seed=5, batch_size=8), WorkerShare(rank=rank, world_size=world_size)
    loading = Loading(start_step=start_step, **more)
    batches = train_batches(index, image_ids, AUGMENTATION, order, loading, share)
    return list(islice(batches, count))


def _plain_batches(
    index: AnnotationIndex, image_ids: Sequence[int], augmentation: Augmentation, batch_size: int
) -> TrainBatches:
    order = RunOrder(seed=0, batch_size=batch_size)
    return train_batches(index, image_ids, augmentation, order, Loading())


def _equal(first: list[TrainBatch], second: list[TrainBatch]) -> bool:
    pairs = list(zip(first, second, strict=True))
    same_images = all(
        torch.equal(a, b) for one, two in pairs for a, b in zip(one[0], two[0], strict=True)
    )
    same_targets = all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for one, two in pairs
        for a, b in zip(one[1], two[1], strict=True)
    )
    return same_images and same_targets


def _ids(batches: list[TrainBatch]) -> list[int]:
    return [int(target["image_id"]) for _, targets in batches for target in targets]


def test_no_worker_and_two_workers_give_the_same_bits(shapes: DataSpec) -> None:
    assert _equal(_take(shapes, 8), _take(shapes, 8, num_workers=2))


def test_a_batch_is_a_function_of_its_step(shapes: DataSpec) -> None:
    from_zero = _take(shapes, 10)  # 6 steps of 8 are one epoch of 48
    assert _equal(from_zero[4:], _take(shapes, 6, start_step=4))
    assert _equal(from_zero[9:], _take(shapes, 1, start_step=9))


def test_the_global_generators_play_no_part(shapes: DataSpec) -> None:
    torch.manual_seed(1)
    first = _take(shapes, 2)
    after_first = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after_first)
    torch.manual_seed(2)
    assert _equal(first, _take(shapes, 2))


def test_every_epoch_visits_every_image_once_in_another_order(shapes: DataSpec) -> None:
    first, second = _ids(_take(shapes, 6)), _ids(_take(shapes, 6, start_step=6))
    everything = sorted(regime_image_ids(shapes, "all"))
    assert sorted(first) == sorted(second) == everything
    assert first != second


def test_the_order_of_the_ids_that_come_in_does_not_matter(shapes: DataSpec) -> None:
    index = open_split(shapes, "train")
    image_ids = index.image_ids.tolist()
    found = [
        list(islice(_plain_batches(index, ids, AUGMENTATION, 4), 2))
        for ids in (image_ids, image_ids[::-1])
    ]
    assert _equal(*found)


def test_ranks_share_a_batch_in_contiguous_parts(shapes: DataSpec) -> None:
    whole = _take(shapes, 3)
    for rank in (0, 1):
        share = [
            (images[4 * rank : 4 * rank + 4], targets[4 * rank : 4 * rank + 4])
            for images, targets in whole
        ]
        assert _equal(share, _take(shapes, 3, rank=rank, world_size=2))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_masks_and_keypoints_follow_their_boxes(shapes: DataSpec, num_workers: int) -> None:
    index, image_ids = open_split(shapes, "train"), regime_image_ids(shapes, 16)
    for family in ("mask_rcnn", "keypoint_rcnn"):
        learns = SMALL.model_copy(update={"family": family})
        batches = train_batches(
            index,
            image_ids,
            Augmentation(spec=AugmentSpec(), detector=learns),
            RunOrder(seed=5, batch_size=16),
            Loading(num_workers=num_workers),
        )
        for image, target in zip(*next(batches), strict=True):
            if family == "mask_rcnn":  # a shape's box is what is visible of it, to the pixel
                masks = target["masks"]
                assert masks.shape == (len(target["boxes"]), *image.shape[1:])
                for mask, box in zip(masks, target["boxes"], strict=True):
                    ys, xs = torch.nonzero(mask, as_tuple=True)
                    ends = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                    assert box.tolist() == [float(end) for end in ends]
                assert torch.equal(masks.flatten(1).sum(1).float(), target["area"])
                assert "keypoints" not in target
                continue
            assert "masks" not in target
            center, _, right, _, left = target["keypoints"].unbind(1)
            seen = (right[:, 2] > 0) & (left[:, 2] > 0)
            assert bool((right[seen, 0] > left[seen, 0]).all())
            assert bool((center[center[:, 2] > 0, 0] <= image.shape[2]).all())


RESIZED = (
    EVERYTHING,
    AugmentSpec(flip=0.5),
    AugmentSpec(short_side_px=(20, 60)),
    AugmentSpec(scale=(0.5, 2.0), canvas="square"),
)


@pytest.mark.parametrize("spec", RESIZED)
def test_workers_know_the_sizes_of_each_others_images_from_the_index(
    tmp_path: Path, spec: AugmentSpec
) -> None:
    write_coco(tmp_path, "train", coco({**many_images(9), 10: []}))
    index = open_split(coco_spec(tmp_path), "train")
    augmentation, order = Augmentation(spec=spec, detector=SMALL), RunOrder(seed=5, batch_size=6)
    shares = [
        list(
            islice(
                train_batches(
                    index,
                    index.image_ids.tolist(),
                    augmentation,
                    order,
                    Loading(num_peers=2),
                    WorkerShare(rank=rank, world_size=2),
                ),
                4,
            )
        )
        for rank in (0, 1)
    ]
    for (images, targets), (others, targets_there) in zip(*shares, strict=True):
        for pair in zip(images, targets, others, targets_there, strict=True):
            image, target, other, target_there = pair
            sizes = [[*image.shape[-2:]], [*other.shape[-2:]]]
            assert target["peer_hw"].tolist() == target_there["peer_hw"].tolist() == sizes


def test_a_batch_that_does_not_divide_is_refused(shapes: DataSpec) -> None:
    with pytest.raises(DataError, match=r"batch_size: must be divisible .*\(3\), but got 8"):
        _take(shapes, 1, world_size=3)


def test_settings_share_their_luck(shapes: DataSpec) -> None:
    index, image_ids = open_split(shapes, "train"), regime_image_ids(shapes, 8)
    plain, colored = (
        next(_plain_batches(index, image_ids, Augmentation(spec=spec, detector=SMALL), 8))
        for spec in (AugmentSpec(flip=0.5), AugmentSpec(flip=0.5, color=0.3))
    )
    boxes = [(a["boxes"], b["boxes"]) for a, b in zip(plain[1], colored[1], strict=True)]
    assert all(torch.equal(a, b) for a, b in boxes)


def test_targets_have_the_types_detectors_want(shapes: DataSpec) -> None:
    images, targets = _take(shapes, 1)[0]
    assert all(image.dtype == torch.float32 and image.shape[0] == 3 for image in images)
    assert all(float(image.min()) >= 0 and float(image.max()) <= 1 for image in images)
    kinds = {key: value.dtype for key, value in targets[0].items()}
    assert kinds == {
        "boxes": torch.float32,
        "labels": torch.int64,
        "image_id": torch.int64,
        "area": torch.float32,
        "iscrowd": torch.int64,
    }


def _scored(index: AnnotationIndex, image_ids: list[int], **more: Any) -> list[int]:
    return [
        entry.image_id
        for _, entries in eval_batches(index, image_ids, 4, **more)
        for entry in entries
    ]


def test_evaluation_sees_every_image_once_with_any_workers_and_ranks(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({**many_images(9), 10: []}))
    index = open_split(coco_spec(tmp_path), "train")
    image_ids = index.image_ids.tolist()
    assert _scored(index, image_ids) == image_ids
    assert _scored(index, image_ids, loading=Loading(num_workers=2)) == image_ids
    for world_size in (2, 3, 4, 16):
        ranks = [
            _scored(index, image_ids, share=WorkerShare(rank=r, world_size=world_size))
            for r in range(world_size)
        ]
        assert sorted(image_id for share in ranks for image_id in share) == image_ids


def test_all_ranks_take_the_same_number_of_scoring_steps(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(9)))
    index = open_split(coco_spec(tmp_path), "train")
    steps = [
        [[entry.image_id for entry in entries] for _, entries in batches]
        for batches in (
            eval_batches(
                index, index.image_ids.tolist(), 4, share=WorkerShare(rank=rank, world_size=2)
            )
            for rank in (0, 1)
        )
    ]
    assert steps == [[[1, 2], [5, 6], [9]], [[3, 4], [7, 8], []]]


def test_a_picture_to_be_scored_that_is_gone_stops_the_scoring(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    index = open_split(coco_spec(tmp_path), "train")
    (tmp_path / "train" / "2.png").unlink()
    with pytest.raises(PictureLost, match=r"2\.png: .*20x10") as refused:
        list(eval_batches(index, [1, 2], 2))
    message = str(refused.value).replace(str(tmp_path), "FOLDER")
    assert_says("data", "scored picture that is gone", message)


class _Dying(Dataset[int]):
    """Its worker is killed as the system would do it, when the third sample is asked for."""

    def __getitem__(self, position: int) -> int:
        if position == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return position


def test_a_killed_loader_worker_is_an_error_and_no_hang() -> None:
    samples = iter(build_loader(_Dying(), [[0], [1], [2], [3]], Loading(num_workers=1)))
    with pytest.raises((LoaderDied, RuntimeError)) as caught:
        [_next_of(samples) for _ in range(4)]
    error = caught.value if isinstance(caught.value, LoaderDied) else explain_death(caught.value)
    assert "lower resources.loader_workers" in str(error)


def test_evaluation_keeps_empty_images_and_changes_no_pixel(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [], 2: [("cat", 15, 2, 9, 5)]}))
    index = open_split(coco_spec(tmp_path), "train")
    images, entries = next(eval_batches(index, [1, 2], 2))
    assert entries[0].boxes_xyxy.shape == (0, 4)
    assert entries[1].boxes_xyxy.tolist() == [[15, 2, 24, 7]]  # as annotated
    assert images[0].shape == (3, 10, 20)
    assert (images[0] * 255).round()[0, 0].tolist() == [200] * 5 + [1] * 15


def test_a_file_that_breaks_during_a_run_becomes_gray_and_is_counted(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    index = open_split(coco_spec(tmp_path), "train")
    (tmp_path / "train" / "1.png").write_bytes(b"gone")
    augmentation = Augmentation(spec=AugmentSpec(), detector=SMALL)
    batches = _plain_batches(index, [1, 2], augmentation, 2)
    images, targets = next(batches)
    broken = next(k for k, target in enumerate(targets) if int(target["image_id"]) == 1)
    assert images[broken].unique().tolist() == [pytest.approx(128 / 255)]
    assert len(targets[broken]["boxes"]) == 0
    next(batches)
    assert batches.broken == {1}


def test_training_on_no_image_is_refused(shapes: DataSpec) -> None:
    with pytest.raises(DataError, match="at least one image"):
        _plain_batches(open_split(shapes, "train"), [], AUGMENTATION, 2)
