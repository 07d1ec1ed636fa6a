"""Ids of identity 1, which version 0.1 wrote: they keep its records readable.

Its hashes left out every value at its default. No new id is made like this: a study that was
recorded under identity 1 is read, and never continued. ``older_records`` fills in what its values
were, which these functions expect.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rethink_ray.spec.assets import (
    AssetSpec,
    ClassifierAsset,
    DetectorAsset,
    ImportedLabelsAsset,
    assets_of,
    direct_run,
)
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.recipe import AugmentSpec, DirectSpec
from rethink_ray.spec.trial_config import TrialConfig, uses_upstream

YOUNGER_KEYS = (
    *("norm_epsilon", "neck_norm", "rpn_convs"),
    *("p6_from", "canonical_scale_px", "focal_gamma", "focal_alpha"),
    *("box_loss", "box_loss_beta", "box_loss_weight", "rpn_box_loss_beta", "rpn_box_loss_weight"),
    *("rpn_pre_nms_train", "rpn_pre_nms_test", "rpn_post_nms_train", "rpn_post_nms_test"),
)
"""Keys of a detector that version 0.1 did not have."""
FIRST_DEFAULTS = {"rpn_pre_nms": 2000, "rpn_post_nms": 1000, "nms_iou": 0.5}
"""Defaults of version 0.1 under keys that have another default or another name now."""

FIRST_DIRECT_AUGMENT = AugmentSpec(flip=0.5, scale=(0.8, 1.2))
"""The augmentation of a first stage of which nothing was set; it kept an image's shape."""


def first_trial_id(config: TrialConfig) -> str:
    """The id of this run under identity 1."""
    recipe = config.recipe.model_dump(
        mode="json", exclude_defaults=True, exclude={"detector", "direct"}
    )
    recipe.get("schedule", {}).pop("lengths", None)
    recipe |= _first_detector(config.recipe.detector) | _first_direct(config.recipe.direct)
    unread = {
        "upstream": not uses_upstream(config.recipe),
        "direct": config.recipe.init.source != "direct",
        "joint": not config.recipe.joint.weight,
        "labels": config.recipe.labels.kind == "human",
    }
    identity = {
        "recipe": {name: group for name, group in recipe.items() if not unread.get(name)},
        "images": config.regime_digest,
        "data": config.data_fingerprint,
        "seed": config.seed,
        "threads": config.resources.cpus_per_worker,
    }
    return digest_of(identity | _first_extras(config))[:12]


def _first_detector(detector: DetectorSpec) -> dict[str, Any]:
    """The entry ``detector``, under the keys and defaults of identity 1; none if it is empty."""
    group = detector.model_dump(mode="json", exclude_defaults=True, exclude={*YOUNGER_KEYS})
    values: Mapping[str, float | None] = {
        "rpn_pre_nms": detector.rpn_pre_nms_train,
        "rpn_post_nms": detector.rpn_post_nms_train,
        "nms_iou": detector.nms_iou,
    }
    group |= values
    for key, default in FIRST_DEFAULTS.items():
        if group[key] in (None, default):
            del group[key]
    return {"detector": group} if group else {}


def _first_direct(direct: DirectSpec) -> dict[str, Any]:
    """The entry ``direct`` under the defaults of identity 1; none if it is empty."""
    group = direct.model_dump(mode="json", exclude_defaults=True, exclude={"augment"})
    if direct.augment != FIRST_DIRECT_AUGMENT:
        group["augment"] = direct.augment.model_dump(mode="json", exclude_defaults=True)
    return {"direct": group} if group else {}


def _first_extras(config: TrialConfig) -> dict[str, Any]:
    """The entries that were in the hash only of runs that had them."""
    inputs: dict[str, Any] = {}
    if config.resources.workers > 1:
        inputs["workers"] = config.resources.workers
    if config.resources.gpus_per_worker:
        inputs["device"] = "cuda"
    if uses_upstream(config.recipe):
        inputs["upstream"] = config.upstream_fingerprint
    if config.recipe.labels.kind == "self_training" and config.unlabelled_fingerprint:
        inputs["unlabelled"] = config.unlabelled_fingerprint
    if config.weights_digest:
        inputs["weights"] = config.weights_digest
    if config.weights_file is not None:
        inputs["stands_in"] = config.weights_digest or config.weights_file
    if config.asset_seed is not None:
        inputs["asset_seed"] = config.asset_seed
    if config.teacher is not None:
        length = config.teacher.recipe.schedule.lengths[-1]
        inputs["teacher"] = [first_trial_id(config.teacher), length]
    return inputs


def first_asset_keys(config: TrialConfig) -> tuple[str, ...]:
    """The keys under identity 1 of the assets of this run, in the order of ``assets_of``."""
    first_stages = dict(_first_stages(config))
    return tuple(_first_asset_key(first_stages.get(a.key, a)) for a in assets_of(config))


def _first_stages(config: TrialConfig) -> Iterator[tuple[str, AssetSpec]]:
    """Key -> first stage of direct pre-training as identity 1 ran it, for the run and its teachers.

    A square canvas left the longer side of the first stage as it is on others.
    """
    recipe = config.recipe
    if recipe.init.source == "direct":
        augment = recipe.direct.augment.model_copy(update={"canvas": "image"})
        direct = recipe.direct.model_copy(update={"augment": augment})
        as_image = recipe.model_copy(update={"direct": direct})
        stage = direct_run(config.model_copy(update={"recipe": as_image}))
        first = stage.recipe.model_copy(update={"augment": recipe.direct.augment})
        trained = stage.model_copy(update={"recipe": first})
        now = DetectorAsset(kind="direct", trained=direct_run(config))
        yield now.key, DetectorAsset(kind="direct", trained=trained)
    if config.teacher is not None:
        yield from _first_stages(config.teacher)


def _first_asset_key(asset: AssetSpec) -> str:
    match asset:
        case ClassifierAsset():
            made_from: Any = asset.model_dump(
                mode="json", exclude_defaults=True, exclude={"backbone_code"}
            )
        case DetectorAsset():
            made_from = [first_trial_id(asset.trained), asset.length]
        case ImportedLabelsAsset():
            return asset.key  # identity 1 had no such labels
        case _:
            labels = asset.labels.model_dump(mode="json", exclude_defaults=True)
            pool = asset.teacher.trained.unlabelled_fingerprint
            made_from = [_first_asset_key(asset.teacher), labels, pool]
    return f"{asset.kind}-{digest_of(made_from)}"
