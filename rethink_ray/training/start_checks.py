"""Loads every file of weights of a study once, and compares it with the networks that need it.

``plan``, ``doctor`` and the start of ``run`` do this. A trial that needs a file may begin hours
later. The networks are built without content, so this takes about as long as reading the files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.tensor_files import holds_detector, read_state_dict
from rethink_ray.detection.weights import (
    find_cached_file,
    require_fitting_file,
    require_fitting_names,
)
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.weight_files import INIT_PATHS
from rethink_ray.training.teacher_files import require_fitting_teacher

NETWORK_PATHS = ("detector.backbone", "detector.width", "detector.norm")
"""Recipe paths that decide the names and shapes of a backbone's tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUse:
    """One network that takes its weights from a file."""

    path: Path
    where: str
    """The key that names the file, and the file: the beginning of error messages."""
    recipe: Recipe
    is_teacher: bool = False
    """Whether the file fills the whole detector, not its backbone alone."""

    @property
    def network(self) -> tuple[object, ...]:
        """The parts of the recipe that decide which tensors the file must have."""
        if self.is_teacher:
            return (self.recipe.model_dump_json(),)
        return _network_of(self.recipe)


def list_file_uses(study: Study, where: str) -> Mapping[Path, Sequence[FileUse]]:
    """Returns file -> the networks that the study's runs and teachers build from it.

    Files of torchvision's weights are among them if they are on this machine already.
    """
    uses: dict[Path, dict[tuple[object, ...], FileUse]] = {}
    for use in _find_uses(study, where):
        uses.setdefault(use.path, {}).setdefault(use.network, use)
    return {path: [*by_network.values()] for path, by_network in uses.items()}


def _find_uses(study: Study, where: str) -> Iterator[FileUse]:
    """Yields every use of a file, also of networks that several cells build."""
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*INIT_PATHS, *NETWORK_PATHS)):
            weights = recipe.init.weights or ""
            key = f"{where}: {cell.name}: init.weights {weights}"
            if recipe.init.source == "file":
                yield FileUse(path=Path(weights), where=key, recipe=recipe)
            elif recipe.init.source == "torchvision":
                cached = find_cached_file(recipe.detector.backbone, weights)
                if cached is not None:
                    yield FileUse(path=cached, where=key, recipe=recipe)
        teacher = study.arms[cell.arm].teacher
        if isinstance(teacher, TeacherFile):
            key = f"{where}: arms.{cell.arm}.teacher {teacher.file}"
            yield FileUse(
                path=Path(teacher.file),
                where=key,
                recipe=recipe_of_file(study, cell),
                is_teacher=True,
            )


def load_once(study: Study, uses: Sequence[FileUse]) -> Mapping[str, Tensor]:
    """Returns the tensors of one file, which fits every network that is built from it.

    Args:
        study: the study.
        uses: the networks that take this file, at least one.

    Raises:
        SpecError: the file cannot be read, does not fit one of the networks, or holds a NaN.
        DataError: the data set, whose categories a teacher must know, cannot be read.
    """
    state: Mapping[str, Tensor] = {}
    for use in uses:
        if use.is_teacher:
            categories = open_split(study.data, "train").categories
            state = require_fitting_teacher(use.path, use.recipe, categories, use.where)
            continue
        state = state or read_state_dict(use.path, use.where)
        with torch.device("meta"):
            backbone = build_backbone(use.recipe.detector)
        require_fitting_file(backbone, state, use.where)
    return state


def require_fitting_weights(
    study: Study, where: str, *, may_be_missing: bool = False
) -> tuple[str, ...]:
    """Every file of weights fits the networks of its runs; returns those that hold a detector.

    Args:
        study: the study.
        where: its file, for error messages.
        may_be_missing: true to skip files that are not there yet, and backbones of other code.

    Raises:
        SpecError, DataError: as ``load_once``.
    """
    require_fitting_downloads(study, where)
    detector_files = []
    for path, uses in list_file_uses(study, where).items():
        if may_be_missing:
            uses = [use for use in uses if not is_own(use.recipe.detector.backbone)]
            if not path.is_file() or not uses:
                continue
        if holds_detector(load_once(study, uses)):
            detector_files.append(str(path))
    return tuple(detector_files)


def require_fitting_downloads(study: Study, where: str) -> None:
    """torchvision's weights that are still to be downloaded fit the networks of their runs.

    ``require_fitting_weights`` compares those on this machine by their files.

    Raises:
        SpecError: names and shapes of the weights are not those of the network.
    """
    fitting: set[tuple[object, ...]] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*INIT_PATHS, *NETWORK_PATHS)):
            spec, weights = recipe.detector, recipe.init.weights
            if recipe.init.source != "torchvision" or _network_of(recipe) in fitting:
                continue
            if find_cached_file(spec.backbone, weights) is None:
                with torch.device("meta"):
                    backbone = build_backbone(spec)
                key = f"{where}: {cell.name}: init.weights {weights}"
                require_fitting_names(backbone, spec, key)
                fitting.add(_network_of(recipe))


def require_buildable(study: Study, where: str) -> None:
    """Every backbone of other code can be built in the way in which its runs will build it.

    Raises:
        SpecError: it cannot be imported or built, or breaks a rule of ``detection.plugins``.
    """
    built: set[tuple[object, ...]] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, NETWORK_PATHS):
            network = _network_of(recipe)
            if not is_own(recipe.detector.backbone) or network in built:
                continue
            built.add(network)
            try:
                with torch.device("meta"):
                    build_backbone(recipe.detector)
            except SpecError as error:
                raise error.within(f"{where}: {cell.name}") from None


def _network_of(recipe: Recipe) -> tuple[object, ...]:
    """Returns the values at ``NETWORK_PATHS``."""
    return (recipe.detector.backbone, recipe.detector.width, recipe.detector.norm)
