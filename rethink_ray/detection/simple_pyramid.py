"""The pyramid of plain ViTs (Li et al. 2022, ViTDet): every level comes from the one last map.

Deconvolutions make the finer levels, pooling the coarser one; there is no top-down path. Layer
norms follow the convolutions under each ``detector.norm``, as in detectron2, projects/ViTDet and
detectron2/modeling/backbone/vit.py (``SimpleFeaturePyramid``).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from rethink_ray.detection.norm_layers import LayerNorm2d

EPS = 1e-6
"""Epsilon of the layer norms. Source: detectron2, detectron2/layers/batch_norm.py."""
MAP_STRIDE = 16


class SimplePyramid(nn.Module):
    """Turns the last of the given maps, of stride 16, into levels of strides 4, 8, 16 and 32."""

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        first_stride: int,
        names: Sequence[str],
        coarser: ExtraFPNBlock | None,
    ) -> None:
        """``names``: of the levels before ``coarser``, which adds the levels beyond stride 32."""
        super().__init__()
        strides = [first_stride * 2**number for number in range(len(names))]
        self.levels = nn.ModuleDict(
            {n: _build_level(channels, width, s) for n, s in zip(names, strides, strict=True)}
        )
        self.coarser = coarser

    def forward(self, x: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Returns the maps of levels for the maps of stages, finest first."""
        stages = list(x.values())
        maps, names = [level(stages[-1]) for level in self.levels.values()], list(self.levels)
        if self.coarser is not None:
            maps, names = self.coarser(maps, stages, names)
        return OrderedDict(zip(names, maps, strict=True))


def _build_level(channels: int, width: int, stride: int) -> nn.Sequential:
    half, quarter = channels // 2, channels // 4
    resized: dict[int, tuple[int, list[nn.Module]]] = {
        4: (
            quarter,
            [
                nn.ConvTranspose2d(channels, half, 2, stride=2),
                LayerNorm2d(half, eps=EPS),
                nn.GELU(),
                nn.ConvTranspose2d(half, quarter, 2, stride=2),
            ],
        ),
        8: (half, [nn.ConvTranspose2d(channels, half, 2, stride=2)]),
        MAP_STRIDE: (channels, []),
        32: (channels, [nn.MaxPool2d(2, stride=2)]),
    }
    inputs, layers = resized[stride]
    return nn.Sequential(
        *layers,
        nn.Conv2d(inputs, width, 1, bias=False),
        LayerNorm2d(width, eps=EPS),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width, eps=EPS),
    )
