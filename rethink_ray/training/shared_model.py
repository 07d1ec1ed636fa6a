"""A model as others can use it: ``model.safetensors`` with ``card.json``, and back.

The file holds a plain state dict, which any program reads; ``model.pt``, in which a run leaves its
model, begins with a checksum and is read by this program alone.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as pack_tensors
from torch import Tensor

from rethink_ray.data.levels import LevelRange
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.foreign import rename_to_ours
from rethink_ray.detection.hub_weights import HubWeights
from rethink_ray.detection.pixel_norm import is_pixel_norm
from rethink_ray.detection.published_weights import find_published
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.detection.torchvision_names import (
    choose_names,
    find_first_label,
    rename_to_torchvision,
)
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.card import (
    BASE_LICENCE,
    MODEL_CARD,
    TENSOR_FILE,
    CardInput,
    ModelCard,
    has_own_start_only,
    read_card,
    render_card,
    say_start,
)
from rethink_ray.spec.errors import RecordError, SpecError, explain
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import network_in_words
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.model_files import TrainedModel, build_trained

MADE_BY = {"made_by": "rethink-ray", "format": "pt"}
"""Header of our safetensors files: ``format`` is what torch's readers look for."""


def describe_model(model: TrainedModel, versions: Mapping[str, str]) -> ModelCard:
    """The card of a model without its scores, which its run or its study knows."""
    config = model.config
    spec = config.recipe.detector
    return ModelCard(
        made_by=f"rethink-ray {versions.get('rethink-ray', '')}".rstrip(),
        network=network_in_words(spec.family, spec.backbone),
        classes=model.categories,
        torchvision_first_label=find_first_label(spec),
        tensor_names=choose_names(spec),
        input=_describe_input(model.detector, config),
        level_ranges={
            kind: (scale.lowest, scale.highest) for kind, scale in model.level_ranges.items()
        },
        keypoints=model.keypoints,
        start=say_start(config),
        licence=_find_licence(config),
        length=model.length,
        trial_id=config.trial_id,
        versions=dict(versions),
        config=config,
    )


def _describe_input(detector: Detector, config: TrialConfig) -> CardInput:
    spec, pixels = config.recipe.detector, detector.pixel_norm.read_input()
    is_other_code = is_own(spec.family)
    return CardInput(
        mean=pixels.mean,
        std=pixels.std,
        order=pixels.order,
        min_side_px=spec.min_side_px,
        max_side_px=spec.max_side_px,
        resize="by the detector" if is_other_code else "bilinear, antialiased",
        pad_to_multiple_px=1 if is_other_code else 32,
    )


def _find_licence(config: TrialConfig) -> str:
    """What binds the user of weights that start from others' weights, as far as it is known."""
    if has_own_start_only(config):
        return BASE_LICENCE
    init = config.recipe.init
    try:
        published = find_published(config.recipe.detector, init)
    except SpecError:  # a library that knows it is not installed here
        published = None
    licence = published.read_licence() if isinstance(published, HubWeights) else None
    named = f"{init.source} {init.weights}" if init.weights else "the teacher's file"
    return f"{licence} ({named})" if licence else f"not known here: that of {named}"


def write_shared(model: TrainedModel, card: ModelCard, folder: Path) -> Path:
    """``folder`` holds the tensors as safetensors, under the names that the card states."""
    state = {name: value.cpu().contiguous() for name, value in model.detector.state_dict().items()}
    if card.tensor_names == "torchvision":
        state = rename_to_torchvision(state)
    write_atomically(folder / TENSOR_FILE, pack_tensors(_without_sharing(state), MADE_BY))
    return folder / TENSOR_FILE


def write_model_card(card: ModelCard, folder: Path) -> Path:
    """``folder`` holds the card."""
    write_atomically(folder / MODEL_CARD, render_card(card))
    return folder / MODEL_CARD


def _without_sharing(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies tensors that share their memory, such as tied heads, which the format refuses."""
    seen: set[int] = set()
    separate = {}
    for name, value in state.items():
        address = value.untyped_storage().data_ptr()
        separate[name] = value.clone() if address in seen else value
        seen.add(address)
    return separate


def read_shared(folder: Path) -> TrainedModel:
    """The model of ``model.safetensors`` and ``card.json`` in a folder.

    Raises:
        RecordError: there is no card, or the tensors are not those of its network.
    """
    card = read_card(folder)
    path = folder / TENSOR_FILE
    if card is None:
        must, remedy = f"must lie beside {MODEL_CARD}", "Export the model again."
        raise RecordError(explain(str(path), must, "no such file", remedy))
    pixels = InputSpec(mean=card.input.mean, std=card.input.std, order=card.input.order)

    def load(detector: Detector) -> None:
        ours = detector.state_dict()
        state = rename_to_ours(read_state_dict(path, str(path)), ours)
        if not any(map(is_pixel_norm, state)):
            detector.pixel_norm.set_input(pixels)
        load_whole_detector(detector, state, str(path))

    ranges = {
        kind: LevelRange(lowest=lowest, highest=highest)
        for kind, (lowest, highest) in card.level_ranges.items()
    }
    with torch.no_grad():
        return build_trained(
            card.config,
            load,
            length=card.length,
            categories=card.classes,
            keypoints=card.keypoints,
            level_ranges=ranges,
        )
