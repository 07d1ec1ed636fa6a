"""torchvision's anchors, kept for the newest padded sizes.

Anchors depend on the padded size alone. Placing them takes about twenty small operations a level,
in every update and for every scored image, and on a GPU constants that the host waits for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from rethink_ray.detection.resize import HeightWidth

MOST_SIZES = 8
"""Padded sizes whose anchors are kept; those of 800 x 1333 px take 3 to 4 MB."""


class KeptAnchors(AnchorGenerator):  # type: ignore[misc]  # torchvision is untyped
    """Places torchvision's anchors and keeps them. Callers must not write to them."""

    def __init__(
        self, sizes: Sequence[Sequence[int]], aspect_ratios: Sequence[Sequence[float]]
    ) -> None:
        super().__init__(tuple(sizes), tuple(aspect_ratios))
        self._kept: dict[object, list[Tensor]] = {}

    def build_levels(
        self, padded_hw: HeightWidth, grids: Sequence[HeightWidth], device: torch.device
    ) -> list[Tensor]:
        """Returns the anchors of each level, ``[A, 4]`` float32 xyxy.

        Args:
            padded_hw: height and width of the padded batch.
            grids: rows and columns of each level's map.
            device: where they are used.
        """
        key = (tuple(padded_hw), tuple(tuple(grid) for grid in grids), device)
        if key not in self._kept:
            self.set_cell_anchors(torch.float32, device)
            strides = [[padded_hw[0] // rows, padded_hw[1] // columns] for rows, columns in grids]
            if len(self._kept) >= MOST_SIZES:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.grid_anchors([[*grid] for grid in grids], strides)
        return self._kept[key]

    def forward(self, images: ImageList, maps: list[Tensor]) -> list[Tensor]:
        """Returns the anchors of all levels for each image, ``[A, 4]``; images share them."""
        height, width = images.tensors.shape[-2:]
        grids = [(m.shape[-2], m.shape[-1]) for m in maps]
        levels = self.build_levels((height, width), grids, maps[0].device)
        return [torch.cat(levels)] * len(images.image_sizes)
