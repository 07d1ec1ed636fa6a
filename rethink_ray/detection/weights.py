"""Loads a backbone's weights: from torchvision, from a file, or from a classifier trained here.

All weights are loaded or none: every name and shape must agree, and an error lists the differences.
Only the classifier's last layer is dropped.
"""

import io
import pickle
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision.models import WeightsEnum

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.pixel_norm import (
    PixelNorm,
    input_of_model,
    input_of_timm,
    input_of_torchvision,
    require_stated_input,
)
from rethink_ray.detection.residual import zero_last_norms
from rethink_ray.detection.staged_backbone import Backbone
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.hashing import sha256_of
from rethink_ray.spec.networks import from_torchvision, has_timm_tag
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from rethink_ray.spec.weight_files import OURS, STATE_THE_INPUT, is_ours

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "network")
"""Entries under which files store their tensors; ``teacher`` is the better of DINO's two."""
DETECTOR_PARTS = (
    "rpn",
    "roi_head",
    "proposal_generator",
    "bbox_",
    "neck",
    "fpn",
    "box_head",
    "cls_subnet",
    "classification_head",
    "regression_head",
)
"""Beginnings of the names that only detectors have, as torchvision, detectron2, mmdetection and we
call their parts."""
SECOND_CHOICE = ("encoder_k", "momentum", "student", "target", "ema")
"""Words in the names of a self-supervised method's second network: MoCo's keys, BYOL's target."""
UNREADABLE = (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError)
"""Exceptions of torch for files that are no weights."""
_SHOWN = 5


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
        case "torchvision":
            load_backbone(backbone, _load_torchvision(spec, init), f"init.weights {init.weights}")
            pixels = input_of_torchvision(torchvision_weights(spec.backbone, init.weights))
        case "file":
            where = f"init.weights {init.weights}"
            state = read_state_dict(Path(init.weights or ""), where)
            load_backbone(backbone, state, where)
            if is_ours(init.weights or ""):
                require_stated_input(PixelNorm(input_of_model(state)), init.input, "init.input")
            pixels = init.input or _find_input(spec, init, state)
    return init.input or pixels


def _find_input(spec: DetectorSpec, init: InitSpec, state: Mapping[str, Tensor]) -> InputSpec:
    """Returns the input of the weights in a file from the file's origin."""
    if is_ours(init.weights or ""):
        return input_of_model(state)
    if has_timm_tag(spec.backbone):
        return input_of_timm(spec.backbone)
    must = f"must say how the pixels of {init.weights} are normalised"
    raise SpecError(explain("init.input", must, None, STATE_THE_INPUT))


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
    everything = backbone.state_dict()
    ours = {name: value for name, value in everything.items() if not is_adapter(name)}
    entries = _select_backbone(backbone, state)
    counters = {k for k in {*ours, *entries} if k.endswith("num_batches_tracked")}
    missing = sorted(ours.keys() - entries.keys() - counters)
    unexpected = sorted(entries.keys() - ours.keys() - counters)
    shapes = sorted(
        f"{k} {tuple(entries[k].shape)} for {tuple(ours[k].shape)}"
        for k in ours.keys() & entries.keys()
        if entries[k].shape != ours[k].shape
    )
    if missing or unexpected or shapes:
        raise SpecError(_describe_disagreement(where, missing, unexpected, shapes))
    backbone.load_state_dict(everything | {k: entries.get(k, ours[k]) for k in ours})


def _select_backbone(backbone: Backbone, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the backbone's part of a state dict, under our stage names."""
    our_names = backbone.state_dict().keys()

    def ours(name: str) -> str | None:
        return name if name in our_names else backbone.staged.rename(name)

    prefix = _find_prefix(state, our_names, ours)
    entries = ((ours(k.removeprefix(prefix)), v) for k, v in state.items() if k.startswith(prefix))
    return {name: value for name, value in entries if name is not None}


def _find_prefix(
    state: Mapping[str, Tensor], our_names: Collection[str], ours: Callable[[str], str | None]
) -> str:
    """Returns the prefix of names that fits most of the backbone's names.

    It is ``network.backbone.body.`` for our detectors, ``backbone.`` for classifiers and
    mmdetection's files, ``module.encoder_q.`` for MoCo's, and empty for torchvision's.
    """
    matches: Counter[str] = Counter()
    for name in state:
        words = name.split(".")
        for num in range(len(words)):
            if ours(".".join(words[num:])) in our_names:
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


def _describe_disagreement(
    where: str, missing: list[str], unexpected: list[str], shapes: list[str]
) -> str:
    parts = {"missing": missing, "left over": unexpected, "of another shape": shapes}
    differences = "; ".join(f"{word}: {_list_few(names)}" for word, names in parts.items() if names)
    statistics = [k for k in missing + unexpected if "running_" in k]
    if statistics and not shapes:
        trained = "without" if statistics[0] in missing else "with"
        remedy = (
            f"The weights were trained {trained} batch statistics: choose a detector.norm that "
            "fits them (bn, sync_bn and frozen_bn fit each other, gn fits gn only)."
        )
    else:
        remedy = "Choose weights of this detector.backbone (and detector.width), or change it."
    return explain(where, "must fill the backbone exactly", differences, remedy)


def _list_few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def torchvision_weights(backbone: str, name: str | None) -> WeightsEnum:
    """Returns a backbone's weights by torchvision's name, ``ResNet50_Weights.IMAGENET1K_V1``.

    The part after the dot is enough.

    Raises:
        SpecError: torchvision has no such weights; the message lists the available ones.
    """
    model = from_torchvision(backbone)
    candidates = list(torchvision.models.get_model_weights(model)) if model else []
    for weights in candidates:
        if name in (weights.name, str(weights)):
            return weights
    must = f"must be a torchvision weights name of {backbone}"
    remedy = f"Known: {', '.join(map(str, candidates)) or 'none; use init.source: upstream'}."
    raise SpecError(explain("init.weights", must, name, remedy))


def _load_torchvision(spec: DetectorSpec, init: InitSpec) -> Mapping[str, Tensor]:
    weights = torchvision_weights(spec.backbone, init.weights)
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SpecError(
            explain(
                f"init.weights {init.weights}",
                "must be in torch's hub cache or downloadable",
                str(error),
                "Copy the file there, or use init.source: file.",
            )
        ) from error
    return state


def holds_detector(path: Path) -> bool:
    """Returns whether a file holds a whole detector; a file that cannot be read holds none."""
    try:
        state = read_state_dict(path, str(path))
    except SpecError:
        return False
    return any(word.startswith(DETECTOR_PARTS) for name in state for word in name.split("."))


def read_state_dict(path: Path, where: str) -> Mapping[str, Tensor]:
    """Returns the tensors of a file by name; finds them under the entries in ``CONTAINERS``.

    Raises:
        SpecError: the file cannot be read without running code, holds no state dict, or is one of
            ours and damaged.
    """
    remedy = "Save it with torch.save(model.state_dict(), path)."
    try:
        content = path.read_bytes()
        if content.startswith(OURS):
            header, _, content = content.partition(b"\n")
            if header.split()[-1] != sha256_of(content).encode():
                again = "Copy it or export it again."
                raise SpecError(explain(where, "must match its checksum", "other bytes", again))
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        must = "must be a file of tensors that loads without running code"
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SpecError(explain(where, must, reason, remedy)) from error
    for name in CONTAINERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        must = "must hold a state dict (name -> tensor)"
        raise SpecError(explain(where, must, type(state).__name__, remedy))
    return state
