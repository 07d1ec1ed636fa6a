"""Backbones from elsewhere: ``package.module:build`` and ``timm:<name>``.

``build(spec)`` gets the recipe's ``DetectorSpec`` and returns a module with submodules ``stem`` and
``layer1`` to ``layer4``, each reading what the one before puts out, and an attribute ``channels``:
the output channels of ``layer1`` to ``layer4``. Its weights come from the global generator, or are
constants. Batch norms in it give way to ``detector.norm``; its group and layer norms keep their
numbers and hand on the type they are given (``detection.norm_layers``). What it returns is run once
on a blank image and must keep the contract; the first broken rule is named.
"""

import importlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from rethink_ray.detection.norm_layers import keep_input_types
from rethink_ray.detection.norms import replace_batch_norms
from rethink_ray.detection.staged_backbone import STAGES, Backbone, StagedBackbone
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import TIMM
from rethink_ray.spec.recipe import DetectorSpec, Norm

STRIDES = (4, 8, 16, 32)
"""Of ``layer1`` to ``layer4``."""
PROBE_PX = 224
"""Side of the blank image: what most networks of timm are made for."""
CONTRACT = "See rethink_ray.detection.plugins for what a backbone must be."


def cut_plugin(spec: DetectorSpec, norm: Norm) -> StagedBackbone:
    """The network that the name points to, once it has kept the contract.

    Raises:
        SpecError: it cannot be imported or built, or breaks the contract.
    """
    is_timms = spec.backbone.startswith(TIMM)
    cut = _from_timm(spec.backbone) if is_timms else _from_function(spec)
    for stage in cut.stages.values():  # not the network: its parts stand in new sequences
        replace_batch_norms(stage, norm)
        keep_input_types(stage)
    _require_contract(spec.backbone, cut)
    return cut


def _from_function(spec: DetectorSpec) -> StagedBackbone:
    module_name, _, function = spec.backbone.partition(":")
    try:
        build = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        must = "must be an importable module and a function in it"
        remedy = "Install the package, or put its folder on PYTHONPATH."
        raise _refused(spec.backbone, must, str(error), remedy) from error
    net = build(spec)
    named = isinstance(net, nn.Module) and dict(net.named_children())
    missing = [name for name in STAGES if not named or name not in named]
    channels = getattr(net, "channels", None)
    counts = isinstance(channels, tuple | list) and len(channels) == len(STRIDES)
    if missing or not counts:
        shortcomings = f"no {', '.join(missing)}" if missing else f"channels = {channels!r}"
        must = "must return a module with stem, layer1 to layer4 and four channels"
        raise _refused(spec.backbone, must, shortcomings, CONTRACT)
    assert channels is not None
    return StagedBackbone(
        stages={name: net.get_submodule(name) for name in STAGES},
        channels=(channels[0], channels[1], channels[2], channels[3]),
        origin=spec.backbone,
    )


def _from_timm(name: str) -> StagedBackbone:
    try:
        import timm
    except ImportError as error:
        remedy = "pip install 'rethink-ray[timm]'."
        raise _refused(name, "needs timm, which is an extra", str(error), remedy) from error
    try:
        net: Any = timm.create_model(name.removeprefix(TIMM), pretrained=False, features_only=True)
        flat = _in_order(net)
        last = {s: _last_at(net.feature_info, s, list(flat)) for s in STRIDES}
    except (RuntimeError, AttributeError, AssertionError, KeyError) as error:
        must = "must be a network of timm with maps at strides 4, 8, 16 and 32"
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _refused(name, must, reason, "Look at timm.list_models().") from error
    order = list(flat)
    early = [order.index(_flat(i["module"])) for i in net.feature_info.info if i["reduction"] < 4]
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
        rename=partial(_our_name, stage_of),
        channels_last=str(getattr(net, "output_fmt", "")).endswith("NHWC"),
        origin=name,
    )


def _in_order(net: nn.Module) -> dict[str, nn.Module]:
    """The parts a feature extractor runs through, one list of stages taken apart."""
    parts: dict[str, nn.Module] = {}
    for name, child in net.named_children():
        if name == "blocks":
            parts.update({f"blocks_{inner}": block for inner, block in child.named_children()})
        else:
            parts[name] = child
    return parts


def _last_at(info: Any, stride: int, parts: list[str]) -> str:
    """The part after which the map of this stride is complete."""
    name = _flat([i["module"] for i in info.info if i["reduction"] == stride][-1])
    if name not in parts:
        raise KeyError(f"{name} is not a part of its own")
    return name


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _our_name(stage_of: Mapping[str, str], name: str) -> str | None:
    """timm's name of a tensor under our stages; heads belong to no part."""
    words = name.split(".")
    for num in (2, 1):
        key = "_".join(words[:num])
        if key in stage_of and len(words) > num:
            return ".".join([stage_of[key], key, *words[num:]])
    return None


@torch.no_grad()
def _require_contract(name: str, cut: StagedBackbone) -> None:
    probe = Backbone(cut).eval()
    device = next((p.device for p in probe.parameters()), torch.device("cpu"))
    try:
        maps = probe(torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=device))
    except Exception as error:
        must = f"must run on a blank image of {PROBE_PX} x {PROBE_PX}"
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _refused(name, must, reason, CONTRACT) from error
    for (stage, x), channels, stride in zip(maps.items(), cut.channels, STRIDES, strict=True):
        expected_shape = (1, channels, PROBE_PX // stride, PROBE_PX // stride)
        if tuple(x.shape) != expected_shape:
            must = f"must put out a map of shape {expected_shape} at {stage} (stride {stride})"
            raise _refused(name, must, tuple(x.shape), CONTRACT)
    probe.train()


def _refused(name: str, must: str, shown: object, remedy: str) -> SpecError:
    return SpecError(explain(f"detector.backbone {name}", must, shown, remedy))
