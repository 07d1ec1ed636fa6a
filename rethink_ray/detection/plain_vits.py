"""Builds plain ViTs of timm: one map at stride 16 for patches of any size.

A patch of 14 px becomes one of 16 px, so that maps keep the strides on which anchors and pooling
count: timm's checkpoint filter resamples the patch embedding of published weights (Beyer et al.
2023, FlexiViT), and the grid of the position embedding stays the published one. Images of any size
are padded to whole patches, and the position embedding is resampled to them. ``stem`` is the
embedding of patches and positions, and ``layer1`` to ``layer4`` are quarters of the blocks. The map
of ``layer4`` passes timm's last norm, as the published dense features of DINOv2, DINOv3 and CLIP
do; ViTDet leaves it out. All blocks attend globally, where ViTDet has windows.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rethink_ray.detection.staged_backbone import STAGES, StagedBackbone, Tokens
from rethink_ray.spec.networks import TIMM

PATCH_PX = 16
"""Side of a patch, and the stride of every map."""
MODULES = ("timm.models.vision_transformer", "timm.models.eva", "timm.models.deit")
"""timm's modules whose networks have a patch embedding and one list of blocks."""
CLASSES = ("VisionTransformer", "Eva")
HEAD_PARTS = ("head", "head_dist", "fc_norm", "attn_pool", "mask_token")
"""Beginnings of the names behind the last map, and of the token that masked training alone needs.
"""

NUM_COLUMNS = 4
"""Columns of the maps from which ``_build_matrix`` reads the weights of resampling."""

_log = logging.getLogger(__name__)


