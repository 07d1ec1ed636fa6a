"""The files of weights and labels that a study names: the ids of its trials cover their content."""

from collections.abc import Iterator
from pathlib import Path

from rethink_ray.spec.detector_weights import find_detector_origin, starts_from_file
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import has_timm_tag, is_own
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.weight_keys import FROM_HUB, weights_key

INIT_PATHS = ("init.source", "init.weights")
START_PATHS = (*INIT_PATHS, "init.input", "detector.backbone", "detector.family")
LABEL_PATHS = ("labels.kind", "labels.file")
OURS = b"rethink-ray checkpoint "
"""The first bytes of our files: a line with a checksum; the output of ``torch.save`` follows."""
STATE_THE_INPUT = (
    "Write init.input: imagenet if the file has torchvision's mean and deviation, as most have; or "
    "{mean: [...], std: [...], order: rgb or bgr, scale: 1 or 255}"
)
"""The remedy where the file of a whole detector does not say how its pixels are normalised."""
STATE_THE_INPUT_OR_A_TAG = (
    f"{STATE_THE_INPUT}; weights of timm are known by detector.backbone: timm:<name>.<tag>."
)
"""The same for the file of a backbone, which a tag of timm can name."""


def weight_files_of(study: Study, where: str) -> dict[str, str]:
    """Path, as the study spells it, -> the key that names it first, for errors.

    They are the files of ``init.source: file`` and ``detector``, for every recipe that the search
    can reach, and those of teachers.
    """
    keys: dict[str, str] = {}
    for cell in cells_of(study):
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), INIT_PATHS
        ):
            if starts_from_file(recipe.init) and recipe.init.weights:
                keys.setdefault(recipe.init.weights, f"{where}: {cell.name}: init.weights")
        teacher = study.arms[cell.arm].teacher
        if isinstance(teacher, TeacherFile):
            keys.setdefault(teacher.file, f"{where}: arms.{cell.arm}.teacher.file")
    return keys


def label_files_of(study: Study, where: str) -> dict[str, str]:
    """Path of each file of imported labels, as the study spells it, -> the key that names it first,
    for errors."""
    keys: dict[str, str] = {}
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, LABEL_PATHS):
            if recipe.labels.kind == "imported" and recipe.labels.file:
                keys.setdefault(recipe.labels.file, f"{where}: {cell.name}: labels.file")
    return keys


def hub_weights_of(study: Study, where: str) -> dict[str, tuple[Recipe, str]]:
    """Name of each download of a hub -> a recipe that starts from it, and its key in the study."""
    named: dict[str, tuple[Recipe, str]] = {}
    for cell_name, recipe in list_starts(study):
        if recipe.init.source in FROM_HUB:
            key = f"{where}: {cell_name}: init.weights"
            named.setdefault(weights_key(recipe.init, recipe.detector.backbone), (recipe, key))
    return named


def states_known_input(study: Study) -> bool:
    """Whether any run states the input of weights that also say it themselves."""
    return any(
        recipe.init.input is not None
        and (
            recipe.init.source in FROM_HUB | {"torchvision"}
            or find_detector_origin(recipe.init) == "torchvision"
            or (recipe.init.source == "file" and has_timm_tag(recipe.detector.backbone))
        )
        for _, recipe in list_starts(study)
    )


def list_starts(study: Study) -> Iterator[tuple[str, Recipe]]:
    """Yields a cell's name with each recipe that it can reach, once for each combination of
    ``START_PATHS``."""
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, START_PATHS):
            yield cell.name, recipe


def loads_weights(study: Study) -> bool:
    """Whether any run starts from weights that were trained elsewhere, or has such a teacher."""
    return any(
        isinstance(study.arms[cell.arm].teacher, TeacherFile)
        or any(
            recipe.init.source in FROM_HUB | {"file", "torchvision", "detector"}
            for recipe in reachable_recipes(
                base_recipe(study, cell), space_of(study, cell), ("init.source",)
            )
        )
        for cell in cells_of(study)
    )


def require_known_inputs(study: Study, where: str) -> None:
    """Every file of weights that a run can start from has a known ``init.input``.

    A file that is not there yet is passed over: no run starts without it.

    Raises:
        SpecError: names the first file whose origin and recipe say nothing.
    """
    for cell_name, recipe in list_starts(study):
        path, is_stated = recipe.init.weights or "", recipe.init.input is not None
        detector = recipe.detector
        has_tag = recipe.init.source == "file" and has_timm_tag(detector.backbone)
        is_known = has_tag or is_own(detector.family)
        if not starts_from_file(recipe.init) or is_stated or is_known:
            continue
        if Path(path).is_file() and not is_ours(path):
            key = f"{where}: {cell_name}: init.input"
            must = f"must say how the pixels of {path} are normalised"
            is_whole = recipe.init.source == "detector"
            remedy = f"{STATE_THE_INPUT}." if is_whole else STATE_THE_INPUT_OR_A_TAG
            raise SpecError(explain(key, must, None, remedy))


def is_ours(path: str) -> bool:
    """Whether this program wrote the file: its models carry their input."""
    with Path(path).open("rb") as file:
        return file.read(len(OURS)) == OURS
