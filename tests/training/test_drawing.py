"""Boxes, masks and keypoints end up on the pixels they belong to."""

import torch

from rethink_ray.training.drawing import draw_objects


def test_masks_boxes_and_keypoints_are_drawn_and_weak_objects_are_not() -> None:
    gray = torch.full((3, 60, 80), 100, dtype=torch.uint8)
    found = {
        "boxes_xyxy": torch.tensor([[20.0, 20.0, 50.0, 50.0], [60.0, 5.0, 75.0, 15.0]]),
        "scores": torch.tensor([0.9, 0.1]),
        "labels": torch.tensor([2, 1]),
        "masks": torch.ones(2, 28, 28),
        "keypoints": torch.tensor([[[35.0, 45.0, 3.0]], [[70.0, 10.0, 3.0]]]),
    }

    drawn = draw_objects(gray, found, ("circle", "square"), 0.5)

    # the second colour, #ee6677, over gray at an opacity of 0.4
    inside = (0.6 * 100 + 0.4 * torch.tensor([0xEE, 0x66, 0x77])).to(torch.uint8)
    assert (drawn[:, 40, 25].int() - inside.int()).abs().max() <= 1
    assert drawn[:, 45, 35].tolist() == [0xEE, 0x66, 0x77], "the keypoint"
    assert torch.equal(drawn[:, :20, 55:], gray[:, :20, 55:]), "the weak one is not there"


def test_a_picture_without_objects_is_left_alone() -> None:
    gray = torch.full((3, 20, 20), 100, dtype=torch.uint8)
    nothing = {"boxes_xyxy": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}

    assert torch.equal(draw_objects(gray, nothing, ("circle",), 0.5), gray)
