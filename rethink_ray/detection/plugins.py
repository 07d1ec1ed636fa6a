"""Builds backbones of other packages: ``package.module:build`` and ``timm:<name>``.

``build(spec)`` takes the recipe's ``DetectorSpec`` and returns a module with submodules ``stem``
and ``layer1`` to ``layer4``, each of which reads the output of the one before, and an attribute
``channels``: the output channels of ``layer1`` to ``layer4``. Its weights are constants or drawn
from the global generator. Its batch norms are replaced by ``detector.norm``. Its group and layer
norms keep their weights and return the type of their input (``detection.norm_layers``). The
backbone is run on blank images of two sizes to check this contract; an error names the first broken
rule. Plain ViTs of timm have one map and are built by ``detection.plain_vits``.
"""

import difflib
import importlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from rethink_ray.detection.norm_layers import keep_input_types
from rethink_ray.detection.norms import replace_batch_norms
from rethink_ray.detection.plain_vits import build_plain_vit, is_plain_vit
from rethink_ray.detection.staged_backbone import STAGES, Backbone, StagedBackbone
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.networks import TIMM
from rethink_ray.spec.recipe import DetectorSpec, Norm

STRIDES = (4, 8, 16, 32)
"""Strides of ``layer1`` to ``layer4``."""
PROBES_HW = ((224, 224), (256, 320))
"""Heights and widths of the blank images: the size that most networks of timm are designed for, and
another, because a network for that size alone detects nothing in pictures of others."""
BUILD_ERRORS = (RuntimeError, AttributeError, AssertionError, LookupError, TypeError, ValueError)
"""What timm raises for a network that it cannot build in this form."""
FOR_ANY_SIZE = {"strict_img_size": False}
"""The argument with which timm's Swin Transformers take images of any size."""
MADE_FOR_ONE_SIZE = ("swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr")
"""timm's modules whose networks need it."""
_KEEPS_CONTRACT: set[str] = set()
"""Networks of timm that this process has probed."""
CONTRACT = "See rethink_ray.detection.plugins for the rules of a backbone."


def build_plugin(spec: DetectorSpec, norm: Norm) -> StagedBackbone:
    """Builds the named network and checks it against the contract.

    Raises:
        SpecError: the network cannot be imported or built, or breaks the contract.
    """
    is_timms = spec.backbone.startswith(TIMM)
    staged = _from_timm(spec.backbone) if is_timms else _from_function(spec)
    for stage in staged.stages.values():  # the stages are new modules with the network's parts
        replace_batch_norms(stage, norm)
        keep_input_types(stage)
    if spec.backbone not in _KEEPS_CONTRACT:
        _require_contract(spec.backbone, staged)
        if is_timms:  # its name alone decides its shapes, and a probe takes seconds
            _KEEPS_CONTRACT.add(spec.backbone)
    return staged


def _from_function(spec: DetectorSpec) -> StagedBackbone:
    module_name, _, function = spec.backbone.partition(":")
    try:
        build = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        must = "must be an importable module and a function in it"
        remedy = "Install the package, or put its folder on PYTHONPATH."
        raise _plugin_error(spec.backbone, must, str(error), remedy) from error
    net = build(spec)
    named = isinstance(net, nn.Module) and dict(net.named_children())
    missing = [name for name in STAGES if not named or name not in named]
    channels = getattr(net, "channels", None)
    counts = isinstance(channels, tuple | list) and len(channels) == len(STRIDES)
    if missing or not counts:
        shortcomings = f"no {', '.join(missing)}" if missing else f"channels = {channels!r}"
        must = "must return a module with stem, layer1 to layer4 and four channels"
        raise _plugin_error(spec.backbone, must, shortcomings, CONTRACT)
    assert channels is not None
    return StagedBackbone(
        stages={name: net.get_submodule(name) for name in STAGES},
        channels=(channels[0], channels[1], channels[2], channels[3]),
        origin=spec.backbone,
    )


def require_known_timm_name(name: str, where: str) -> None:
    """Refuses a network, or a tag of its weights, that timm does not know; builds nothing.

    Args:
        name: ``timm:<name>`` or ``timm:<name>.<tag>``.
        where: the key that names it.

    Raises:
        SpecError: names the nearest known one.
    """
    try:
        import timm
    except ImportError:
        return  # the start of a run refuses it with the remedy; a plan may be made elsewhere
    given = name.removeprefix(TIMM)
    bare, _, tag = given.partition(".")
    if not timm.is_model(bare):
        must, known, given = "must be a network of timm", timm.list_models(), bare
    elif tag:
        must, known = (
            f"must name weights that timm has of {bare}",
            timm.list_pretrained(f"{bare}.*"),
        )
    else:
        return
    if given in known:
        return
    close = [f"{TIMM}{one}" for one in difflib.get_close_matches(given, known, n=3, cutoff=0.4)]
    nearest = f"Did you mean {' or '.join(close)}? " if close else ""
    remedy = f"{nearest}timm.list_models() has all names."
    raise SpecError(explain(where, must, name, remedy))


