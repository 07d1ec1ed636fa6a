"""Building blocks of necks that fuse levels: laterals, coarser levels, resampling."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from rethink_ray.detection.autocast import keep_types
from rethink_ray.detection.norms import NormLayer


class Lateral(nn.Module):
    """A 1x1 convolution and a norm per stage, which give all maps the pyramid's width."""

    def __init__(self, channels: Sequence[int], width: int, norm: NormLayer) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(build_pyramid_conv(num, width, 1), norm(width)) for num in channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Returns one map for each stage, in the same order."""
        return [conv(x) for conv, x in zip(self.convs, maps, strict=True)]


class RepeatedCells(nn.Module, ABC):
    """A neck that repeats a cell; it maps stage maps (finest first) to named maps of one width."""

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        norm: NormLayer,
        *,
        repeats: int,
        names: Sequence[str],
    ) -> None:
        """``channels``: of the stages; ``names``: of the output levels, finest first."""
        super().__init__()
        self.names = tuple(names)
        self.lateral = Lateral(channels, width, norm)
        self.cells = nn.ModuleList(self.build_cells(width, norm, repeats))

    @abstractmethod
    def build_cells(self, width: int, norm: NormLayer, repeats: int) -> Iterable[nn.Module]:
        """Builds the repeats, first to last, for the levels ``names``."""


def build_pyramid_conv(num_in: int, num_out: int, side: int, *, groups: int = 1) -> nn.Conv2d:
    """Builds a size-preserving convolution, initialised as in torchvision's pyramid.

    It has no bias, since the norm behind it has one.
    """
    conv = nn.Conv2d(num_in, num_out, side, padding=side // 2, groups=groups, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv


def build_fuse_conv(width: int, norm: NormLayer) -> nn.Sequential:
    """Builds ReLU, 3x3 convolution and norm, which follow each merge of NAS-FPN."""
    return nn.Sequential(nn.ReLU(), build_pyramid_conv(width, width, 3), norm(width))


def add_coarser_levels(maps: Sequence[Tensor], num_levels: int) -> list[Tensor]:
    """Adds levels, each half the size of the last one, until there are ``num_levels``."""
    grown = list(maps)
    while len(grown) < num_levels:
        grown.append(F.max_pool2d(grown[-1], 2, ceil_mode=True))
    return grown


def resample(x: Tensor, level: int, target_level: int, size: tuple[int, int]) -> Tensor:
    """Resizes a map of one level to another: by max pooling, or by nearest neighbours.

    Args:
        x: ``[N, C, H, W]`` of ``level``.
        level: of the map, counted from the finest; each level halves the last one, rounding up.
        target_level: of the result.
        size: height and width of ``target_level``.
    """
    if target_level > level:
        factor = 2 ** (target_level - level)
        return F.max_pool2d(x, factor, ceil_mode=True)
    if target_level < level:
        return resize_nearest(x, size)
    return x


def resize_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes a map by nearest neighbours, in its own type."""
    with keep_types(x):
        return F.interpolate(x, size=size, mode="nearest")
