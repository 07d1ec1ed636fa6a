"""Loads every file of weights of a study once, and compares it with the networks that need it.

``plan``, ``doctor`` and the start of ``run`` do this. A trial that needs a file may begin hours
later. The networks are built without content, so this takes about as long as reading the files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.data.splits import open_split
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.detector_start import KeptClasses
from rethink_ray.detection.hub_weights import HubWeights
from rethink_ray.detection.learned_detectors import LearnedDetector
from rethink_ray.detection.necks import require_fitting_neck
from rethink_ray.detection.own_network import OwnNetwork, build_without_content
from rethink_ray.detection.plugins import require_known_timm_name
from rethink_ray.detection.published_weights import PublishedWeights, find_published
from rethink_ray.detection.tensor_files import holds_detector, read_state_dict
from rethink_ray.detection.weights import require_fitting_file, require_fitting_names
from rethink_ray.spec.backbone_code import own_backbones_of
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.detector_weights import starts_from_file
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import TIMM, is_own
from rethink_ray.spec.own_families import FOR_ANY, SIDES
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.settings import value_at
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.weight_files import INIT_PATHS
from rethink_ray.training.detector_files import (
    list_kept,
    load_learned_detector,
    output_names_of,
    read_detector_file,
    require_fitting_detector_file,
)
from rethink_ray.training.teacher_files import require_fitting_teacher

NETWORK_PATHS = ("detector.family", "detector.backbone", "detector.width", "detector.norm")
"""Recipe paths that decide the names and shapes of the tensors that a file fills."""
ANY_CLASS_COUNT = 1
"""Of classes: rows of classes are never taken from a file."""
BUILDING_PATHS = ("detector.neck", "init.frozen", "optimizer.backbone_rate")
"""Recipe paths that need a backbone of a certain kind, or one that the detector names at all."""
SHAPE_PATHS = (
    *NETWORK_PATHS,
    *("detector.head_norm", "detector.adapters", "detector.neck"),
    *("detector.neck_repeats", "detector.neck_merge", "detector.neck_channels"),
    *("detector.p6_from", "detector.head_convs", "detector.box_head"),
    *("detector.box_head_features", "detector.cascade_ious", "detector.cascade_class_agnostic"),
    *("detector.mask_head_convs", "detector.mask_head_channels"),
    *("detector.keypoint_head_convs", "detector.keypoint_head_channels"),
    *("detector.num_keypoints", "detector.neck_norm", "detector.rpn_convs"),
)
"""Recipe paths that decide the names and shapes of a whole detector's tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUse:
    """One network that takes its weights from a file."""

    path: Path
    where: str
    """The key that names the file, and the file: the beginning of error messages."""
    recipe: Recipe
    is_teacher: bool = False
    """Whether a teacher's whole detector is in the file."""
    published: PublishedWeights | None = None
    """The weights that a library keeps in the file; ``None``: a file of the study."""

    @property
    def is_whole(self) -> bool:
        """Whether a run starts from the whole detector in the file, not from its backbone alone."""
        return not self.is_teacher and self.recipe.init.source == "detector"

    @property
    def has_other_code(self) -> bool:
        """Whether backbone or detector are built by code that is not ours."""
        detector = self.recipe.detector
        return is_own(detector.backbone) or is_own(detector.family)

    @property
    def network(self) -> tuple[object, ...]:
        """The parts of the recipe that decide which tensors the file must have."""
        if self.is_teacher or self.is_whole:
            return (self.recipe.model_dump_json(include={"detector", "init"}), self.is_teacher)
        return _network_of(self.recipe)


def list_file_uses(study: Study, where: str) -> Mapping[Path, Sequence[FileUse]]:
    """File -> the networks that the study's runs and teachers build from it.

    Published weights are among them if they are on this machine already.

    Raises:
        SpecError: there are no published weights of a name, or a library is not installed.
    """
    uses: dict[Path, dict[tuple[object, ...], FileUse]] = {}
    for use in _find_uses(study, where):
        uses.setdefault(use.path, {}).setdefault(use.network, use)
    return {path: [*of_file.values()] for path, of_file in uses.items()}


