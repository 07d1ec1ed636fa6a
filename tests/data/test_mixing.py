from collections.abc import Sequence
from itertools import islice

import pytest
import torch

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.loader import Loading, TrainBatch, train_batches
from rethink_ray.data.mixing import MixedBatches, Parts, mixed_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec

EVERYTHING = AugmentSpec(flip=0.5, scale=(0.5, 1.5), color=0.5)
SMALL = DetectorSpec(min_side_px=48, max_side_px=64)
AUGMENTATION = Augmentation(spec=EVERYTHING, detector=SMALL)


def batches(data: DataSpec, parts: Parts, **loading: int) -> MixedBatches:
    """A run of seed 5: the first 40 images are human-labelled, 8 stand for the pool."""
    index = open_split(data, "train")
    image_ids = [int(i) for i in index.image_ids]
    human, pseudo = (index, image_ids[:40]), (index, image_ids[40:])
    return mixed_batches(human, pseudo, AUGMENTATION, parts, 5, Loading(**loading))


def told(found: Sequence[TrainBatch]) -> list[tuple[int, bool, float]]:
    return [
        (int(target["image_id"]), bool(target["is_pseudo"]), float(image.double().sum()))
        for images, targets in found
        for image, target in zip(images, targets, strict=True)
    ]


def test_half_of_each_batch_is_pseudo_labelled(shapes: DataSpec) -> None:
    parts = Parts.of(batch_size=8, share=0.5, rank=0, world_size=1)
    found = told(list(islice(batches(shapes, parts), 5)))
    assert [is_pseudo for _, is_pseudo, _ in found] == ([False] * 4 + [True] * 4) * 5
    pool = [image_id for image_id, is_pseudo, _ in found if is_pseudo]
    assert sorted(pool[:8]) == sorted(pool[8:16])  # 8 images are two steps
    assert len({image_id for image_id, is_pseudo, _ in found if not is_pseudo}) == 20


def test_a_mixed_batch_is_a_function_of_its_step_whatever_the_loader(shapes: DataSpec) -> None:
    parts = Parts.of(batch_size=8, share=0.25, rank=0, world_size=1)
    from_zero = told(list(islice(batches(shapes, parts), 12)))
    assert told(list(islice(batches(shapes, parts, start_step=7), 5))) == from_zero[7 * 8 :]
    assert told(list(islice(batches(shapes, parts, num_workers=2), 12))) == from_zero


def test_two_ranks_share_both_kinds_evenly(shapes: DataSpec) -> None:
    alone = told(list(islice(batches(shapes, Parts.of(8, 0.5, 0, 1)), 6)))
    ranks = [told(list(islice(batches(shapes, Parts.of(8, 0.5, r, 2)), 6))) for r in range(2)]
    for step in range(6):
        first, second = (rank[4 * step : 4 * step + 4] for rank in ranks)
        whole = alone[8 * step : 8 * step + 8]
        assert first[:2] + second[:2] == whole[:4]
        assert first[2:] + second[2:] == whole[4:]


def test_the_human_part_is_that_of_a_run_without_a_pool(shapes: DataSpec) -> None:
    index = open_split(shapes, "train")
    image_ids = [int(i) for i in index.image_ids][:40]
    order = RunOrder(seed=5, batch_size=4)
    plain = train_batches(index, image_ids, AUGMENTATION, order, Loading())
    mixed = batches(shapes, Parts.of(8, 0.5, 0, 1))
    for _ in range(12):  # beyond the first epoch
        (images, targets), (others, beside) = next(plain), next(mixed)
        for a, b in zip(images, others[:4], strict=True):
            assert torch.equal(a, b)
        assert [t["image_id"] for t in targets] == [t["image_id"] for t in beside[:4]]


def test_parts_that_workers_cannot_share_are_refused() -> None:
    with pytest.raises(DataError, match="number of workers"):
        Parts.of(batch_size=8, share=0.25, rank=0, world_size=4)
