"""What necks that merge maps of several levels share: laterals, coarser levels, resampling."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from rethink_ray.detection.autocast import in_given_types
from rethink_ray.detection.norms import NormLayer


class Lateral(nn.Module):
    """A 1x1 convolution and a norm on each stage: all maps get the pyramid's width."""

    def __init__(self, channels: Sequence[int], width: int, norm: NormLayer) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(pyramid_conv(num, width, 1), norm(width)) for num in channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map for each stage, in the same order."""
        return [conv(x) for conv, x in zip(self.convs, maps, strict=True)]


class RepeatedCells(nn.Module, ABC):
    """A neck of one cell, repeated: stage maps in, finest first; maps of one width out, by name."""

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        norm: NormLayer,
        *,
        repeats: int,
        names: Sequence[str],
    ) -> None:
        """``channels``: of the stages; ``names``: of the levels that come out, finest first."""
        super().__init__()
        self.names = tuple(names)
        self.lateral = Lateral(channels, width, norm)
        self.cells = nn.ModuleList(self.build_cells(width, norm, repeats))

    @abstractmethod
    def build_cells(self, width: int, norm: NormLayer, repeats: int) -> Iterable[nn.Module]:
        """The repeats, first to last, for the levels ``names``."""


def pyramid_conv(num_in: int, num_out: int, side: int, *, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, drawn as torchvision draws those of its pyramid.

    Without a bias: the norm behind it has one.
    """
    conv = nn.Conv2d(num_in, num_out, side, padding=side // 2, groups=groups, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv


def fuse_conv(width: int, norm: NormLayer) -> nn.Sequential:
    """ReLU, 3x3 convolution, norm: what follows each merge of NAS-FPN."""
    return nn.Sequential(nn.ReLU(), pyramid_conv(width, width, 3), norm(width))


def grow(maps: Sequence[Tensor], num_levels: int) -> list[Tensor]:
    """Coarser levels by halving the last map, until there are ``num_levels``."""
    grown = list(maps)
    while len(grown) < num_levels:
        grown.append(F.max_pool2d(grown[-1], 2, ceil_mode=True))
    return grown


def resample(x: Tensor, level: int, target_level: int, size: tuple[int, int]) -> Tensor:
    """A map of one level at the size of another: largest values downwards, nearest upwards.

    Args:
        x: ``[N, C, H, W]`` of ``level``, counted from the finest; each level halves the last one,
            rounding up.
        level: where the map stands.
        wanted: where it goes.
        size: height and width there.
    """
    if target_level > level:
        factor = 2 ** (target_level - level)
        return F.max_pool2d(x, factor, ceil_mode=True)
    if target_level < level:
        return nearest(x, size)
    return x


def nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at another size, each place that of the nearest one; the type stays."""
    with in_given_types(x):
        return F.interpolate(x, size=size, mode="nearest")