def _find_uses(study: Study, where: str) -> Iterator[FileUse]:
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        starts = {
            r.init.source for r in reachable_recipes(base, space, (*INIT_PATHS, *NETWORK_PATHS))
        }
        paths = SHAPE_PATHS if "detector" in starts else NETWORK_PATHS
        for recipe in reachable_recipes(base, space, (*INIT_PATHS, *paths)):
            weights = recipe.init.weights or ""
            key = f"{where}: {cell.name}: init.weights {weights}"
            if starts_from_file(recipe.init):
                yield FileUse(path=Path(weights), where=key, recipe=recipe)
                continue
            published = find_published(recipe.detector, recipe.init)
            if published is not None and (cached := published.find()) is not None:
                yield FileUse(path=cached, where=key, recipe=recipe, published=published)
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

    A whole detector of another library is renamed; a backbone is compared with the file's own
    names, under which its run reads it.

    Raises:
        SpecError: the file cannot be read, does not fit one of the networks, or holds a NaN.
        DataError: the data set, whose categories a teacher must know, cannot be read.
    """
    state: Mapping[str, Tensor] = {}
    in_file: Mapping[str, Tensor] = {}
    for learned, _ in _compare_whole_detectors(study, uses):
        state = learned.state
    for use in uses:
        if use.is_teacher:
            categories = open_split(study.data, "train").categories
            state = require_fitting_teacher(use.path, use.recipe, categories, use.where)
        elif not use.is_whole:
            in_file = in_file or read_state_dict(use.path, use.where)
            _require_fitting_network(use, in_file)
    return state or in_file


def _require_fitting_network(use: FileUse, state: Mapping[str, Tensor]) -> None:
    """Refuses a file that does not fill a backbone of ours, or a detector of other code."""
    detector = use.recipe.detector
    if is_own(detector.family):
        build_without_content(detector, ANY_CLASS_COUNT).require_fitting(state, use.where)
        return
    with torch.device("meta"):
        backbone = build_backbone(detector)
    require_fitting_file(backbone, state, use.where)


def _compare_whole_detectors(
    study: Study, uses: Sequence[FileUse]
) -> Iterator[tuple[LearnedDetector, KeptClasses]]:
    """Yields the whole detector in a file for each run that starts from it, and what it keeps.

    The file is read once for each ``init.input``, which decides whether it is refused.
    """
    learned: dict[InputSpec | None, LearnedDetector] = {}
    for use in uses:
        if use.is_whole:
            stated = use.recipe.init.input
            if stated not in learned:
                learned[stated] = _read_detector(use)
            names = output_names_of(study.data)
            kept = require_fitting_detector_file(learned[stated], use.recipe, names, use.where)
            yield learned[stated], kept


def _read_detector(use: FileUse) -> LearnedDetector:
    """Returns the detector in a file, with the names of its outputs."""
    if use.published is not None:
        return load_learned_detector(use.recipe)
    return read_detector_file(use.path, use.where, use.recipe.init.input)


def list_kept_rows(study: Study, uses: Sequence[FileUse]) -> str:
    """What the runs keep of the whole detector in a file, in words; empty if none starts from it.

    Raises:
        SpecError, DataError: as ``load_once``.
    """
    texts = {
        list_kept(kept, output_names_of(study.data).categories): None
        for _, kept in _compare_whole_detectors(study, uses)
    }
    return "; ".join(texts)


def digest_of_use(use: FileUse, where: str) -> str:
    """The digest by which ids know the file; ``where`` is the key that names it.

    Raises:
        SpecError, DataError: it cannot be read.
    """
    if isinstance(use.published, HubWeights):
        return use.published.compute_digest(where)
    return digest_of_file(str(use.path), where)


def require_fitting_weights(
    study: Study, where: str, *, may_be_missing: bool = False
) -> tuple[str, ...]:
    """Every file of weights fits the networks of its runs; returns those that hold a detector.

    Args:
        study: the study.
        where: its file, for errors.
        may_be_missing: passes over files that are not there yet, and networks of other code.

    Raises:
        SpecError, DataError: as ``load_once``.
    """
    require_fitting_downloads(study, where)
    with_detector = []
    for path, of_file in list_file_uses(study, where).items():
        if may_be_missing:
            of_file = [use for use in of_file if not use.has_other_code]
            if not path.is_file() or not of_file:
                continue
        is_of_own_family = any(is_own(use.recipe.detector.family) for use in of_file)
        if holds_detector(load_once(study, of_file)) or is_of_own_family:
            with_detector.append(str(path))
    return tuple(with_detector)


def require_fitting_downloads(study: Study, where: str) -> None:
    """torchvision's weights fit the networks of their runs; those on this machine are left out.

    Raises:
        SpecError: names and shapes of the weights are not those of the network.
    """
    fitting: set[tuple[object, ...]] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*INIT_PATHS, *NETWORK_PATHS)):
            spec, named = recipe.detector, recipe.init.weights
            if recipe.init.source != "torchvision" or _network_of(recipe) in fitting:
                continue
            weights = find_published(spec, recipe.init)
            if weights is not None and weights.find() is None:
                with torch.device("meta"):
                    backbone = build_backbone(spec)
                require_fitting_names(backbone, spec, f"{where}: {cell.name}: init.weights {named}")
                fitting.add(_network_of(recipe))


def require_known_timm_names(study: Study, where: str) -> None:
    """Every backbone of timm that a run can have is one that timm knows; none is built.

    Raises:
        SpecError: with the nearest names.
    """
    for name, key in own_backbones_of(study, where).items():
        if name.startswith(TIMM):
            require_known_timm_name(name, key)


def require_buildable(study: Study, where: str) -> None:
    """Every backbone and detector of other code can be built and used as its runs will do it.

    Raises:
        SpecError: it cannot be imported or built, or breaks a rule of ``detection.plugins`` or
            ``detection.own_network``; a backbone has another kind of maps than ``detector.neck``
            needs; a detector does not read a setting, or cannot share a batch.
    """
    built: set[tuple[object, ...]] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, (*NETWORK_PATHS, *BUILDING_PATHS)):
            detector = recipe.detector
            network = (*_network_of(recipe), *(value_at(recipe, path) for path in BUILDING_PATHS))
            if is_own(detector.family):
                network = (*network, cell.arm)
            elif not is_own(detector.backbone):
                continue
            if network in built:
                continue
            built.add(network)
            try:
                if is_own(detector.family):
                    other = build_without_content(detector, ANY_CLASS_COUNT)
                    _require_usable(other, recipe, study, cell)
                    continue
                with torch.device("meta"):
                    require_fitting_neck(detector, build_backbone(detector))
            except SpecError as error:
                raise error.within(f"{where}: {cell.name}") from None


def _require_usable(network: OwnNetwork, recipe: Recipe, study: Study, cell: Cell) -> None:
    """The detector reads what the study sets for it, has a backbone to freeze or to slow down, and
    can share batches if it has to."""
    network.freeze(recipe.init.frozen)
    resources = study.resources
    network.require_usable(recipe, max(resources.workers, 1), resources.images_per_step)
    usual = (build_recipe(study.recipe).detector, DetectorSpec())
    space = space_of(study, cell)
    for key in sorted(FOR_ANY - SIDES - network.keys_read):
        is_set = getattr(recipe.detector, key) not in {getattr(one, key) for one in usual}
        if is_set or f"detector.{key}" in space:
            must = f"must be left out: {network.family} does not read it"
            setting = getattr(recipe.detector, key)
            raise SpecError(explain(f"detector.{key}", must, setting, "Remove it."))


def _network_of(recipe: Recipe) -> tuple[object, ...]:
    """Returns the values at ``NETWORK_PATHS``."""
    return tuple(value_at(recipe, path) for path in NETWORK_PATHS)