def _from_timm(name: str) -> StagedBackbone:
    try:
        import timm
    except ImportError as error:
        remedy = "pip install 'rethink-ray[timm]'."
        must = "needs timm, an optional package"
        raise _plugin_error(name, must, str(error), remedy) from error
    bare = name.removeprefix(TIMM)
    try:
        if is_plain_vit(bare):
            return build_plain_vit(name)
        net: Any = timm.create_model(
            bare, pretrained=False, features_only=True, **_list_arguments(bare)
        )
        flat = _list_parts(net)
        last = {s: _find_last_part(net.feature_info, s, list(flat)) for s in STRIDES}
    except BUILD_ERRORS as error:
        must = "must be a plain ViT of timm, or a network with maps at strides 4, 8, 16 and 32"
        remedy = "Look at timm.list_models()."
        raise _plugin_error(name, must, say_error(error), remedy) from error
    order = list(flat)
    early = [
        order.index(_flatten_name(i["module"])) for i in net.feature_info.info if i["reduction"] < 4
    ]
    first = max(early, default=order.index(last[4]) - 1)
    ends = [first + 1, *(order.index(last[s]) + 1 for s in STRIDES)]
    starts = [0, *ends[:-1]]
    stage_of = {
        key: stage for stage, a, b in zip(STAGES, starts, ends, strict=True) for key in order[a:b]
    }
    stages = {
        stage: nn.Sequential(OrderedDict((k, flat[k]) for k in order if stage_of.get(k) == stage))
        for stage in STAGES
    }
    widths = {i["reduction"]: int(i["num_chs"]) for i in net.feature_info.info}
    return StagedBackbone(
        stages=stages,
        channels=(widths[4], widths[8], widths[16], widths[32]),
        rename=partial(_rename_timm, stage_of),
        channels_last=str(getattr(net, "output_fmt", "")).endswith("NHWC"),
        origin=name,
    )


def _list_arguments(name: str) -> Mapping[str, Any]:
    """Returns the arguments with which a network of timm takes images of any size."""
    import timm

    bare = name.partition(".")[0]
    module = timm.model_entrypoint(bare).__module__ if timm.is_model(bare) else ""
    return FOR_ANY_SIZE if module.rpartition(".")[2] in MADE_FOR_ONE_SIZE else {}


def _list_parts(net: nn.Module) -> dict[str, nn.Module]:
    """Lists the parts of a feature extractor in order; ``blocks`` is split into its blocks."""
    parts: dict[str, nn.Module] = {}
    for name, child in net.named_children():
        if name == "blocks":
            parts.update({f"blocks_{inner}": block for inner, block in child.named_children()})
        else:
            parts[name] = child
    return parts


def _find_last_part(info: Any, stride: int, parts: list[str]) -> str:
    """Returns the last part of this stride."""
    name = _flatten_name([i["module"] for i in info.info if i["reduction"] == stride][-1])
    if name not in parts:
        raise KeyError(f"{name} is not a part of its own")
    return name


def _flatten_name(module: str) -> str:
    return module.replace(".", "_")


def _rename_timm(stage_of: Mapping[str, str], name: str) -> str | None:
    """Renames a tensor from timm's name to our stages; ``None`` for the head."""
    words = name.split(".")
    for num in (2, 1):
        key = "_".join(words[:num])
        if key in stage_of and len(words) > num:
            return ".".join([stage_of[key], key, *words[num:]])
    return None


@torch.no_grad()
def _require_contract(name: str, staged: StagedBackbone) -> None:
    probe = Backbone(staged).eval()
    device = next((p.device for p in probe.parameters()), torch.device("cpu"))
    for height, width in PROBES_HW:
        try:
            maps = probe(torch.zeros(1, 3, height, width, device=device))
        except Exception as error:
            must = f"must run on a blank image of {height} x {width}"
            raise _plugin_error(name, must, say_error(error), CONTRACT) from error
        shapes = zip(maps.items(), staged.channels, staged.strides, strict=True)
        for (stage, x), channels, stride in shapes:
            expected_shape = (1, channels, height // stride, width // stride)
            if tuple(x.shape) != expected_shape:
                must = f"must return a map of shape {expected_shape} from {stage} (stride {stride})"
                raise _plugin_error(name, must, tuple(x.shape), CONTRACT)
    probe.train()


def _plugin_error(name: str, must: str, shown: object, remedy: str) -> SpecError:
    return SpecError(explain(f"detector.backbone {name}", must, shown, remedy))
