"""Which size every image of a batch is padded to, worked out by pencil."""

from dataclasses import dataclass

import pytest
import torch
from tiny_detectors import mixed_pictures, mixed_targets, tiny
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.padding import HeightWidth, PaddingGroup, group_into_passes, padded_sizes
from rethink_ray.spec.recipe import InitSpec, Norm

SIZES: list[HeightWidth] = [(64, 96), (64, 128), (96, 64), (64, 64), (64, 128)]


def test_an_image_is_padded_to_the_largest_sides_of_its_group() -> None:
    assert padded_sizes(SIZES, 2) == [(64, 128), (64, 128), (96, 64), (96, 64), (64, 128)]
    assert padded_sizes(SIZES, 1) == SIZES
    assert padded_sizes(SIZES, 5) == [(96, 128)] * 5


def test_groups_of_one_size_share_a_pass() -> None:
    passes = group_into_passes(padded_sizes(SIZES, 2))
    assert [(one.numbers, one.padded_hw) for one in passes] == [
        ((0, 1, 4), (64, 128)),
        ((2, 3), (96, 64)),
    ]


@dataclass
class Others:
    """A group of workers whose sizes are known."""

    sizes: list[list[HeightWidth]]
    rank: int
    know_sizes: bool = False

    @property
    def world_size(self) -> int:
        return len(self.sizes)

    def total(self, values: Tensor) -> Tensor:
        assert not self.know_sizes, "workers that know all sizes exchange none"
        assert values[self.rank].tolist() == [list(hw) for hw in self.sizes[self.rank]]
        assert int(values.sum()) == int(values[self.rank].sum()), "each tells its own alone"
        return torch.tensor(self.sizes)


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_groups_are_the_same_whatever_the_number_of_workers(num_workers: int) -> None:
    sizes = SIZES[:4]
    for group in (
        PaddingGroup(num_images=2),
        PaddingGroup(num_images=4),
        PaddingGroup(num_images=None, spans_workers=True),
    ):
        share = 4 // num_workers
        shares = [sizes[first : first + share] for first in range(0, 4, share)]
        padded = [
            size
            for rank, own in enumerate(shares)
            for size in group.padded_sizes(own, Others(shares, rank) if num_workers > 1 else None)
        ]
        assert padded == padded_sizes(sizes, group.num_images or 4)
        from_known_sizes = [
            size
            for rank, share_hw in enumerate(shares)
            for size in group.padded_sizes(share_hw, Others(shares, rank, know_sizes=True), sizes)
        ]
        assert from_known_sizes == padded


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("gn", [(2, 64, 96), (2, 96, 96)]),
        ("frozen_bn", [(2, 64, 96), (2, 96, 96)]),
        ("bn", [(4, 96, 96)]),
        ("sync_bn", [(4, 96, 96)]),
    ],
)
def test_what_passes_the_network_together(norm: Norm, expected: list[tuple[int, int, int]]) -> None:
    """Landscape, landscape, landscape, portrait: two groups, unless batch statistics need one."""
    detector = build_detector(tiny(norm=norm, max_side_px=96), InitSpec(), 3, seed=0)
    seen: list[tuple[int, int, int]] = []
    detector.backbone.register_forward_pre_hook(
        lambda _, given: seen.append((len(given[0]), *given[0].shape[-2:]))
    )
    detector.losses(mixed_pictures(), mixed_targets(), seed=0, step=0)
    assert seen == expected


def test_a_gpu_detects_images_of_one_size_together_but_no_more_than_a_step_holds() -> None:
    """Tensors without content stand for those on a GPU: only their sizes are looked at."""
    detector = build_detector(tiny(max_side_px=96), InitSpec(), 3, seed=0)
    images = [picture.to("meta") for picture in mixed_pictures()]
    assert detector._group_images(images) == [[0, 1, 2], [3]]
    detector.images_per_step = 2
    assert detector._group_images(images) == [[0, 1], [2], [3]]
    assert detector._group_images(mixed_pictures()) == [[0], [1], [2], [3]], "on a CPU"
