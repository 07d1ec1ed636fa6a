"""Anchors that are kept are torchvision's, whatever sizes came before."""

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from rethink_ray.detection.anchors import MOST_SIZES, KeptAnchors

SIZES, RATIOS = ((8, 10), (16, 20)), ((0.5, 1.0, 2.0),) * 2
CPU = torch.device("cpu")


def pass_of(height: int, width: int) -> tuple[ImageList, list[Tensor]]:
    """A batch of two images, and its maps of strides 8 and 16."""
    maps = [torch.zeros(2, 1, height // s, width // s) for s in (8, 16)]
    return ImageList(torch.zeros(2, 3, height, width), [(height, width)] * 2), maps


def test_kept_anchors_are_torchvisions() -> None:
    ours, theirs = KeptAnchors(SIZES, RATIOS), AnchorGenerator(SIZES, RATIOS)
    for height in (32, 64, 32):
        images, maps = pass_of(height, 96)
        expected = theirs(images, maps)
        levels = ours.build_levels((height, 96), [(height // s, 96 // s) for s in (8, 16)], CPU)
        assert all(torch.equal(a, b) for a, b in zip(ours(images, maps), expected, strict=True))
        assert torch.equal(torch.cat(levels), expected[0])


def test_few_sizes_are_kept_the_newest() -> None:
    anchors = KeptAnchors(SIZES, RATIOS)
    first = anchors.build_levels((32, 32), [(4, 4), (2, 2)], CPU)
    assert anchors.build_levels((32, 32), [(4, 4), (2, 2)], CPU) is first
    for number in range(MOST_SIZES):
        anchors.build_levels(
            (32, 64 + 32 * number), [(4, 8 + 4 * number), (2, 4 + 2 * number)], CPU
        )
    again = anchors.build_levels((32, 32), [(4, 4), (2, 2)], CPU)
    assert again is not first
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
