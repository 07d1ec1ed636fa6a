"""Loads a backbone's weights: published ones, a file's, or those of a classifier trained here.

All weights are loaded or none: every name and shape must agree, and an error lists the differences.
Only the classifier's last layer is dropped.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.pixel_norm import input_of_model, input_of_timm, require_stated_input
from rethink_ray.detection.published_weights import find_published, resolve_input
from rethink_ray.detection.residual import zero_last_norms
from rethink_ray.detection.staged_backbone import Backbone, keep_tensors
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.detection.tensor_fit import (
    TensorFit,
    compare_tensors,
    list_few,
    require_finite_weights,
)
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import from_torchvision, has_timm_tag
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from rethink_ray.spec.weight_files import STATE_THE_INPUT_OR_A_TAG, is_ours

SECOND_CHOICE = ("encoder_k", "momentum", "student", "target", "ema")
"""Words in the names of a self-supervised method's second network: MoCo's keys, BYOL's target."""


def load_initial_weights(
    backbone: Backbone,
    spec: DetectorSpec,
    init: InitSpec,
    upstream: Mapping[str, Tensor] | None = None,
) -> InputSpec:
    """Loads the backbone's weights as ``init`` says; ``random`` keeps the drawn weights.

    Returns how pixels enter the network: as ``init.input`` says, else as the weights want it.

    Drawn weights follow He et al. 2015 (normal, by fan-out); those of Swin and ConvNeXt their
    papers.

    Raises:
        SpecError: the weights are missing or do not fit the backbone, or their input is not known,
            or is not the one that ``init`` states.
    """
    pixels = IMAGENET
    match init.source:
        case "random":
            if init.zero_init_residual:
                zero_last_norms(backbone)
        case "upstream":
            if upstream is None:
                raise SpecError(
                    explain(
                        "init.source",
                        "'upstream' needs the state of a trained classifier",
                        None,
                        "Build the classifier asset, or choose init.source: random.",
                    )
                )
            load_backbone(backbone, upstream, "init.source: upstream")
        case "torchvision" | "timm" | "hub":
            where = f"init.weights {init.weights}"
            published = find_published(spec, init)
            assert published is not None, "these sources name published weights"
            load_backbone(backbone, read_state_dict(published.fetch(), where), where)
            pixels = resolve_input(published, init.input, "init.input")
        case "detector":
            pass  # the whole detector is loaded afterwards, and carries its input
        case "file":
            where = f"init.weights {init.weights}"
            state = read_state_dict(Path(init.weights or ""), where)
            require_fitting_file(backbone, state, where)
            load_backbone(backbone, state, where)
            pixels = _find_input(spec, init, state)
    return init.input or pixels


def _find_input(spec: DetectorSpec, init: InitSpec, state: Mapping[str, Tensor]) -> InputSpec:
    """Returns the input of the weights in a file: from its origin, else as ``init`` states it.

    Raises:
        SpecError: nothing says it, or the origin contradicts ``init``.
    """
    if is_ours(init.weights or ""):
        known = input_of_model(state)
    elif has_timm_tag(spec.backbone):
        known = input_of_timm(spec.backbone)
    elif init.input is not None:
        return init.input
    else:
        must = f"must say how the pixels of {init.weights} are normalised"
        raise SpecError(explain("init.input", must, None, STATE_THE_INPUT_OR_A_TAG))
    require_stated_input(known, init.input, "init.input")
    return known


def load_backbone(backbone: Backbone, state: Mapping[str, Tensor], where: str) -> None:
    """Copies a state dict into the backbone.

    Args:
        backbone: gets the weights.
        state: of a network of torchvision or timm, of a self-supervised method around it, or of a
            detector or classifier of ours or of others.
        where: the beginning of error messages.

    Raises:
        SpecError: a name is missing or left over, or a shape differs; the message lists them.
    """
    state = _convert(backbone, state)
    names = _match_names(backbone, state, where)
    taken = {ours: state[theirs] for ours, theirs in names.items()}
    backbone.load_state_dict({**backbone.state_dict(), **taken})


def require_fitting_file(backbone: Backbone, state: Mapping[str, Tensor], where: str) -> None:
    """Refuses the state dict of a file that does not fill the backbone, or not with numbers.

    Args:
        backbone: it may be without content (on ``meta``), which costs little to build.
        state: of the file.
        where: the beginning of error messages.

    Raises:
        SpecError: as ``load_backbone``, or a tensor that the backbone takes over is not finite.
    """
    state = _convert(backbone, state)
    require_finite_weights(state, _match_names(backbone, state, where).values(), where)


