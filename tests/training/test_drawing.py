"""Boxes, masks and keypoints end up on the pixels they belong to."""

import pytest
import torch

from rethink_ray.training.drawing import draw_objects, enlarge_small


def test_masks_boxes_and_keypoints_are_drawn_and_weak_objects_are_not() -> None:
    gray = torch.full((3, 60, 160), 100, dtype=torch.uint8)
    found = {
        "boxes_xyxy": torch.tensor([[20.0, 20.0, 50.0, 50.0], [120.0, 5.0, 155.0, 15.0]]),
        "scores": torch.tensor([0.9, 0.1]),
        "labels": torch.tensor([2, 1]),
        "masks": torch.ones(2, 28, 28),
        "keypoints": torch.tensor([[[35.0, 45.0, 3.0]], [[140.0, 10.0, 3.0]]]),
    }

    drawn = draw_objects(gray, found, ("circle", "square"), 0.5)

    # the second colour, #ee6677, over gray at an opacity of 0.4
    inside = (0.6 * 100 + 0.4 * torch.tensor([0xEE, 0x66, 0x77])).to(torch.uint8)
    assert (drawn[:, 40, 25].int() - inside.int()).abs().max() <= 1
    assert drawn[:, 45, 35].tolist() == [0xEE, 0x66, 0x77], "the keypoint"
    assert torch.equal(drawn[:, :20, 110:], gray[:, :20, 110:]), "the weak one is not there"


def test_a_picture_without_objects_is_left_alone() -> None:
    gray = torch.full((3, 20, 20), 100, dtype=torch.uint8)
    nothing = {"boxes_xyxy": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}

    assert torch.equal(draw_objects(gray, nothing, ("circle",), 0.5), gray)


def test_a_small_picture_is_enlarged_with_its_objects_and_a_large_one_is_not() -> None:
    pixels = torch.zeros((3, 50, 40), dtype=torch.uint8)
    pixels[:, 10, 20] = 255
    found = {
        "boxes_xyxy": torch.tensor([[10.0, 5.0, 30.0, 25.0]]),
        "scores": torch.tensor([0.9]),
        "keypoints": torch.tensor([[[20.0, 10.0, 3.0]]]),
    }

    enlarged, objects = enlarge_small(pixels, found)

    assert tuple(enlarged.shape) == (3, 400, 320)
    assert torch.all(enlarged[:, 80:88, 160:168] == 255)
    assert int((enlarged > 0).sum()) == 3 * 8 * 8
    assert objects["boxes_xyxy"].tolist() == [[80.0, 40.0, 240.0, 200.0]]
    assert objects["keypoints"].tolist() == [[[160.0, 80.0, 3.0]]]
    assert objects["scores"].tolist() == found["scores"].tolist()

    large = torch.zeros((3, 200, 100), dtype=torch.uint8)
    assert enlarge_small(large, found) == (large, found)


@pytest.mark.parametrize(("side", "line_px"), [(300, 2), (1200, 4), (3000, 10)])
def test_lines_and_letters_grow_with_the_picture(side: int, line_px: int) -> None:
    """A box of a third of the picture: its line is 1/300 of the side, its plate 1/40 or more."""
    black = torch.zeros((3, side, side), dtype=torch.uint8)
    found = {
        "boxes_xyxy": torch.tensor([[side / 3, side / 3, 2 * side / 3, 2 * side / 3]]),
        "scores": torch.tensor([0.9]),
        "labels": torch.tensor([2]),
    }

    drawn = draw_objects(black, found, ("circle", "square"), 0.5)

    is_colored = (drawn == torch.tensor([0xEE, 0x66, 0x77])[:, None, None]).all(dim=0)
    middle = side // 2
    left = is_colored[middle, :middle].sum().item()
    assert left == line_px
    plate = is_colored[: side // 3, round(side / 3)].sum().item()
    assert plate >= side / 40


def test_a_name_stays_inside_the_picture() -> None:
    """A box in the upper right corner has no room above it, nor to its right."""
    black = torch.zeros((3, 300, 400), dtype=torch.uint8)
    found = {
        "boxes_xyxy": torch.tensor([[380.0, 0.0, 400.0, 100.0]]),
        "scores": torch.tensor([0.9]),
        "labels": torch.tensor([2]),
    }

    drawn = draw_objects(black, found, ("circle", "square"), 0.5)

    is_plate = (drawn == torch.tensor([0xEE, 0x66, 0x77])[:, None, None]).all(dim=0)
    assert is_plate[0, 345:].all(), "the plate begins left of its box"
    assert not is_plate[:, :300].any()
