"""The complete configuration of one run, and its id.

A trial's id is a hash of everything that determines its numbers, and of nothing else. So the same
trial has the same id on every machine, and a longer ladder is the same trial. Every default is
written out: a changed default gives a new id by itself. If an algorithm changes while the values
stay, raise ``hashing.IDENTITY``; then no earlier id is used again. Ids of identity 1 are in
``older_ids``.
"""

from typing import Any

from rethink_ray.spec.hashing import (
    FIRST_IDENTITY,
    IDENTITY,
    NEUTRAL,
    Neutral,
    digest_of,
    machine_of,
    written_out,
)
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import Recipe, Spec
from rethink_ray.spec.regime import DataSpec, Images
from rethink_ray.spec.study import ObjectiveSpec, ResourceSpec


class TrialConfig(Spec):
    """Everything one run needs to know; an exported config is exactly this, as YAML."""

    study: str
    regime: str
    arm: str
    images: Images
    data: DataSpec
    recipe: Recipe
    objective: ObjectiveSpec = ObjectiveSpec()
    resources: ResourceSpec = ResourceSpec()
    seed: int
    data_fingerprint: str
    regime_digest: str
    upstream_fingerprint: str
    unlabelled_fingerprint: str = ""
    num_categories: int
    num_images: int | None = None
    """Of the regime, whatever ``images`` says: what a pass over it is."""
    draw: int = 0
    """0: the regime itself; above: another draw of as many images, which a replicate has."""
    teacher: "TrialConfig | None" = None
    """The run that labels images for this one, or that this one goes on from; its longest length
    is how long it trains."""
    weights_digest: str = ""
    """Hash of the content of the file of weights that the run starts from (``init.source: file``)
    or that stands in for it; empty where there is none, and in records from before it was asked."""
    weights_file: str | None = None
    """Of a teacher alone: the file that holds what the run would have learned. It is not trained,
    and its seed says nothing."""
    backbone_code: str = ""
    """Version or source hash of the code behind a backbone from elsewhere; empty for ours, and in
    records from before it was asked."""
    asset_seed: int | None = None
    """Of all assets that are learned from the regime's images; ``None``: there are none. Shared by
    a cell's search trials, and each replicate's own."""

    @property
    def trial_id(self) -> str:
        """12 hex digits over what determines this trial's numbers (``hashing``)."""
        return trial_id_of(self)


class ExportedConfig(TrialConfig):
    """A trial's configuration with what it scored, so that a re-run can be held against it."""

    expected: dict[str, float] = {}
    """``<split>/<metric>`` at the last length -> AP points, as the study recorded them."""
    source: dict[str, str] = {}
    """Study fingerprint, trial id, identity and versions this came from; empty if none wrote it."""

    @property
    def identity(self) -> int:
        """Under which identity ``expected`` was recorded."""
        return int(self.source.get("identity", FIRST_IDENTITY)) if self.source else IDENTITY

    def plain(self) -> TrialConfig:
        """The configuration alone, as workers and trials know it."""
        return TrialConfig(**{name: getattr(self, name) for name in TrialConfig.model_fields})


def trial_id_of(config: TrialConfig, neutral: Neutral = NEUTRAL) -> str:
    """12 hex digits over what determines this run's numbers."""
    return digest_of(identity_of(config, neutral))[:12]


def identity_of(config: TrialConfig, neutral: Neutral = NEUTRAL) -> dict[str, Any]:
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


def _resources(config: TrialConfig) -> dict[str, Any]:
    """One line for each field that numbers depend on."""
    resources = config.resources
    return {
        "workers": max(resources.workers, 1),
        "images_per_step": _images_per_step(config),
        "deterministic": resources.deterministic,
        **machine_of(resources.cpus_per_worker, resources.gpus_per_worker),
    }


def _images_per_step(config: TrialConfig) -> int | None:
    """``None`` if no batch is cut, or if a file replaces training (a teacher's)."""
    asked = config.resources.images_per_step
    share = config.recipe.batch_size // max(config.resources.workers, 1)
    is_cut = asked is not None and asked < share and config.weights_file is None
    return asked if is_cut else None


def _recipe(config: TrialConfig) -> dict[str, Any]:
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


def _learned_from(config: TrialConfig, neutral: Neutral) -> dict[str, Any]:
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


def uses_upstream(recipe: Recipe) -> bool:
    """Whether a run of this recipe starts from, or classifies, the upstream images."""
    return recipe.init.source == "upstream" or recipe.joint.weight > 0
