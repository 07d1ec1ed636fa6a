"""A square of probabilities over a box becomes the pixels whose centres it covers."""

import torch
from torch import Tensor

from rethink_ray.detection.masks import encode_mask, paste_mask, run_lengths_of


def paste(square: Tensor, box: list[float], height: int = 40, width: int = 60) -> Tensor:
    return paste_mask(square, torch.tensor(box), height, width)


def test_a_full_square_fills_the_pixels_whose_centres_are_in_the_box() -> None:
    mask = paste(torch.ones(28, 28), [10.0, 5.0, 30.0, 15.0])

    wanted = torch.zeros(40, 60, dtype=torch.bool)
    wanted[5:15, 10:30] = True
    assert torch.equal(mask, wanted)


def test_half_a_square_is_half_a_box() -> None:
    left = torch.zeros(28, 28)
    left[:, :14] = 1.0

    mask = paste(left, [10.0, 5.0, 30.0, 15.0])

    assert mask.sum() == 10 * 10
    assert bool(mask[5:15, 10:20].all())


def test_what_leaves_the_image_is_cut_and_a_box_of_nothing_is_nothing() -> None:
    over_the_edge = paste(torch.ones(28, 28), [-10.0, 30.0, 10.0, 50.0])

    assert over_the_edge.sum() == 10 * 10
    assert bool(over_the_edge[30:, :10].all())
    assert not paste(torch.ones(28, 28), [70.0, 5.0, 90.0, 15.0]).any()
    assert not paste(torch.ones(28, 28), [10.0, 5.0, 10.0, 5.0]).any()


def test_run_lengths_are_those_of_the_pasted_pixels() -> None:
    squares = torch.stack([torch.ones(28, 28), torch.zeros(28, 28)])
    boxes = torch.tensor([[10.0, 5.0, 30.0, 15.0], [0.0, 0.0, 20.0, 20.0]])

    first, second = run_lengths_of(squares, boxes, 40, 60)

    assert first == encode_mask(paste(squares[0], boxes[0].tolist()).numpy())
    assert first["size"] == [40, 60]
    assert second == encode_mask(torch.zeros(40, 60).numpy())
