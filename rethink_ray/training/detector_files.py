"""Whole detectors that a run starts from: by torchvision's name, or from a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.detector_start import KeptClasses
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.foreign_names import convert_foreign
from rethink_ray.detection.learned_detectors import (
    LearnedDetector,
    OutputNames,
    load_published_detector,
    require_fitting_learned,
)
from rethink_ray.detection.pixel_norm import input_of_model, is_pixel_norm, require_stated_input
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.spec.detector_weights import find_detector_origin
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.checkpoint import Damaged, load_checkpoint


def load_learned_detector(recipe: Recipe) -> LearnedDetector:
    """The detector that ``init.weights`` names: torchvision's, or one in a file.

    Raises:
        SpecError: it cannot be read or downloaded.
    """
    name = recipe.init.weights or ""
    where = f"init.weights {name}"
    if find_detector_origin(recipe.init) == "torchvision":
        return load_published_detector(recipe.detector, name, where)
    return read_detector_file(Path(name), where, recipe.init.input)


def read_detector_file(path: Path, where: str, stated: InputSpec | None = None) -> LearnedDetector:
    """The detector in a file of ours, of torchvision, detectron2 or mmdetection.

    Args:
        path: the file.
        where: the beginning of error messages.
        stated: ``init.input``.

    Raises:
        SpecError: the file cannot be read, is damaged, or holds no whole detector; or its ResNet is
            another one by its input.
    """
    try:
        content = load_checkpoint(path)
    except Damaged:
        state, categories = convert_foreign(read_state_dict(path, where), where, stated)
        return LearnedDetector(state=state, categories=categories)
    return name_outputs(content, where)


def name_outputs(content: Mapping[str, Any], where: str) -> LearnedDetector:
    """The detector in the content of a file of ours, with the names that the file states.

    Raises:
        SpecError: it holds something else.
    """
    if not isinstance(content.get("model"), dict):
        must = "must hold a whole detector"
        remedy = "Such as export --weights writes."
        raise SpecError(explain(where, must, ", ".join(content), remedy))
    return LearnedDetector(
        state=content["model"],
        categories=content.get("categories"),
        keypoints=content.get("keypoints"),
    )


def output_names_of(data: DataSpec) -> OutputNames:
    """What a detector of this data set finds.

    Raises:
        DataError: the data set cannot be read.
    """
    train = open_split(data, "train")
    return OutputNames(categories=train.categories, keypoints=train.keypoint_names)


def require_fitting_detector_file(
    learned: LearnedDetector, recipe: Recipe, names: OutputNames, where: str
) -> KeptClasses:
    """Compares a trained detector with the one that starts from it, which is never allocated.

    Returns what the run will keep.

    Raises:
        SpecError: names, shapes or the input of the pixels differ, or a tensor is not finite.
    """
    with torch.device("meta"):
        detector = build_detector(recipe.detector, InitSpec(), len(names.categories), seed=0)
    needed = detector.state_dict()
    kept = require_fitting_learned(needed, learned, names, recipe.init.keep_classes, where)
    require_carried_input(learned.state, recipe, f"{where}: init.input")
    return kept


def require_carried_input(state: Mapping[str, Tensor], recipe: Recipe, where: str) -> None:
    """Raises ``SpecError`` if a detector carries another input than the recipe states."""
    if any(map(is_pixel_norm, state)):
        require_stated_input(input_of_model(state), recipe.init.input, where)


def list_kept(kept: KeptClasses, categories: Sequence[str]) -> str:
    """What a run keeps of a trained detector, in words: ``12 of 20 categories: aeroplane, ...``."""
    names = [
        name if kept.categories[name] == name else f"{name} (as {kept.categories[name]})"
        for name in categories
        if name in kept.categories
    ]
    text = f"keeps the rows of {len(names)} of {len(categories)} categories"
    if names:
        text += f" ({', '.join(names)})"
    if kept.keypoints:
        text += f" and of {len(kept.keypoints)} keypoints"
    return text
