import numpy as np

from rethink_ray.data.objects import Objects, keypoint_swap, pack
from rethink_ray.data.shapes import KEYPOINTS
from rethink_ray.data.sources.coco import PERSON_KEYPOINTS


def test_packing_gives_every_mask_back() -> None:
    masks = (np.arange(2 * 3 * 5).reshape(2, 3, 5) % 3 == 0).astype(np.uint8)
    objects = Objects(
        boxes_xyxy=np.zeros((2, 4), np.float32),
        labels=np.array([1, 2], np.int64),
        area=np.ones(2, np.float32),
        masks=masks,
    )
    bare, packed = pack(objects)
    assert bare.masks is None
    assert packed is not None
    assert packed.bits.nbytes == 4  # 30 bits
    assert np.array_equal(packed.unpack(), masks)


def test_no_object_packs_to_no_mask() -> None:
    empty = Objects(
        boxes_xyxy=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        area=np.zeros(0, np.float32),
        masks=np.zeros((0, 7, 9), np.uint8),
    )
    packed = pack(empty)[1]
    assert packed is not None
    assert packed.unpack().shape == (0, 7, 9)


def test_a_mirror_exchanges_what_is_named_left_and_right() -> None:
    assert [KEYPOINTS[k] for k in keypoint_swap(KEYPOINTS)] == [
        "center",
        "top",
        "left",
        "bottom",
        "right",
    ]
    # COCO's nose stays; 1 and 2, 3 and 4, ... are pairs
    pairs = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert keypoint_swap(PERSON_KEYPOINTS).tolist() == pairs
    assert keypoint_swap(("0", "1")).tolist() == [0, 1]
    assert keypoint_swap(("left", "", "", "right")).tolist() == [0, 1, 2, 3]  # told by nothing
