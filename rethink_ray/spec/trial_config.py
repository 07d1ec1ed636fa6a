"""The complete configuration of one run, and its id.

A trial's id is a hash of everything that determines its numbers, and of nothing else. So the same
trial has the same id on every machine, and a longer ladder is the same trial. Every default is
written out, and so is every published value that a null stands for: a changed default gives a new
id by itself. If an algorithm changes while the values stay, raise ``hashing.IDENTITY``; then no
earlier id is used again. Ids of identity 1 are in ``older_ids``.
"""

from typing import Any

from pydantic import Field

from rethink_ray.spec.detector_weights import find_detector_origin
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
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import Recipe, Spec
from rethink_ray.spec.regime import DataSpec, Images
from rethink_ray.spec.settings import with_published
from rethink_ray.spec.study import ObjectiveSpec, ResourceSpec
from rethink_ray.spec.weight_keys import weights_key


class UpstreamImages(Spec):
    """What an upstream detector learns from, as measured when the study was resolved."""

    data_fingerprint: str
    """Hash of the annotations of every split in use."""
    regime_digest: str
    """Hash of the ids of the training images."""
    num_images: int
    """Number of training images."""
    categories: tuple[str, ...]
    """In label order."""


class TrialConfig(Spec):
    """Everything that one run needs; an exported configuration is this, as YAML."""

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
    """Training images of the regime, as a number even where ``images`` is ``all`` or a share."""
    draw: int = 0
    """0: the regime itself. From 1 on: another draw of as many images, for a replicate."""
    teacher: "TrialConfig | None" = None
    """The run that labels images for this one, or whose weights this one starts from. It trains to
    its longest length."""
    weights_digest: str = ""
    """Hash of the file of weights that the run starts from (``init.source: file``, ``detector``,
    ``timm`` or ``hub``) or that replaces its training; empty where there is no such file, and in a
    plan that has not read it."""
    labels_digest: str = ""
    """Hash of the file of imported pseudo labels (``labels.file``); empty where there is none."""
    weights_file: str | None = None
    """A teacher's file of weights. A run with such a file is not trained, and its seed has no
    effect."""
    backbone_code: str = ""
    """Version or source hash of the code of a backbone that is not ours; empty for ours, and in
    records of identity 1."""
    family_code: str = ""
    """The same of the code of a detector that is not ours (``detector.family``)."""
    asset_seed: int | None = None
    """Seed of all assets that are learned from the regime's images; ``None``: there are none. The
    search trials of a cell share it, and each replicate has its own."""
    upstream_images: UpstreamImages | None = Field(None, exclude_if=lambda images: images is None)
    """Images of ``data.upstream_detection``; ``None`` where the run starts from no upstream
    detector."""
    shuffled_classes_seed: int | None = Field(None, exclude_if=lambda seed: seed is None)
    """Seed under which the classes are permuted among all boxes of train; ``None``: they are true.
    Only an upstream detector has such a seed (``upstream_detector.labels``)."""

    @property
    def trial_id(self) -> str:
        """12 hex digits over everything that determines this trial's numbers."""
        return trial_id_of(self)


class ExportedConfig(TrialConfig):
    """A trial's configuration with its scores, so that a re-run can be compared with it."""

    expected: dict[str, float] = {}
    """``<split>/<metric>`` at the longest length -> AP points that the study recorded."""
    source: dict[str, str] = {}
    """Fingerprint of the study, trial id, identity and versions; empty for a file written by
    hand."""

    @property
    def identity(self) -> int:
        """The identity under which ``expected`` was recorded."""
        return int(self.source.get("identity", FIRST_IDENTITY)) if self.source else IDENTITY

    def plain(self) -> TrialConfig:
        """The configuration without the scores."""
        return TrialConfig(**{name: getattr(self, name) for name in TrialConfig.model_fields})


def trial_id_of(config: TrialConfig, neutral: Neutral = NEUTRAL) -> str:
    """12 hex digits over everything that determines this run's numbers."""
    return digest_of(identity_of(config, neutral))[:12]


