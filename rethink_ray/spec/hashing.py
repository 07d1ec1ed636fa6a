"""Ids under the current identity: everything that determines a run's numbers, and its hash.

Every default is written out, so a changed default gives a new id by itself. If an algorithm changes
while the values stay, raise ``IDENTITY``: then no earlier id is used again. Ids of identity 1 are
in ``older_ids``.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rethink_ray.spec.networks import is_own

if TYPE_CHECKING:
    from rethink_ray.spec.recipe import Recipe
    from rethink_ray.spec.resolve import TrialConfig

IDENTITY = 2
"""Raise it when the same written-out configuration would give other numbers. Identity 1 left
defaults out of its hashes, and its records do not name it."""
FIRST_IDENTITY = 1
"""The identity of records that name none."""

Neutral = Mapping[str, Any]
NEUTRAL: Neutral = {}
"""Dotted path -> the value under which numbers are what they were before the field was there.

A field that is added between two identities stands here, so that ids of before stay:
``{"detector.dilation": 1}``. Paths are a recipe's (``direct.optimizer.lr`` too: a field of a group
that stands twice stands here twice) or ``resources.<name>``. Empty it when ``IDENTITY`` rises.
"""


def digest_of(value: Any) -> str:
    """16 hex digits over a JSON value; the order of its keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def asset_key(kind: str, made_from: Mapping[str, Any]) -> str:
    """``<kind>-<16 hex digits>`` over what determines an asset, under this identity."""
    return f"{kind}-{digest_of({'identity': IDENTITY, 'made_from': made_from})}"


def written_out(
    tree: dict[str, Any], group: str = "", neutral: Neutral = NEUTRAL
) -> dict[str, Any]:
    """``tree`` itself as ids hash it: every value, but no younger field at its neutral value.

    Args:
        tree: fresh from ``model_dump(mode="json")``.
        group: the dotted path at which its values stand; empty for a whole recipe.
        neutral: dotted path -> neutral value, as JSON has it.
    """
    for path, value in neutral.items():
        if group and not path.startswith(f"{group}."):
            continue
        *groups, leaf = path.removeprefix(f"{group}.").split(".")
        inner = tree
        for name in groups:
            inner = inner.get(name, {})
        if leaf in inner and inner[leaf] == value:
            del inner[leaf]
    return tree


def machine_of(threads: int, gpus: float) -> dict[str, Any]:
    """What numbers owe to the machine: on CPUs the threads, on GPUs nothing but that it is one."""
    return {"device": "cuda"} if gpus else {"device": "cpu", "threads": threads}


def trial_id_of(config: "TrialConfig", neutral: Neutral = NEUTRAL) -> str:
    """12 hex digits over what determines this run's numbers."""
    return digest_of(identity_of(config, neutral))[:12]


def identity_of(config: "TrialConfig", neutral: Neutral = NEUTRAL) -> dict[str, Any]:
    """Everything that determines this run's numbers, and nothing else.

    Left out are names, places of files whose content is known, and what only sets how far a run
    goes or how fast: lengths, retries, loader workers.
    """
    return {
        "identity": IDENTITY,
        "recipe": written_out(_recipe(config), "", neutral),
        "images": config.regime_digest,
        "data": config.data_fingerprint,
        "frequency": config.data.frequency,
        "seed": config.seed,
        "resources": written_out(_resources(config), "resources", neutral),
        **_learned_from(config, neutral),
    }


def _resources(config: "TrialConfig") -> dict[str, Any]:
    """One line for each field that numbers depend on."""
    resources = config.resources
    return {
        "workers": max(resources.workers, 1),
        "images_per_step": _images_per_step(config),
        "deterministic": resources.deterministic,
        **machine_of(resources.cpus_per_worker, resources.gpus_per_worker),
    }


def _images_per_step(config: "TrialConfig") -> int | None:
    """``None`` if no batch is cut, or if a file replaces training (a teacher's)."""
    asked = config.resources.images_per_step
    share = config.recipe.batch_size // max(config.resources.workers, 1)
    is_cut = asked is not None and asked < share and config.weights_file is None
    return asked if is_cut else None


def _recipe(config: "TrialConfig") -> dict[str, Any]:
    """The recipe's values without groups that this recipe never reads."""
    recipe = config.recipe
    tree: dict[str, Any] = recipe.model_dump(mode="json")
    tree["augment"] = recipe.augment.unbundled().model_dump(mode="json")
    del tree["schedule"]["lengths"]
    if recipe.init.source == "file" and config.weights_digest:
        del tree["init"]["weights"]  # the content counts, wherever the file lies
    if recipe.init.source == "direct":
        tree["direct"]["augment"] = recipe.direct.augment.unbundled().model_dump(mode="json")
    else:
        del tree["direct"]
    if not uses_upstream(recipe):
        del tree["upstream"]
    if not recipe.joint.weight:
        del tree["joint"]
    if recipe.labels.kind == "human":
        del tree["labels"]
    return tree


def _learned_from(config: "TrialConfig", neutral: Neutral) -> dict[str, Any]:
    """What a run reads besides its recipe and its images, as far as it reads it."""
    told: dict[str, Any] = {}
    labels, teacher = config.recipe.labels, config.teacher
    if is_own(config.recipe.detector.backbone):
        told["backbone_code"] = config.backbone_code
    if uses_upstream(config.recipe):
        told["upstream"] = config.upstream_fingerprint
    if labels.kind == "self_training" and labels.pool == "unlabelled":
        told["unlabelled"] = config.unlabelled_fingerprint
    if config.weights_digest:
        told["weights"] = config.weights_digest
    if config.weights_file is not None:
        told["stands_in"] = config.weights_digest or config.weights_file
    if config.asset_seed is not None:
        told["asset_seed"] = config.asset_seed
    if teacher is not None:
        told["teacher"] = [trial_id_of(teacher, neutral), teacher.recipe.schedule.lengths[-1]]
    return told


def uses_upstream(recipe: "Recipe") -> bool:
    """Whether a run of this recipe starts from, or classifies, the upstream images."""
    return recipe.init.source == "upstream" or recipe.joint.weight > 0
