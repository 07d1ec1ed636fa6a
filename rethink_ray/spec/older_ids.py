"""The names that identity 1 gave, so that records from before it was numbered stay readable.

Its hashes left out every value at its default. Nothing new is named so: a study that was recorded
under another identity is read, and never continued.
"""

from typing import Any

from rethink_ray.spec.assets import AssetSpec, ClassifierAsset, DetectorAsset
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.trial_config import TrialConfig, uses_upstream


def first_trial_id(config: TrialConfig) -> str:
    """The id of this run under identity 1."""
    recipe = config.recipe.model_dump(mode="json", exclude_defaults=True)
    recipe.get("schedule", {}).pop("lengths", None)
    unread = {
        "upstream": not uses_upstream(config.recipe),
        "direct": config.recipe.init.source != "direct",
        "joint": not config.recipe.joint.weight,
        "labels": config.recipe.labels.kind == "human",
    }
    identity = {
        "recipe": {name: told for name, told in recipe.items() if not unread.get(name)},
        "images": config.regime_digest,
        "data": config.data_fingerprint,
        "seed": config.seed,
        "threads": config.resources.cpus_per_worker,
    }
    return digest_of(identity | _first_extras(config))[:12]


def _first_extras(config: TrialConfig) -> dict[str, Any]:
    """What stood in the hash only where a run had it."""
    told: dict[str, Any] = {}
    if config.resources.workers > 1:
        told["workers"] = config.resources.workers
    if config.resources.gpus_per_worker:
        told["device"] = "cuda"
    if uses_upstream(config.recipe):
        told["upstream"] = config.upstream_fingerprint
    if config.recipe.labels.kind == "self_training" and config.unlabelled_fingerprint:
        told["unlabelled"] = config.unlabelled_fingerprint
    if config.weights_digest:
        told["weights"] = config.weights_digest
    if config.weights_file is not None:
        told["stands_in"] = config.weights_digest or config.weights_file
    if config.asset_seed is not None:
        told["asset_seed"] = config.asset_seed
    if config.teacher is not None:
        length = config.teacher.recipe.schedule.lengths[-1]
        told["teacher"] = [first_trial_id(config.teacher), length]
    return told


def first_asset_key(asset: AssetSpec) -> str:
    """The key of this asset under identity 1."""
    match asset:
        case ClassifierAsset():
            told: Any = asset.model_dump(
                mode="json", exclude_defaults=True, exclude={"backbone_code"}
            )
        case DetectorAsset():
            told = [first_trial_id(asset.trained), asset.length]
        case _:
            asked = asset.labels.model_dump(mode="json", exclude_defaults=True)
            pool = asset.teacher.trained.unlabelled_fingerprint
            told = [first_asset_key(asset.teacher), asked, pool]
    return f"{asset.kind}-{digest_of(told)}"