def fits_backbone(name: str, state: Mapping[str, Tensor]) -> bool:
    """Returns whether a state dict fills the backbone of this name; allocates no weights."""
    with torch.device("meta"):
        backbone = build_backbone(DetectorSpec(backbone=name), norm="bn")
    try:
        require_fitting_file(backbone, state, name)
    except SpecError:
        return False
    return True


def _convert(backbone: Backbone, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Returns the state dict, converted if the network needs other shapes than files have."""
    if backbone.staged.convert is keep_tensors:
        return state
    prefix = _find_prefix(state, backbone)
    return backbone.staged.convert(
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    )


def require_fitting_names(backbone: Backbone, spec: DetectorSpec, where: str) -> None:
    """Refuses a backbone that torchvision's weights of its name will not fill; downloads nothing.

    The names and shapes of weights are those of the network that they are for.

    Args:
        backbone: it may be without content (on ``meta``).
        spec: names the backbone.
        where: the beginning of error messages.

    Raises:
        SpecError: as ``load_backbone``.
    """
    with torch.device("meta"):
        model = torchvision.models.get_model(from_torchvision(spec.backbone) or "", weights=None)
    _match_names(backbone, model.state_dict(), where)


def _match_names(backbone: Backbone, state: Mapping[str, Tensor], where: str) -> dict[str, str]:
    """Returns the backbone's names -> the names in the state dict; they fit each other exactly."""
    needed = {name: v for name, v in backbone.state_dict().items() if not is_adapter(name)}
    names = _select_backbone(backbone, state)
    fit = compare_tensors(needed, {ours: state[theirs] for ours, theirs in names.items()})
    if not fit.is_exact:
        must = "must fill the backbone exactly"
        raise SpecError(explain(where, must, fit.words, _choose_remedy(fit, state)))
    return {  # a counter of batches may be missing, or have another shape
        ours: theirs
        for ours, theirs in names.items()
        if ours in needed and needed[ours].shape == state[theirs].shape
    }


def _select_backbone(backbone: Backbone, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns our stage names -> the names of the backbone's part of a state dict."""
    our_names = backbone.state_dict().keys()
    prefix = _find_prefix(state, backbone)
    names = (
        (_name_ours(k.removeprefix(prefix), backbone, our_names), k)
        for k in state
        if k.startswith(prefix)
    )
    return {name: theirs for name, theirs in names if name is not None}


def _name_ours(name: str, backbone: Backbone, our_names: Collection[str]) -> str | None:
    return name if name in our_names else backbone.staged.rename(name)


def _find_prefix(state: Mapping[str, Tensor], backbone: Backbone) -> str:
    """Returns the prefix of names that fits most of the backbone's names.

    It is ``network.backbone.body.`` for our detectors, ``backbone.`` for classifiers and
    mmdetection's files, ``module.encoder_q.`` for MoCo's, and empty for torchvision's.
    """
    our_names = backbone.state_dict().keys()
    matches: Counter[str] = Counter()
    for name in state:
        words = name.split(".")
        for num in range(len(words)):
            if _name_ours(".".join(words[num:]), backbone, our_names) in our_names:
                matches["".join(f"{word}." for word in words[:num])] += 1
    return min(
        matches,
        key=lambda prefix: (
            -matches[prefix],
            any(word in prefix for word in SECOND_CHOICE),
            len(prefix),
            prefix,
        ),
        default="",
    )


def _choose_remedy(fit: TensorFit, state: Mapping[str, Tensor]) -> str:
    """Returns the remedy that is true of these differences."""
    if fit.missing and 2 * fit.num_fitting < fit.num_needed:
        return (
            "These are weights of another network, or their names are others than torchvision's, "
            f"timm's and mmdetection's. They have names such as {list_few(list(state))}."
        )
    differing = fit.missing + fit.left_over
    is_of_norms = all("running_" in name for name in differing) and not fit.of_another_shape
    if is_of_norms and differing and not fit.of_another_type:
        trained = "without" if fit.missing else "with"
        return (
            f"The weights were trained {trained} batch statistics: choose a detector.norm that "
            "fits them (bn, sync_bn and frozen_bn fit each other, gn fits gn only)."
        )
    return "Choose weights of this detector.backbone (and detector.width), or change it."
