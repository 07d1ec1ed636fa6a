"""Detectors from files that have probably learned from the images that the search selects on."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import listed
from rethink_ray.spec.detector_weights import find_detector_origin, starts_from_file
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.regime import DataSpec, HoldoutSpec
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.weight_files import INIT_PATHS

COCO_TRAIN = "train2017"
"""The folder of COCO's training images, which published detectors learn from."""


def find_seen_holdout(study: Study, facts: DataFacts) -> Iterator[Caveat]:
    """Yields a caveat for each regime and arm whose runs start or learn from a detector in a file.

    Only hold-outs cut from COCO's train are checked: published COCO detectors learned from all of
    its images.
    """
    if not _name_uses(study.data) or not _is_coco(study.data):
        return
    for regime in study.regimes:
        for arm in study.arms:
            files = tuple(dict.fromkeys(_detector_files(study, facts, Cell(regime, arm))))
            if files:
                yield Caveat(
                    key=f"seen-holdout:{regime}/{arm}",
                    regime=regime,
                    arm=arm,
                    text=f"{regime}/{arm}: {_format_caveat(study, files)}",
                )


def _format_caveat(study: Study, files: tuple[str, ...]) -> str:
    """Returns why scores on the hold-out are too high, with the names of the detectors' files."""
    text = (
        f"we cannot check what {listed(files)} was trained on. A COCO detector has learned from "
        f"all of {COCO_TRAIN}, and so from {_name_uses(study.data)}: its scores there are too "
        "high, and it may choose other values than it would on new images."
    )
    if study.data.dataset == "lvis":
        return f"{text} Most images of LVIS's val are of {COCO_TRAIN} too."
    return text


def _name_uses(data: DataSpec) -> str:
    """Returns in words which hold-outs are cut from train; empty without one."""
    selects, reports = (isinstance(key, HoldoutSpec) for key in (data.select_on, data.report_on))
    words = [
        *(["the hold-out that the search selects on"] if selects else []),
        *(["the hold-out that findings are scored on"] if reports else []),
    ]
    return " and from ".join(words)


def _is_coco(data: DataSpec) -> bool:
    """Whether the training images are COCO's: by name, or by their folder."""
    if isinstance(data.dataset, Mapping):
        return PurePath(data.dataset["train"].images).name == COCO_TRAIN
    return data.dataset in ("coco", "lvis")


def _detector_files(study: Study, facts: DataFacts, cell: Cell) -> Iterator[str]:
    """Files of detectors that a cell's runs start from or learn from, its teacher's included."""
    teacher = study.arms[cell.arm].teacher
    if isinstance(teacher, TeacherFile):
        yield teacher.file
    elif teacher is not None:
        yield from _detector_files(study, facts, cell.of_arm(teacher))
    recipes = reachable_recipes(base_recipe(study, cell), space_of(study, cell), INIT_PATHS)
    for recipe in recipes:
        init = recipe.init
        is_file = starts_from_file(init) and init.weights in facts.detector_files
        if init.weights and (is_file or find_detector_origin(init) == "torchvision"):
            yield init.weights
