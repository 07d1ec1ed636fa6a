"""Records, exported files and models of version 0.1, with the values that were defaults then.

A study file is no record: where it says nothing, it has the defaults of today.
"""

import json
from collections.abc import Mapping
from typing import Any

from rethink_ray.spec.detector import FORMER_KEYS, TWO_STAGE, DetectorSpec
from rethink_ray.spec.older_ids import FIRST_DEFAULTS, FIRST_DIRECT_AUGMENT, YOUNGER_KEYS
from rethink_ray.spec.resolve import cells_of, halve, lengths_of
from rethink_ray.spec.study import Study
from rethink_ray.spec.trial_config import TrialConfig

FIRST_SETTINGS = {"direct.augment.canvas": FIRST_DIRECT_AUGMENT.canvas}
"""Paths that a study could set under identity 1, whose defaults have changed since -> default."""


def fill_first_study(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A study of a record of identity 1, as JSON, whose settings say what its defaults were."""
    return {**tree, "settings": FIRST_SETTINGS | tree.get("settings", {})}


def with_one_round(study: Study) -> Study:
    """A study recorded before rounds of eight: without ``keep`` all trials were one round."""
    if study.budget.keep is not None:
        return study
    num = max(len(lengths_of(study, cell)) for cell in cells_of(study))
    budget = study.budget.model_copy(update={"keep": halve(study.budget.trials, num)})
    return study.model_copy(update={"budget": budget})


def fill_first_config(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration, as JSON, with a value for each key that version 0.1 did not have.

    A key that is there keeps its value, so that younger configurations stay as they are.
    """
    filled = dict(tree)
    filled["recipe"] = {**tree["recipe"], "detector": _fill(tree["recipe"]["detector"])}
    if tree.get("teacher") is not None:
        filled["teacher"] = fill_first_config(tree["teacher"])
    return filled


def with_first_detector(config: TrialConfig) -> TrialConfig:
    """A run that a record of identity 1 resolves to, with the detector that it had then."""
    detector = config.recipe.detector
    tree = detector.model_dump(mode="json", exclude_none=True, exclude={*YOUNGER_KEYS})
    for former, keys in FORMER_KEYS.items():
        value = getattr(detector, keys[0])  # of training, which no default has changed
        tree |= {} if value is None else {former: value}
    first = DetectorSpec.model_validate_json(json.dumps(_fill(tree)))
    recipe = config.recipe.model_copy(update={"detector": first})
    teacher = config.teacher and with_first_detector(config.teacher)
    return config.model_copy(update={"recipe": recipe, "teacher": teacher})


def _fill(detector: Mapping[str, Any]) -> dict[str, Any]:
    """The detector with the values of version 0.1 at the keys that are not there.

    Losses were torchvision's, and the scale of regions followed the anchors.
    """
    family = detector.get("family", "retinanet")
    anchor_base = detector.get("anchor_base_px", DetectorSpec().anchor_base_px)
    first: dict[str, Any] = {**FIRST_DEFAULTS, "canonical_scale_px": 7 * anchor_base}
    if family == "retinanet":
        first["box_loss"] = "l1"
    if family in TWO_STAGE:
        first["box_loss_beta"] = 1 / 9
    return {**first, **detector}
