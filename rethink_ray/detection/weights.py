"""Weights from elsewhere: a torchvision name, a file, or a classifier this program trained.

A backbone takes all of its numbers or none: every key and shape must agree, and what does not is
named. Only the classifier's last layer is dropped.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from rethink_ray.detection.backbones import Backbone
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import DetectorSpec, InitSpec

PREFIXES = ("network.backbone.body.", "backbone.body.", "backbone.", "body.", "")
"""Where a backbone may stand in a file: our detectors, torchvision's, our classifiers, bare."""
_FIRST = ("stem.", "conv1.", "bn1.", "layer1.")
_SHOWN = 5


def load_initial_weights(
    backbone: Backbone,
    spec: DetectorSpec,
    init: InitSpec,
    upstream: Mapping[str, Tensor] | None = None,
) -> None:
    """Give the backbone the weights ``init`` asks for; ``random`` leaves it as it is."""
    match init.source:
        case "random":
            return
        case "upstream":
            if upstream is None:
                raise SpecError(
                    explain(
                        "init.source",
                        "'upstream' needs the state of a classifier trained first",
                        None,
                        "Build the classifier asset, or choose init.source: random.",
                    )
                )
            load_backbone(backbone, upstream, "init.source: upstream")
        case "torchvision":
            load_backbone(backbone, _torchvision_state(spec, init), f"init.weights {init.weights}")
        case "file":
            load_backbone(backbone, _file_state(init), f"init.weights {init.weights}")


def load_backbone(backbone: Backbone, state: Mapping[str, Tensor], where: str) -> None:
    """Copy a state dict into the backbone, number for number.

    Args:
        backbone: takes the weights.
        state: of a torchvision or timm residual network, or of a detector or classifier of ours.
        where: named in errors.

    Raises:
        SpecError: a name is missing or left over, or a shape differs; the message lists them.
    """
    wanted = backbone.state_dict()
    came = _backbone_entries(state)
    counters = {k for k in {*wanted, *came} if k.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - came.keys() - counters)
    unexpected = sorted(came.keys() - wanted.keys() - counters)
    shapes = sorted(
        f"{k} {tuple(came[k].shape)} for {tuple(wanted[k].shape)}"
        for k in wanted.keys() & came.keys()
        if came[k].shape != wanted[k].shape
    )
    if missing or unexpected or shapes:
        raise SpecError(_disagreement(where, missing, unexpected, shapes))
    backbone.load_state_dict({k: came.get(k, wanted[k]) for k in wanted})


def _backbone_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's part of a state dict, under our stage names."""
    plain = {k.removeprefix("module."): v for k, v in state.items()}
    prefix = next(
        (p for p in PREFIXES if any(k.startswith(tuple(p + f for f in _FIRST)) for k in plain)), ""
    )
    entries = {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
    return {
        f"stem.{k}" if k.startswith(("conv1.", "bn1.")) else k: v
        for k, v in entries.items()
        if not k.startswith("fc.")
    }


def _disagreement(where: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> str:
    parts = {"missing": missing, "left over": unexpected, "of another shape": shapes}
    came = "; ".join(f"{word}: {_few(names)}" for word, names in parts.items() if names)
    statistics = [k for k in missing + unexpected if "running_" in k]
    if statistics and not shapes:
        trained = "without" if statistics[0] in missing else "with"
        remedy = (
            f"The weights were trained {trained} batch statistics: "
            "choose a detector.norm that agrees with them (bn, sync_bn and frozen_bn do with each "
            "other, gn only with gn)."
        )
    else:
        remedy = "Choose weights of this detector.backbone (and detector.width), or change it."
    return explain(where, "must fill the backbone exactly", came, remedy)


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _torchvision_state(spec: DetectorSpec, init: InitSpec) -> Mapping[str, Tensor]:
    try:
        known = list(torchvision.models.get_model_weights(spec.backbone))
    except ValueError:
        known = []
    names = {f"{type(w).__name__}.{w.name}": w for w in known}
    if init.weights not in names:
        raise SpecError(
            explain(
                "init.weights",
                f"must be a torchvision weights name of {spec.backbone}",
                init.weights,
                f"Known: {', '.join(sorted(names)) or 'none; use init.source: upstream'}.",
            )
        )
    try:
        state: Mapping[str, Tensor] = names[init.weights].get_state_dict(
            progress=False, check_hash=True
        )
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


def _file_state(init: InitSpec) -> Mapping[str, Tensor]:
    path = Path(init.weights or "")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise SpecError(
            explain(
                f"init.weights {path}",
                "must be a file of tensors that loads without running code",
                f"{type(error).__name__}: {error}".splitlines()[0],
                "Save it with torch.save(model.state_dict(), path).",
            )
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SpecError(
            explain(
                f"init.weights {path}",
                "must hold a state dict (name -> tensor)",
                type(state).__name__,
                "Save it with torch.save(model.state_dict(), path).",
            )
        )
    return state
