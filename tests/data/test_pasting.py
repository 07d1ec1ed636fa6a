from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import coco, coco_spec, many_images, write_coco
from scenes import box_of, scene

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.loader import Loading, train_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.pasting import cover_objects, draw_partner, paste
from rethink_ray.data.regimes import regime_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec

PASTES = AugmentSpec(flip=0.5, scale=(0.5, 1.5), copy_paste=1.0)
SMALL = DetectorSpec(min_side_px=48, max_side_px=64)


def test_what_is_pasted_lies_on_top_and_the_boxes_below_shrink() -> None:
    image, objects = scene([(4, 4, 14, 14)])
    source, others = scene([(10, 0, 20, 20)], value=0.5)
    laid, found = paste(image, objects, source, others, np.random.default_rng(0))
    assert found.boxes_xyxy.tolist() == [[4, 4, 10, 14], [10, 0, 20, 20]]
    assert found.area.tolist() == [60, 200]
    assert found.labels.tolist() == [1, 1]
    assert found.masks is not None
    assert [box_of(mask) for mask in found.masks] == found.boxes_xyxy.astype(int).tolist()
    assert laid[0, 10].tolist() == [0.0] * 4 + [1.0] * 6 + [0.5] * 10 + [0.0] * 20


def test_an_object_that_is_nearly_hidden_is_gone() -> None:
    _, objects = scene([(0, 0, 10, 10), (20, 0, 30, 10)])
    cover = np.zeros((20, 40), np.bool_)
    cover[:, 1:28] = True  # a tenth of the first, a fifth of the second stay
    seen = cover_objects(objects, cover)
    assert seen.labels.tolist() == [2]
    assert seen.boxes_xyxy.tolist() == [[28, 0, 30, 10]]
    assert seen.keypoints is not None
    assert seen.keypoints.tolist() == [[[25, 5, 1]]]  # annotated still, seen no more


def test_what_nothing_covers_keeps_its_own_box() -> None:
    _, objects = scene([(0, 0, 10, 10)])
    loose = np.array([[0, 0, 12.5, 10]], np.float32)
    kept = cover_objects(replace(objects, boxes_xyxy=loose), np.zeros((20, 40), np.bool_))
    assert kept.boxes_xyxy.tolist() == loose.tolist()


def test_a_partner_is_a_function_of_seed_epoch_and_image() -> None:
    ids = list(range(100))
    assert draw_partner(ids, 1.0, 1, 2, 3) == draw_partner(ids, 1.0, 1, 2, 3)
    assert len({draw_partner(ids, 1.0, 1, epoch, 3) for epoch in range(20)}) > 10
    assert draw_partner(ids, 0.0, 1, 2, 3) is None
    some = [draw_partner(ids, 0.5, 1, epoch, 3) for epoch in range(200)]
    assert 70 < sum(found is None for found in some) < 130


@pytest.mark.parametrize("family", ["retinanet", "mask_rcnn"])
def test_pasted_batches_depend_on_the_step_alone(shapes: DataSpec, family: str) -> None:
    learns = SMALL.model_copy(update={"family": family})
    index, image_ids = open_split(shapes, "train"), regime_image_ids(shapes, 24)
    first, again, later = (
        list(
            islice(
                train_batches(
                    index,
                    image_ids,
                    Augmentation(spec=PASTES, detector=learns),
                    RunOrder(seed=5, batch_size=8),
                    Loading(start_step=start, num_workers=workers),
                ),
                4 - start,
            )
        )
        for start, workers in ((0, 0), (0, 1), (2, 0))
    )
    for one, two in [*zip(first, again, strict=True), *zip(first[2:], later, strict=True)]:
        assert all(torch.equal(a, b) for a, b in zip(one[0], two[0], strict=True))
        for a, b in zip(one[1], two[1], strict=True):
            assert a.keys() == b.keys()
            assert ("masks" in a) == (family == "mask_rcnn")
            assert all(torch.equal(a[key], b[key]) for key in a)


def test_pasting_adds_objects(shapes: DataSpec) -> None:
    index, image_ids = open_split(shapes, "train"), regime_image_ids(shapes, "all")

    def count(spec: AugmentSpec) -> int:
        augmentation = Augmentation(spec=spec, detector=SMALL)
        order = RunOrder(seed=5, batch_size=48)
        batch = next(train_batches(index, image_ids, augmentation, order, Loading()))
        return sum(len(target["labels"]) for target in batch[1])

    assert count(AugmentSpec(copy_paste=1.0)) > 1.2 * count(AugmentSpec())


def test_boxes_without_masks_cannot_be_pasted(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    index = open_split(coco_spec(tmp_path), "train")
    augmentation, order = Augmentation(spec=PASTES, detector=SMALL), RunOrder(seed=0, batch_size=2)
    with pytest.raises(DataError, match=r"must come with masks.*boxes alone.*copy_paste: 0"):
        train_batches(index, [1, 2], augmentation, order, Loading())
