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


def test_run_lengths_of_boxes_at_every_edge_are_those_of_the_whole_pasted_mask() -> None:
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(200, 2, 2, generator=generator) * 90 - 20  # many leave the 40 x 60 picture
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    at_edges = [[0.0, 0.0, 60.0, 40.0], [0.0, 0.0, 3.0, 40.0], [57.0, 0.0, 60.0, 40.0]]
    boxes = torch.cat([boxes, torch.tensor([*at_edges, [70.0, 0.0, 90.0, 9.0], [5.0] * 4])])
    squares = torch.rand(len(boxes), 28, 28, generator=generator)
    squares[200:] = 1.0

    runs = run_lengths_of(squares, boxes, 40, 60)

    masks = [paste(square, box.tolist()) for square, box in zip(squares, boxes, strict=True)]
    assert runs == [encode_mask(mask.numpy()) for mask in masks]
    assert run_lengths_of(squares[:0], boxes[:0], 40, 60) == []
