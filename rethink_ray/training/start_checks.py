"""Loads every file of weights of a study once, and compares it with the networks that need it.

``doctor`` and the start of ``run`` do this. A trial that needs a file may begin hours later. The
networks are built without content, so this takes about as long as reading the files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.own_network import OwnNetwork, build_own_network
from rethink_ray.detection.tensor_files import holds_detector, read_state_dict
from rethink_ray.detection.weights import find_cached_file, require_fitting_file
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import FOR_ANY, SIDES
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.weight_files import INIT_PATHS
from rethink_ray.training.teacher_files import require_fitting_teacher

NETWORK_PATHS = ("detector.family", "detector.backbone", "detector.width", "detector.norm")
"""Recipe paths that decide the names and shapes of the tensors that a file fills."""
ANY_CLASS_COUNT = 1
"""Of classes: rows of classes are never taken from a file."""


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
        """What decides the tensors that the file must have."""
        if self.is_teacher:
            return (self.recipe.model_dump_json(),)
        return _network_of(self.recipe)


def list_file_uses(study: Study, where: str) -> Mapping[Path, Sequence[FileUse]]:
    """File -> the networks that the study's runs and teachers build from it.

    Weights of torchvision are among them if they are on this machine already.
    """
    uses: dict[Path, dict[tuple[object, ...], FileUse]] = {}
    for use in _find_uses(study, where):
        uses.setdefault(use.path, {}).setdefault(use.network, use)
    return {path: [*of_file.values()] for path, of_file in uses.items()}


def _find_uses(study: Study, where: str) -> Iterator[FileUse]:
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*INIT_PATHS, *NETWORK_PATHS)):
            named = recipe.init.weights or ""
            key = f"{where}: {cell.name}: init.weights {named}"
            if recipe.init.source == "file":
                yield FileUse(path=Path(named), where=key, recipe=recipe)
            elif recipe.init.source == "torchvision":
                cached = find_cached_file(recipe.detector.backbone, named)
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
    """The tensors of one file, which fits every network that is built from it.

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
        if is_own(use.recipe.detector.family):
            build_without_content(use.recipe.detector).require_fitting(state, use.where)
            continue
        with torch.device("meta"):
            backbone = build_backbone(use.recipe.detector)
        require_fitting_file(backbone, state, use.where)
    return state


def require_fitting_weights(study: Study, where: str) -> tuple[str, ...]:
    """Every file of weights fits the networks of its runs; returns those that hold a detector.

    Raises:
        SpecError, DataError: as ``load_once``.
    """
    uses = list_file_uses(study, where)
    return tuple(
        str(path) for path, of_file in uses.items() if holds_detector(load_once(study, of_file))
    )


def require_buildable(study: Study, where: str) -> None:
    """Every backbone and detector of other code can be built, as its runs will build it.

    Raises:
        SpecError: it cannot be imported or built, or breaks a rule of ``detection.plugins`` or
            ``detection.own_network``; it does not read a setting, or cannot share a batch.
    """
    built: set[tuple[object, ...]] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*NETWORK_PATHS, "init.frozen")):
            detector, network = recipe.detector, _network_of(recipe)
            if is_own(detector.family):
                network = (*network, recipe.init.frozen, cell.arm)
            elif not is_own(detector.backbone):
                continue
            if network in built:
                continue
            built.add(network)
            try:
                if is_own(detector.family):
                    _require_usable(build_without_content(detector), recipe, study, cell)
                    continue
                with torch.device("meta"):
                    build_backbone(detector)
            except SpecError as error:
                raise error.within(f"{where}: {cell.name}") from None


def build_without_content(detector: DetectorSpec) -> OwnNetwork:
    """A detector of other code on ``meta``, or allocated if its code needs numbers."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build_own_network(detector, ANY_CLASS_COUNT)
        except SpecError:
            return build_own_network(detector, ANY_CLASS_COUNT)


def _require_usable(network: OwnNetwork, recipe: Recipe, study: Study, cell: Cell) -> None:
    """The detector reads what the study sets for it, has a backbone to freeze, and can share
    batches if it has to."""
    network.freeze(recipe.init.frozen)
    num_workers, at_once = max(study.resources.workers, 1), study.resources.images_per_step
    share = recipe.batch_size // num_workers
    network.require_whole_batches(num_workers, is_cut=(at_once or share) < share)
    usual = (build_recipe(study.recipe).detector, DetectorSpec())
    space = space_of(study, cell)
    for key in sorted(FOR_ANY - SIDES - network.keys_read):
        is_set = getattr(recipe.detector, key) not in {getattr(one, key) for one in usual}
        if is_set or f"detector.{key}" in space:
            must = f"must be left out: {network.family} does not read it"
            came = getattr(recipe.detector, key)
            raise SpecError(explain(f"detector.{key}", must, came, "Remove it."))


def _network_of(recipe: Recipe) -> tuple[object, ...]:
    """The values at ``NETWORK_PATHS``."""
    return (
        recipe.detector.family,
        recipe.detector.backbone,
        recipe.detector.width,
        recipe.detector.norm,
    )
