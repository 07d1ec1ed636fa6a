from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rethink_ray.data.augment import AugmentDraws, augment, flip, jitter_color
from rethink_ray.data.objects import Objects, keypoint_swap
from rethink_ray.data.placing import plan_size, resize_onto
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

SAME_SIZE = DetectorSpec(min_side_px=20, max_side_px=40)


def _luck(**chosen: float) -> AugmentDraws:
    names = ("flip", "scale", "left", "top", "brightness", "contrast", "saturation")
    return AugmentDraws(**(dict.fromkeys(names, 0.5) | chosen))


def _picture(x0: int = 4, y0: int = 6, x1: int = 12, y1: int = 16) -> tuple[Tensor, Objects]:
    """A white rectangle on black, 40 wide and 20 high, and its box."""
    image = torch.zeros(3, 20, 40)
    image[:, y0:y1, x0:x1] = 1.0
    boxes = Objects(
        boxes_xyxy=np.array([[x0, y0, x1, y1]], np.float32),
        labels=np.array([3], np.int64),
        area=np.array([(x1 - x0) * (y1 - y0)], np.float32),
    )
    return image, boxes


def _learned(x0: int = 4, y0: int = 6, x1: int = 12, y1: int = 16) -> tuple[Tensor, Objects]:
    """The same with its mask, and keypoints in its middle and at its left and right edge."""
    image, objects = _picture(x0, y0, x1, y1)
    points = [[(x0 + x1) / 2, 11, 2], [x0 + 1, 11, 1], [x1 - 1, 11, 2], [0, 0, 0]]
    whole = replace(
        objects,
        masks=(image[:1].numpy() > 0.5).astype(np.uint8),
        keypoints=np.array([points], np.float32),
    )
    return image, whole


def _box_of_mask(objects: Objects) -> list[int]:
    assert objects.masks is not None
    ys, xs = np.nonzero(objects.masks[0])
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def _box_of_white(image: Tensor) -> list[int]:
    ys, xs = torch.nonzero(image[0] > 0.6, as_tuple=True)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def jitter_scale(
    image: Tensor, objects: Objects, factor: float, detector: DetectorSpec, draws: AugmentDraws
) -> tuple[Tensor, Objects]:
    """At this factor of the detector's input size."""
    hw = (image.shape[-2], image.shape[-1])
    at_random = AugmentSpec(scale=(factor, 2 * factor))
    size = plan_size(hw, at_random, detector, 0.0)
    assert size is not None
    return resize_onto(image, objects, *size, (draws.top, draws.left))


def test_a_flip_moves_the_box_with_the_pixels() -> None:
    image, boxes = flip(*_picture())
    assert boxes.boxes_xyxy.tolist() == [[28, 6, 36, 16]]
    assert _box_of_white(image) == [28, 6, 36, 16]


def test_a_flip_moves_masks_and_exchanges_left_and_right_keypoints() -> None:
    swap = keypoint_swap(("middle", "left_edge", "right_edge", "tail"))
    image, objects = flip(*_learned(), swap)
    assert _box_of_mask(objects) == _box_of_white(image) == [28, 6, 36, 16]
    assert objects.keypoints is not None  # what was right at 11 is left at 40 - 11
    assert objects.keypoints.tolist() == [[[32, 11, 2], [29, 11, 2], [35, 11, 1], [0, 0, 0]]]


