import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from rethink_ray.data.masks import (
    decode_run_lengths,
    decode_segmentation,
    encode_run_lengths,
    encode_segmentation,
    fill_box,
)

# pycocotools 2.0 returns arrays the way numpy 1 wanted them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _decode(segmentation: object, height: int, width: int) -> NDArray[np.bool_]:
    """What pycocotools makes of it."""
    rles = coco_mask.frPyObjects(segmentation, height, width)
    rle = coco_mask.merge(rles) if isinstance(rles, list) else rles
    return coco_mask.decode(rle).astype(bool)


def test_a_rectangle_is_four_corners() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    assert encode_segmentation(mask) == [[2, 1, 5, 1, 5, 3, 2, 3]]


def test_a_hole_needs_run_lengths() -> None:
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert encode_segmentation(mask) == {"size": [3, 3], "counts": [0, 4, 1, 4]}


def test_two_pieces_need_run_lengths() -> None:
    mask = np.zeros((2, 3), bool)
    mask[:, 0] = mask[:, 2] = True
    assert encode_segmentation(mask) == {"size": [2, 3], "counts": [0, 2, 2, 2]}


@pytest.mark.parametrize("seed", range(30))
def test_pycocotools_reads_both_notations_as_the_same_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :31]
    mask = np.hypot(y - rng.uniform(0, 24), x - rng.uniform(0, 31)) < rng.uniform(2, 12)
    mask |= (abs(y - rng.uniform(0, 24)) < 3) & (abs(x - rng.uniform(0, 31)) < 6)
    assert np.array_equal(_decode(encode_segmentation(mask), 24, 31), mask)
    assert np.array_equal(_decode(encode_run_lengths(mask), 24, 31), mask)
    assert np.array_equal(decode_run_lengths(encode_run_lengths(mask)), mask)
    for told in (encode_segmentation(mask), encode_run_lengths(mask)):
        found = decode_segmentation(told, 24, 31)
        assert found is not None
        assert np.array_equal(found, mask)


def test_pieces_of_one_object_are_joined() -> None:
    two = [[0, 0, 1, 0, 1, 2, 0, 2], [3, 0, 4, 0, 4, 1, 3, 1]]
    found = decode_segmentation(two, 2, 5)
    assert found is not None
    assert found.tolist() == [[1, 0, 0, 1, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        [[1, 1, 3, 3]],  # four numbers, a box to pycocotools
        [[1, 1, "x", 2, 3, 3]],
        {"size": [9, 9], "counts": [0, 81]},  # of another picture
        {"size": [4, 4], "counts": [0, 99]},
        {"size": [4, 4], "counts": [16]},  # covers nothing
    ],
)
def test_what_covers_nothing_is_no_mask(told: object) -> None:
    assert decode_segmentation(told, 4, 4) is None


def test_a_box_is_filled_where_it_holds_the_centre_of_a_pixel() -> None:
    mask = fill_box(np.array([0.6, 1.0, 2.5, 2.4], np.float32), 3, 4)
    assert mask.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
