"""BiFPN: weighted top-down and bottom-up fusion, repeated (Tan et al. 2020, sec. 3).

Deviation: the first repeat reads the same lateral maps in both directions, where the authors' code
has a second set of 1x1 convolutions for the way up.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rethink_ray.detection.autocast import in_given_types
from rethink_ray.detection.fusing import RepeatedCells, grow, pyramid_conv, resample
from rethink_ray.detection.norms import NormLayer

EPSILON = 1e-4
"""Keeps the fusion's weights from being divided by nothing (Tan et al. 2020, sec. 3.3)."""


class BiFpn(RepeatedCells):
    """Every level is there in every repeat."""

    def build_cells(self, width: int, norm: NormLayer, repeats: int) -> Iterator[nn.Module]:
        """All alike."""
        return (_Cell(len(self.names), width, norm) for _ in range(repeats))

    def forward(self, stages: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """The levels after all repeats."""
        maps = grow(self.lateral(list(stages.values())), len(self.names))
        for cell in self.cells:
            maps = cell(maps)
        return OrderedDict(zip(self.names, maps, strict=True))


class _Cell(nn.Module):
    """Down from the coarsest level, then up again; a level's own input is read both times."""

    def __init__(self, num_levels: int, width: int, norm: NormLayer) -> None:
        super().__init__()
        last = num_levels - 1
        self.down = nn.ModuleList(_Fusion(2, width, norm) for _ in range(last))
        self.up = nn.ModuleList(
            _Fusion(2 if level == last else 3, width, norm) for level in range(1, num_levels)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The same levels, merged."""
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        last = len(maps) - 1
        down = list(maps)
        for level in range(last - 1, -1, -1):
            above = resample(down[level + 1], level + 1, level, sizes[level])
            down[level] = self.down[level]([maps[level], above])
        out = [down[0]]
        for level in range(1, last + 1):
            below = resample(out[-1], level - 1, level, sizes[level])
            inputs = [maps[level]] if level == last else [maps[level], down[level]]
            out.append(self.up[level - 1]([*inputs, below]))
        return out


class _Fusion(nn.Module):
    """Maps of one size, weighted and added; swish, a separable convolution, a norm."""

    def __init__(self, num_maps: int, width: int, norm: NormLayer) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_maps))
        self.conv = nn.Sequential(
            nn.SiLU(),
            pyramid_conv(width, width, 3, groups=width),
            pyramid_conv(width, width, 1),
            norm(width),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Their weighted mean, convolved."""
        shares = torch.relu(self.weights)
        shares = shares / (shares.sum() + EPSILON)
        weighted = torch.stack([share * x for share, x in zip(shares, maps, strict=True)])
        with in_given_types(weighted):
            merged = weighted.sum(0)
        convolved: Tensor = self.conv(merged)
        return convolved
