"""Residual adapters: what learns inside a frozen backbone.

Rebuffi et al. 2017 for networks of convolutions, Houlsby et al. 2019 for transformers.
One behind each block of ``layer1 .. layer4``: x + up(relu(down(x))), with 1x1 convolutions through
a bottleneck. The last one starts at zero, so at first the features are the frozen ones.
"""

import torch
from torch import Tensor, nn

from rethink_ray.detection.staged_backbone import STAGES, Backbone
from rethink_ray.spec.recipe import DetectorSpec

MIN_WIDTH = 4
PROBE_PX = 64
"""Side of the blank image that tells each block's channels."""


class Adapter(nn.Module):
    """A bottleneck beside the identity, for maps or for channels-last maps.

    It has no norm: in a frozen network the block's own statistics stand (Houlsby et al. 2019).
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

    def forward(self, x: Tensor) -> Tensor:
        """The map and what was learnt about it."""
        maps = x.movedim(-1, 1) if self.channels_last else x
        change: Tensor = self.up(torch.relu(self.down(maps)))
        return x + (change.movedim(1, -1) if self.channels_last else change)


def add_adapters(backbone: Backbone, spec: DetectorSpec) -> None:
    """An adapter behind every block, its bottleneck the asked share of the block's channels."""
    last = backbone.cut.channels_last
    backbone.adapters = nn.ModuleDict(
        {
            path: Adapter(channels, bottleneck(channels, spec.adapters), channels_last=last)
            for path, channels in _channels_of_blocks(backbone).items()
        }
    )


def bottleneck(channels: int, share: float) -> int:
    """Channels inside an adapter."""
    return max(MIN_WIDTH, round(channels * share))


def is_adapter(name: str) -> bool:
    """Whether a name in a backbone's state dict is an adapter's."""
    return name.startswith("adapters.")


def _blocks(path: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """What adapters stand behind: the innermost blocks of a stage that is a sequence of them."""
    if not isinstance(module, nn.Sequential):
        return [(path, module)] if next(module.children(), None) is not None else []
    inner = [
        block
        for name, child in module.named_children()
        for block in _blocks(f"{path}_{name}", child)
    ]
    return inner or [(path, module)]


@torch.no_grad()
def _channels_of_blocks(backbone: Backbone) -> dict[str, int]:
    """Path of a block (``layer1_0``) -> channels of what it puts out, seen on a blank image."""
    channels: dict[str, int] = {}
    dim = -1 if backbone.cut.channels_last else 1
    hooks = [
        block.register_forward_hook(
            lambda _, __, out, path=path: channels.__setitem__(path, out.shape[dim])
        )
        for stage in STAGES[1:]
        for path, block in _blocks(stage, backbone.get_submodule(stage))
    ]
    mode = backbone.training
    device = next(backbone.parameters()).device
    backbone.eval()(torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=device))
    backbone.train(mode)
    for hook in hooks:
        hook.remove()
    return channels
