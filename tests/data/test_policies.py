import numpy as np
import pytest
import torch
from scenes import box_of, scene

from rethink_ray.data.policies import OPERATIONS, RANDAUGMENT, autoaugment, randaugment
from rethink_ray.data.warping import shift_in_boxes, warp_affine


def test_a_shift_moves_boxes_masks_and_keypoints() -> None:
    image, objects = warp_affine(*scene([(4, 6, 12, 16)]), shift_xy=(10.0, -3.0))
    assert objects.boxes_xyxy.tolist() == [[14, 3, 22, 13]]
    assert objects.masks is not None
    assert box_of(objects.masks[0]) == [14, 3, 22, 13]
    assert objects.keypoints is not None
    assert objects.keypoints.tolist() == [[[18, 8, 2]]]
    assert box_of((image[0] > 0.9).numpy()) == [14, 3, 22, 13]


def test_what_is_shifted_out_is_gone_and_gray_comes_in() -> None:
    image, objects = warp_affine(*scene([(4, 6, 12, 16), (30, 0, 38, 8)]), shift_xy=(-20.0, 0.0))
    assert objects.labels.tolist() == [2]
    assert objects.boxes_xyxy.tolist() == [[10, 0, 18, 8]]
    assert torch.all(image[:, :, 20:] == 0.5)


def test_a_quarter_turn_turns_the_box() -> None:
    _, objects = warp_affine(*scene([(4, 8, 16, 12)], 20, 20), degrees=90.0)
    assert objects.boxes_xyxy.round(3).tolist() == [[8, 4, 12, 16]]
    assert objects.masks is not None
    assert box_of(objects.masks[0]) == [8, 4, 12, 16]


@pytest.mark.parametrize("degrees", [-30.0, 12.0])
@pytest.mark.parametrize("shear", [(0.0, 0.0), (16.7, 0.0), (0.0, -16.7)])
def test_a_moved_box_holds_every_pixel_of_its_object(
    degrees: float, shear: tuple[float, float]
) -> None:
    image, objects = warp_affine(
        *scene([(20, 20, 40, 32)], 60, 60), degrees=degrees, shear_xy=shear
    )
    x0, y0, x1, y1 = objects.boxes_xyxy[0]
    assert objects.masks is not None
    for found in (box_of((image[0] > 0.75).numpy()), box_of(objects.masks[0])):
        assert x0 - 1 <= found[0] < x0 + 3
        assert y0 - 1 <= found[1] < y0 + 3
        assert x1 - 3 < found[2] <= x1 + 1
        assert y1 - 3 < found[3] <= y1 + 1


def test_a_shift_inside_a_box_leaves_the_box_and_everything_around_it() -> None:
    scenes = scene([(4, 4, 12, 12)])
    for seed in range(20):
        luck = np.random.default_rng(seed)
        image, objects = shift_in_boxes(*scenes, 3, luck)
        assert objects.boxes_xyxy.tolist() == [[4, 4, 12, 12]]
        if not torch.equal(image, scenes[0]):
            break
    assert image[0, :, 5].tolist() == [0.0] * 4 + [0.5] * 3 + [1.0] * 5 + [0.0] * 8
    assert objects.masks is not None
    assert box_of(objects.masks[0]) == [4, 7, 12, 12]
    assert objects.keypoints is not None
    assert objects.keypoints.tolist() == [[[8, 11, 2]]]
    assert scenes[0][0, 4, 5] == 1.0  # what came in is untouched


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_keeps_sizes_types_and_range(name: str) -> None:
    for level in (0.0, 10.0):
        image, objects = OPERATIONS[name](
            *scene([(4, 6, 12, 16), (20, 2, 30, 12)], value=0.6), level, np.random.default_rng(3)
        )
        assert image.shape == (3, 20, 40)
        assert image.dtype == torch.float32
        assert 0.0 <= float(image.min()) <= float(image.max()) <= 1.0
        assert objects.masks is not None
        assert objects.masks.shape == (len(objects), 20, 40)
        assert objects.masks.dtype == np.uint8
        assert objects.boxes_xyxy.dtype == np.float32


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_takes_an_image_without_objects(name: str) -> None:
    _, objects = OPERATIONS[name](*scene([]), 5.0, np.random.default_rng(0))
    assert len(objects) == 0
    assert objects.masks is not None
    assert objects.masks.shape == (0, 20, 40)


@pytest.mark.parametrize(("level", "found"), [(10.0, [0, 127, 128, 255]), (5.0, [0, 127, 127, 0])])
def test_solarizing_at_the_top_level_leaves_everything_white_too(
    level: float, found: list[int]
) -> None:
    image = torch.tensor([0, 127, 128, 255]).float().expand(3, 1, 4) / 255
    _, objects = scene([])
    solarized, _ = OPERATIONS["solarize"](image, objects, level, np.random.default_rng(0))
    assert (solarized[0, 0] * 255).round().int().tolist() == found


def test_policies_are_functions_of_their_luck() -> None:
    for policy in (autoaugment, lambda i, o, luck: randaugment(i, o, 10.0, 2, luck)):
        first, second = (
            policy(*scene([(4, 6, 12, 16)]), np.random.default_rng(5)) for _ in range(2)
        )
        assert torch.equal(first[0], second[0])
        assert np.array_equal(first[1].boxes_xyxy, second[1].boxes_xyxy)
    assert set(RANDAUGMENT) <= set(OPERATIONS)
