"""Decides which images of a batch are padded to one size, and which share a forward pass.

GroupNorm's statistics include the padding, so the padded size of an image is part of the method. It
is the largest height and width in its padding group, a fixed number of neighbours in the batch.
Groups with the same padded size share a pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rethink_ray.detection.peers import Peers
from rethink_ray.detection.resize import HeightWidth
from rethink_ray.spec.recipe import DetectorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Images that pass the network together, by their position in the batch, and their size."""

    numbers: tuple[int, ...]
    padded_hw: HeightWidth


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingGroup:
    """The number of neighbours in a batch that are padded to one size."""

    num_images: int | None
    """``None``: all images of one worker."""
    spans_workers: bool = False
    """Whether the group has the images of all workers."""

    @classmethod
    def of(cls, spec: DetectorSpec) -> "PaddingGroup":
        """Returns the recipe's group; images with common batch statistics need one size."""
        if spec.norm == "sync_bn":
            return cls(num_images=None, spans_workers=True)
        return cls(num_images=None if spec.norm == "bn" else spec.padding_group)

    def spans(self, num_images: int) -> bool:
        """Returns whether a group has images of several workers with ``num_images`` each."""
        return self.spans_workers or bool(self.num_images and num_images % self.num_images)

    def padded_sizes(
        self,
        sizes_hw: Sequence[HeightWidth],
        peers: Peers | None,
        everyones: Sequence[HeightWidth] | None = None,
    ) -> list[HeightWidth]:
        """Returns the padded size of each of this worker's images.

        If a group spans several workers, each needs the sizes of all images of the batch.

        Args:
            sizes_hw: of this worker's images.
            peers: the workers; ``None``: this one is alone.
            everyones: sizes of all images, in the order of ranks; ``None``: workers exchange them,
                for which the host waits.
        """
        num = self.num_images or len(sizes_hw)
        if peers is None or not self.spans(len(sizes_hw)):
            return padded_sizes(sizes_hw, num)
        everyones = _exchange(sizes_hw, peers) if everyones is None else everyones
        padded = padded_sizes(everyones, len(everyones) if self.spans_workers else num)
        return padded[peers.rank * len(sizes_hw) :][: len(sizes_hw)]


def _exchange(sizes_hw: Sequence[HeightWidth], peers: Peers) -> list[HeightWidth]:
    sizes = torch.zeros(peers.world_size, len(sizes_hw), 2, dtype=torch.int64)
    sizes[peers.rank] = torch.tensor(sizes_hw)
    return [(h, w) for h, w in peers.total(sizes).flatten(0, 1).tolist()]


def padded_sizes(sizes_hw: Sequence[HeightWidth], group_size: int) -> list[HeightWidth]:
    """Returns the padded size of each image: the largest height and width in its group.

    Args:
        sizes_hw: of the images of a batch, in its order; sides are rounded up to a multiple of 32.
        group_size: images in a group; the last group may be smaller.
    """
    padded: list[HeightWidth] = []
    for first in range(0, len(sizes_hw), group_size):
        group = sizes_hw[first : first + group_size]
        largest = (max(height for height, _ in group), max(width for _, width in group))
        padded += [largest] * len(group)
    return padded


def group_into_passes(padded_hw: Sequence[HeightWidth]) -> list[Pass]:
    """Groups images of one size into a pass, in the order in which the sizes occur."""
    by_size: dict[HeightWidth, list[int]] = {}
    for number, size in enumerate(padded_hw):
        by_size.setdefault(size, []).append(number)
    return [Pass(numbers=tuple(numbers), padded_hw=size) for size, numbers in by_size.items()]