class TokenStem(nn.Module):
    """Turns images into tokens: patches, their positions, and the tokens in front of them."""

    def __init__(self, trunk: Any) -> None:
        """``trunk``: timm's network without its blocks and what follows them."""
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tokens:
        """Returns the tokens of normalised images ``[N, 3, H, W]`` of any size."""
        trunk: Any = self.trunk
        height, width = images.shape[-2:]
        grid_hw = trunk.patch_embed.dynamic_feat_size((height, width))
        values = self._add_positions(trunk.patch_embed(images).flatten(1, 2), grid_hw)
        rope = getattr(trunk, "rope", None)
        return Tokens(
            values=trunk.norm_pre(trunk.pos_drop(values)),
            grid_hw=grid_hw,
            num_prefix=trunk.num_prefix_tokens,
            rotation=None if rope is None else rope.get_embed(shape=grid_hw),
        )

    def _add_positions(self, patches: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Returns the prefix tokens and the patches ``[N, H * W, C]``, each with its position.

        timm's own method resamples positions with a gradient that deterministic GPUs refuse.
        """
        trunk: Any = self.trunk
        tokens = (trunk.cls_token, trunk.reg_token)
        prefix = [t.expand(len(patches), -1, -1) for t in tokens if t is not None]
        positions = trunk.pos_embed
        if positions is None:
            return torch.cat([*prefix, patches], dim=1)
        num_of_prefix = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
        of_prefix, of_patches = positions[:, :num_of_prefix], positions[:, num_of_prefix:]
        published_hw = trunk.patch_embed.grid_size
        if tuple(published_hw) != tuple(grid_hw):
            maps = of_patches.unflatten(1, published_hw).movedim(-1, 1)
            resampled: Tensor = ResampledMap.apply(maps, *grid_hw)
            of_patches = resampled.flatten(2).movedim(1, -1)
        if trunk.no_embed_class:
            return torch.cat([*prefix, patches + of_patches], dim=1)
        return torch.cat([*prefix, patches], dim=1) + torch.cat([of_prefix, of_patches], dim=1)


class ResampledMap(torch.autograd.Function):
    """Resamples ``[1, C, h, w]`` to ``[1, C, H, W]``, bicubic and antialiased as timm does.

    PyTorch's gradient of this adds up in any order on GPUs, and is refused by deterministic
    algorithms. Here it is two matrix products, which is the same because the axes are independent.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, height: int, width: int) -> Tensor:
        """Returns the resampled maps."""
        ctx.sizes = (*maps.shape[-2:], height, width)
        return _resample(maps.float(), height, width).to(maps.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Returns the gradient of the maps."""
        old_height, old_width, height, width = ctx.sizes
        wide = gradient.float()
        rows = _build_matrix(old_height, height, wide.device)
        columns = _build_matrix(old_width, width, wide.device)
        return (rows.T @ wide @ columns).to(gradient.dtype), None, None


def _resample(maps: Tensor, height: int, width: int) -> Tensor:
    resampled: Tensor = functional.interpolate(
        maps, size=(height, width), mode="bicubic", antialias=True
    )
    return resampled


def _build_matrix(old: int, new: int, device: torch.device) -> Tensor:
    """Returns ``[new, old]``, the weights of the old positions in each new one along one axis.

    Maps of one column would be resampled wrongly (torch 2.15 on CPUs), so these have several.
    """
    units = torch.eye(old, device=device)[None, :, :, None].expand(-1, -1, -1, NUM_COLUMNS)
    return _resample(units.contiguous(), new, NUM_COLUMNS)[0, :, :, 0].T


class TokenBlock(nn.Module):
    """A block of timm, which reads and returns tokens. ``layer`` is its number in the network."""

    def __init__(self, block: nn.Module, layer: int, *, is_rotated_by_layer: bool) -> None:
        super().__init__()
        self.block = block
        self.layer = layer
        self.is_rotated_by_layer = is_rotated_by_layer

    def forward(self, tokens: Tokens) -> Tokens:
        """Returns the tokens behind the block."""
        if tokens.rotation is None:
            return tokens.with_values(self.block(tokens.values))
        rotation = tokens.rotation[self.layer] if self.is_rotated_by_layer else tokens.rotation
        return tokens.with_values(self.block(tokens.values, rope=rotation))


class LastNorm(nn.Module):
    """The norm behind all blocks."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: Tokens) -> Tokens:
        """Returns the normalised tokens."""
        return tokens.with_values(self.norm(tokens.values))


def is_plain_vit(name: str) -> bool:
    """Returns whether timm builds this network, ``vit_small_patch14_dinov2``, as a plain ViT."""
    import timm

    bare = name.partition(".")[0]
    return bool(timm.is_model(bare)) and timm.model_entrypoint(bare).__module__ in MODULES


def build_plain_vit(backbone: str) -> StagedBackbone:
    """Builds ``timm:<name>`` in five stages.

    Raises:
        TypeError: it has other parts, such as convolutions before its patches or two class tokens.
        ValueError: it has fewer than four blocks.
    """
    settings = _describe_any_size(backbone)
    net = _create(backbone, settings)
    blocks, norm = list(net.blocks), net.norm
    parts = {"blocks", "norm", *HEAD_PARTS} & {name for name, _ in net.named_children()}
    for name in parts:
        delattr(net, name)
    by_layer = bool(getattr(net, "rope_mixed", False))
    tokens = [TokenBlock(b, i, is_rotated_by_layer=by_layer) for i, b in enumerate(blocks)]
    stage_of = _divide(len(blocks))
    stages: dict[str, nn.Module] = {STAGES[0]: TokenStem(net)}
    for stage in STAGES[1:]:
        blocks_of = {f"blocks_{i}": tokens[i] for i, name in stage_of.items() if name == stage}
        stages[stage] = nn.Sequential(OrderedDict(blocks_of))
    has_norm = any(True for _ in norm.parameters())
    if has_norm:
        stages[STAGES[-1]].add_module("norm", LastNorm(norm))
    width = int(net.embed_dim)
    return StagedBackbone(
        stages=stages,
        channels=(width, width, width, width),
        strides=(PATCH_PX, PATCH_PX, PATCH_PX, PATCH_PX),
        rename=partial(_rename, stage_of, frozenset(net.state_dict()), has_norm),
        convert=partial(_convert, backbone, settings),
        layers=(STAGES[0], *(f"{stage}.blocks_{i}" for i, stage in stage_of.items())),
        origin=backbone,
    )


@cache
def _describe_any_size(backbone: str) -> Mapping[str, Any]:
    """Returns the arguments that build the network for patches of 16 px and images of any size."""
    with torch.device("meta"):
        published = _create(backbone, {})
    embedding = published.patch_embed
    if type(published).__name__ not in CLASSES or type(embedding).__name__ != "PatchEmbed":
        kinds = f"{type(published).__name__} with {type(embedding).__name__}"
        raise TypeError(f"no plain ViT of patches alone, but {kinds}")
    if len(published.blocks) < len(STAGES) - 1:
        raise ValueError(f"{len(published.blocks)} blocks, which cannot be quartered")
    return {
        "patch_size": PATCH_PX,
        "img_size": tuple(PATCH_PX * side for side in embedding.grid_size),
        "dynamic_img_size": True,
        "dynamic_img_pad": True,
    }


def _create(backbone: str, settings: Mapping[str, Any]) -> Any:
    import timm

    return timm.create_model(
        backbone.removeprefix(TIMM), pretrained=False, num_classes=0, **settings
    )


def _divide(num_blocks: int) -> dict[int, str]:
    """Returns the number of each block -> its stage; the quarters differ by one block at most."""
    quarters = len(STAGES) - 1
    return {block: STAGES[1 + block * quarters // num_blocks] for block in range(num_blocks)}


def _rename(
    stage_of: Mapping[int, str], stem_names: frozenset[str], has_norm: bool, name: str
) -> str | None:
    """Renames a tensor from timm's name to our stages; ``None`` behind the last map."""
    part, _, rest = name.partition(".")
    number, _, inner = rest.partition(".")
    if part == "blocks" and number.isdigit() and int(number) in stage_of:
        return f"{stage_of[int(number)]}.blocks_{number}.block.{inner}"
    if part == "norm":
        return f"{STAGES[-1]}.norm.norm.{rest}" if has_norm else None
    if part in HEAD_PARTS:
        return None
    return f"{STAGES[0]}.trunk.{name}" if name in stem_names else name


def _convert(
    backbone: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Returns published weights in timm's names and in the shapes of this network.

    timm's filter knows the original files of DINOv2, DINOv3, CLIP and OpenCLIP. Weights in our
    names, and files that it cannot read, stay as they are.
    """
    if any(name.startswith(STAGES) for name in state):
        return state
    with torch.device("meta"):
        net = _create(backbone, settings)
    try:
        converted = sys.modules[type(net).__module__].checkpoint_filter_fn(dict(state), net)
    except Exception as error:  # foreign names; the comparison that follows lists them
        _log.info("timm's checkpoint filter: %s", error)
        return state
    return {name: value for name, value in converted.items() if isinstance(value, Tensor)}
