"""Residual adapters: small trainable modules inside a frozen backbone.

Rebuffi et al. 2017 for convolutional networks, Houlsby et al. 2019 for transformers. An adapter
follows each block of ``layer1 .. layer4``: x + up(relu(down(x))), with 1x1 convolutions through a
bottleneck. ``up`` starts at zero, so that the first features are those of the frozen backbone.
"""

import torch
from torch import Tensor, nn

from rethink_ray.detection.plain_vits import LastNorm
from rethink_ray.detection.staged_backbone import STAGES, Backbone, Tokens
from rethink_ray.spec.recipe import DetectorSpec

MIN_WIDTH = 4
BLOCK_PROBE_PX = 64
"""Side of the blank image that measures each block's channels."""


class Adapter(nn.Module):
    """A bottleneck beside the identity, for ``[N, C, H, W]`` or channels-last maps, or tokens.

    It has no norm: a frozen block keeps its own statistics (Houlsby et al. 2019).
    """

    def __init__(self, channels: int, width: int, *, channels_last: bool) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.down = nn.Conv2d(channels, width, 1)
        self.up = nn.Conv2d(width, channels, 1)
        nn.init.kaiming_normal_(self.down.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.down.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]
        self.channels_last = channels_last

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        """Returns the map, or the tokens, plus the learned change."""
        if isinstance(x, Tokens):  # as a map of one row, channels last
            return x.with_values(x.values + self._change(x.values[:, None], is_last=True)[:, 0])
        return x + self._change(x, is_last=self.channels_last)

    def _change(self, x: Tensor, *, is_last: bool) -> Tensor:
        maps = x.movedim(-1, 1) if is_last else x
        change: Tensor = self.up(torch.relu(self.down(maps)))
        return change.movedim(1, -1) if is_last else change


def add_adapters(backbone: Backbone, spec: DetectorSpec) -> None:
    """Adds an adapter behind every block; ``spec.adapters`` is its share of the channels."""
    last = backbone.staged.channels_last
    backbone.adapters = nn.ModuleDict(
        {
            path: Adapter(channels, bottleneck(channels, spec.adapters), channels_last=last)
            for path, channels in _measure_channels(backbone).items()
        }
    )


def bottleneck(channels: int, share: float) -> int:
    """Number of channels inside an adapter."""
    return max(MIN_WIDTH, round(channels * share))


def is_adapter(name: str) -> bool:
    """Returns whether a name in a backbone's state dict belongs to an adapter."""
    return name.startswith("adapters.")


def _list_blocks(path: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Lists path and module of each block that gets an adapter: the innermost ones of a stage."""
    if isinstance(module, LastNorm):
        return []
    if not isinstance(module, nn.Sequential):
        return [(path, module)] if next(module.children(), None) is not None else []
    inner = [
        block
        for name, child in module.named_children()
        for block in _list_blocks(f"{path}_{name}", child)
    ]
    return inner or [(path, module)]


@torch.no_grad()
def _measure_channels(backbone: Backbone) -> dict[str, int]:
    """Measures path of a block (``layer1_0``) -> its output channels, on a blank image."""
    channels: dict[str, int] = {}
    last = backbone.staged.channels_last
    hooks = [
        block.register_forward_hook(
            lambda _, __, out, path=path: channels.__setitem__(path, _count_channels(out, last))
        )
        for stage in STAGES[1:]
        for path, block in _list_blocks(stage, backbone.get_submodule(stage))
    ]
    mode = backbone.training
    device = next(backbone.parameters()).device
    backbone.eval()(torch.zeros(1, 3, BLOCK_PROBE_PX, BLOCK_PROBE_PX, device=device))
    backbone.train(mode)
    for hook in hooks:
        hook.remove()
    return channels


def _count_channels(out: Tensor | Tokens, channels_last: bool) -> int:
    if isinstance(out, Tokens):
        return out.values.shape[-1]
    return out.shape[-1 if channels_last else 1]