def identity_of(config: TrialConfig, neutral: Neutral = NEUTRAL) -> dict[str, Any]:
    """Everything that determines this run's numbers, and nothing else.

    Left out are names, paths of files whose content is known, and the settings that only decide how
    far or how fast a run goes: lengths, retries, loader workers.
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
    """The fields of ``resources`` that numbers depend on."""
    resources = config.resources
    return {
        "workers": max(resources.workers, 1),
        "images_per_step": _images_per_step(config),
        "deterministic": resources.deterministic,
        **machine_of(resources.cpus_per_worker, resources.gpus_per_worker),
    }


def _images_per_step(config: TrialConfig) -> int | None:
    """``None`` if no batch is cut, or if a teacher's file replaces training."""
    num_images = config.resources.images_per_step
    share = config.recipe.batch_size // max(config.resources.workers, 1)
    is_cut = num_images is not None and num_images < share and config.weights_file is None
    return num_images if is_cut else None


def _recipe(config: TrialConfig) -> dict[str, Any]:
    """The values that the run uses, without the groups that a run of this recipe never reads."""
    recipe = with_published(config.recipe)
    tree: dict[str, Any] = recipe.model_dump(mode="json")
    pixels = _input_of(config)
    tree["init"]["input"] = pixels and pixels.model_dump(mode="json")
    tree["augment"] = recipe.augment.unbundled().model_dump(mode="json")
    del tree["schedule"]["lengths"]
    if weights_key(recipe.init, recipe.detector.backbone) and config.weights_digest:
        del tree["init"]["weights"]  # the content counts, wherever the file lies
    if recipe.init.source != "detector":
        del tree["init"]["keep_classes"]
    if recipe.init.source == "direct":
        tree["direct"]["augment"] = recipe.direct.augment.unbundled().model_dump(mode="json")
    else:
        del tree["direct"]
    if not uses_upstream(recipe):
        del tree["upstream"]
    if not uses_upstream_detector(recipe):
        del tree["upstream_detector"]
    if not recipe.joint.weight:
        del tree["joint"]
    if recipe.labels.kind == "human":
        del tree["labels"]
    elif recipe.labels.kind == "imported":
        del tree["labels"]["start"]
        if config.labels_digest:
            del tree["labels"]["file"]  # as for weights
    return tree


def _input_of(config: TrialConfig) -> InputSpec | None:
    """How pixels enter the network; ``None`` if nothing but the file of its weights says so, or
    the code of a detector that is not ours."""
    init, labels = config.recipe.init, config.recipe.labels
    if is_own(config.recipe.detector.family):
        return None
    if init.input is not None:
        return init.input
    if labels.goes_on:
        return None if config.teacher is None else _input_of(config.teacher)
    is_drawn_or_trained_here = init.source in ("random", "upstream", "direct")
    # torchvision's detectors normalise pixels as ImageNet's classifiers do
    is_known = find_detector_origin(init) in ("torchvision", "upstream_detector")
    has_it = is_drawn_or_trained_here or is_known
    return IMAGENET if has_it and config.weights_file is None else None


def _learned_from(config: TrialConfig, neutral: Neutral) -> dict[str, Any]:
    """Everything that this run reads besides its recipe and its images."""
    inputs: dict[str, Any] = {}
    labels, teacher = config.recipe.labels, config.teacher
    if is_own(config.recipe.detector.backbone):
        inputs["backbone_code"] = config.backbone_code
    if is_own(config.recipe.detector.family):
        inputs["family_code"] = config.family_code
    if uses_upstream(config.recipe):
        inputs["upstream"] = config.upstream_fingerprint
    if config.upstream_images is not None:
        images = config.upstream_images
        inputs["upstream_images"] = [images.data_fingerprint, images.regime_digest]
    if config.shuffled_classes_seed is not None:
        inputs["shuffled_classes_seed"] = config.shuffled_classes_seed
    if labels.has_pseudo and labels.pool == "unlabelled":
        inputs["unlabelled"] = config.unlabelled_fingerprint
    if config.weights_digest:
        inputs["weights"] = config.weights_digest
    if config.labels_digest:
        inputs["imported_labels"] = config.labels_digest
    if config.weights_file is not None:
        inputs["stands_in"] = config.weights_digest or config.weights_file
    if config.asset_seed is not None:
        inputs["asset_seed"] = config.asset_seed
    if teacher is not None:
        inputs["teacher"] = [trial_id_of(teacher, neutral), teacher.recipe.schedule.lengths[-1]]
    return inputs


def uses_upstream(recipe: Recipe) -> bool:
    """Whether a run of this recipe starts from an upstream classifier, or classifies upstream
    images itself."""
    return recipe.init.source == "upstream" or recipe.joint.weight > 0


def uses_upstream_detector(recipe: Recipe) -> bool:
    """Whether a run of this recipe starts from a detector that this program trains first."""
    return find_detector_origin(recipe.init) == "upstream_detector"