def test_scale_jitter_moves_masks_and_keypoints_and_drops_what_left_the_canvas() -> None:
    image, objects = jitter_scale(*_learned(), 2.0, SAME_SIZE, _luck(left=0.0, top=0.0))
    assert _box_of_mask(objects) == _box_of_white(image) == [8, 12, 24, 20]
    assert objects.masks is not None
    assert objects.masks.shape == (1, 20, 40)
    assert objects.keypoints is not None
    assert objects.keypoints.tolist() == [[[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]]  # y = 22
    _, shrunk = jitter_scale(*_learned(), 0.5, SAME_SIZE, _luck(left=0.0, top=0.0))
    assert shrunk.keypoints is not None
    assert shrunk.keypoints[0, :2].tolist() == [[4, 5.5, 2], [2.5, 5.5, 1]]


@pytest.mark.parametrize(("left", "top"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scale_jitter_moves_the_box_with_the_pixels(factor: float, left: float, top: float) -> None:
    image, boxes = jitter_scale(*_picture(), factor, SAME_SIZE, _luck(left=left, top=top))
    assert image.shape == (3, 20, 40)
    if len(boxes.labels):
        assert boxes.boxes_xyxy.tolist() == [_box_of_white(image)]


def test_scale_jitter_counts_from_the_input_size_of_the_detector() -> None:
    small = DetectorSpec(min_side_px=10, max_side_px=40)
    image, boxes = jitter_scale(*_picture(), 1.0, small, _luck())
    assert image.shape == (3, 10, 20)
    assert boxes.boxes_xyxy.tolist() == [[2, 3, 6, 8]]
    assert boxes.area.tolist() == [20]  # 80 at half the scale


def test_a_crop_may_empty_an_image() -> None:
    picture = _picture(0, 0, 4, 4)
    image, boxes = jitter_scale(*picture, 2.0, SAME_SIZE, _luck(left=1.0, top=1.0))
    assert boxes.boxes_xyxy.shape == (0, 4)
    assert image.max() < 0.5


def test_a_cut_box_keeps_the_visible_part_of_its_area() -> None:
    _, boxes = jitter_scale(*_picture(16, 0, 24, 10), 2.0, SAME_SIZE, _luck(left=0.0, top=0.0))
    assert boxes.boxes_xyxy.tolist() == [[32, 0, 40, 20]]  # 32..48 cut at 40
    assert boxes.area.tolist() == [160]


def test_color_at_half_luck_changes_nothing_and_moves_no_box() -> None:
    image, _ = _picture()
    assert torch.allclose(jitter_color(image, 0.8, _luck()), image, atol=1e-6)
    brighter = jitter_color(image * 0.5, 0.4, _luck(brightness=1.0))
    assert float(brighter.max()) == pytest.approx(0.7)


def test_no_augmentation_is_the_identity() -> None:
    image, boxes = _picture()
    spec = AugmentSpec(flip=0.0)
    found, same = augment(image, boxes, spec, SAME_SIZE, _luck(flip=0.0))
    assert torch.equal(found, image)
    assert same is boxes


def test_luck_is_a_function_of_seed_epoch_and_image() -> None:
    assert AugmentDraws.draw(1, 2, 3) == AugmentDraws.draw(1, 2, 3)
    assert (
        len({AugmentDraws.draw(*key) for key in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (12, 3, 0)]}) == 4
    )


@pytest.mark.parametrize(("number", "hw"), [(0.0, (10, 20)), (0.5, (15, 30)), (1.0, (16, 32))])
def test_the_short_side_is_drawn_in_pixels_under_the_long_ones_limit(
    number: float, hw: tuple[int, int]
) -> None:
    limited = DetectorSpec(min_side_px=20, max_side_px=32)  # 20 x 40 may become 16 x 32 at most
    spec = AugmentSpec(flip=0.0, short_side_px=(10, 20))
    image, objects = augment(*_learned(), spec, limited, _luck(flip=0.0, scale=number))
    assert image.shape == (3, *hw)
    ratio = hw[0] / 20
    assert objects.boxes_xyxy.tolist() == [
        pytest.approx([4 * ratio, 6 * ratio, 12 * ratio, 16 * ratio])
    ]


def test_a_square_canvas_has_the_detectors_longer_side() -> None:
    square = DetectorSpec(min_side_px=40, max_side_px=40)
    spec = AugmentSpec(flip=0.0, canvas="square")
    image, objects = augment(*_learned(), spec, square, _luck(flip=0.0, top=0.0, left=0.0))
    assert image.shape == (3, 40, 40)
    assert objects.boxes_xyxy.tolist() == [[4, 6, 12, 16]]
    assert torch.all(image[:, 20:] == 0.5)


@pytest.mark.parametrize(
    ("level", "policy", "scale"),
    [
        ("s1", "none", (0.8, 1.2)),
        ("s2", "autoaugment", (0.8, 1.2)),
        ("s3", "autoaugment", (0.5, 2.0)),
        ("s4", "randaugment", (0.5, 2.0)),
    ],
)
def test_a_level_stands_for_its_single_keys(
    level: str, policy: str, scale: tuple[float, float]
) -> None:
    bundle = AugmentSpec.model_validate({"level": level})
    single = AugmentSpec.model_validate({"policy": policy, "scale": scale})
    assert bundle.unbundled() == single
    for seed in range(8):
        draws = AugmentDraws.draw(seed, 0, 7)
        first, second = (augment(*_learned(), spec, SAME_SIZE, draws) for spec in (bundle, single))
        assert torch.equal(first[0], second[0])
        assert np.array_equal(first[1].boxes_xyxy, second[1].boxes_xyxy)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"level": "s3", "scale": (0.1, 2.0)}, "scale must be left out beside level"),
        ({"level": "s4", "magnitude": 5.0}, "magnitude must be left out beside level"),
        ({"short_side_px": (640, 800), "scale": (0.5, 2.0)}, "short_side_px must stand alone"),
        ({"short_side_px": (800, 640)}, "short_side_px must be .low, high."),
    ],
)
def test_two_keys_that_say_different_things_are_refused(
    asked: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        AugmentSpec.model_validate(asked)
