"""Assets: classifiers, detectors and pseudo labels that trials start from, as data.

An asset's key is a hash of everything that determines its numbers. An asset may need other assets.
Those learned from a regime's own images (``direct``, ``teacher``) are runs like any trial's, under
a seed of their own, so that each replicate has its own.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.hashing import asset_key, machine_of, written_out
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import DetectorSpec, LabelsSpec, Spec, UpstreamSpec
from rethink_ray.spec.regime import Images
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of, with_seeds
from rethink_ray.spec.study import Study
from rethink_ray.spec.trial_config import TrialConfig, uses_upstream, uses_upstream_detector
from rethink_ray.spec.upstream_detector import upstream_detector_recipe

UPSTREAM_PATHS = ("init.source", "joint.weight", "upstream.classes")
"""Recipe paths that decide whether upstream images must have so many classes."""


class ClassifierAsset(Spec):
    """An upstream classifier: all that determines its weights. Its key names its folder."""

    kind: Literal["classifier"] = "classifier"
    """Always ``classifier``."""
    detector: DetectorSpec
    """Backbone, width and norm of the classifier; everything else stands at its default."""
    upstream: UpstreamSpec
    """How the classifier is trained."""
    input: InputSpec | None = None
    """How its pixels are normalised: ``init.input`` of the detectors that start from it. Null is
    ImageNet's input."""
    upstream_source: str
    """``glyphs``, or the folder of images."""
    upstream_fingerprint: str
    """Hash of the images."""
    threads: int
    """CPU threads of its training: numbers depend on them."""
    gpus: float = 0.0
    """GPUs of its training; 0 trains on CPUs."""
    backbone_code: str = ""
    """Version or source hash of the code behind a backbone from elsewhere, as a trial has it."""

    @property
    def key(self) -> str:
        """Hash of everything above, with defaults and ImageNet's input written out."""
        made_from = {
            "detector": written_out(self.detector.model_dump(mode="json"), "detector"),
            "upstream": written_out(self.upstream.model_dump(mode="json"), "upstream"),
            "input": (self.input or IMAGENET).model_dump(mode="json"),
            "images": self.upstream_fingerprint,
            "backbone_code": self.backbone_code,
            **machine_of(self.threads, self.gpus),
        }
        return asset_key(self.kind, made_from)

    @property
    def needs(self) -> tuple["AssetSpec", ...]:
        """A classifier needs no other asset: it learns from upstream images alone."""
        return ()

    @property
    def steps(self) -> int:
        """Number of updates that building it takes."""
        return self.upstream.steps

    @property
    def run(self) -> None:
        """None: one process builds it, for any number of workers per trial."""
        return


class DetectorAsset(Spec):
    """A whole detector: a run of ``trained`` to its longest length, whose weights are kept.

    ``direct`` is the first stage of direct pre-training, ``teacher`` the incumbent of another arm,
    or a detector in a file, which is taken over as it is. ``upstream_detector`` has learned from
    another data set.
    """

    kind: Literal["direct", "teacher", "upstream_detector"]
    """First stage of direct pre-training, a teacher, or an upstream detector."""
    trained: TrialConfig
    """The run whose last weights are the asset."""

    @property
    def length(self) -> float:
        """In units of the run's own 1x."""
        return self.trained.recipe.schedule.lengths[-1]

    @property
    def key(self) -> str:
        """Hash of the run and its length, which determine the weights."""
        made_from = {"trained": self.trained.trial_id, "length": self.length}
        return asset_key(self.kind, made_from)

    @property
    def needs(self) -> tuple["AssetSpec", ...]:
        """The assets that the run itself starts from."""
        return () if self.trained.weights_file is not None else assets_of(self.trained)

    @property
    def steps(self) -> int:
        """Number of updates that building it takes."""
        if self.trained.weights_file is not None:
            return 0
        return self.trained.recipe.schedule.steps(self.length)

    @property
    def run(self) -> TrialConfig:
        """The run whose workers build it."""
        return self.trained


class PseudoLabelsAsset(Spec):
    """The detections of a teacher on images without human labels."""

    kind: Literal["pseudo_labels"] = "pseudo_labels"
    """Always ``pseudo_labels``."""
    teacher: DetectorAsset
    """The detector that labels the images."""
    labels: LabelsSpec
    """Threshold, pool and ``keep_empty``; everything else stands at its default."""

    @property
    def key(self) -> str:
        """Hash of the teacher, of the settings of its labels, and of the images."""
        unlabelled = self.labels.pool == "unlabelled"
        made_from = {
            "teacher": self.teacher.key,
            "labels": written_out(self.labels.model_dump(mode="json"), "labels"),
            "unlabelled": self.teacher.trained.unlabelled_fingerprint if unlabelled else "",
        }
        return asset_key(self.kind, made_from)

    @property
    def needs(self) -> tuple["AssetSpec", ...]:
        """The teacher, after the assets that the teacher needs."""
        return (*self.teacher.needs, self.teacher)

    @property
    def steps(self) -> int:
        """0: labelling needs no update."""
        return 0

    @property
    def run(self) -> TrialConfig:
        """The run whose workers label the images."""
        return self.teacher.trained


class ImportedLabelsAsset(Spec):
    """The detections of another tool on images without human labels, matched with the images."""

    kind: Literal["imported_labels"] = "imported_labels"
    """Always ``imported_labels``."""
    labels: LabelsSpec
    """File, threshold, pool and ``keep_empty``; everything else stands at its default."""
    labels_digest: str
    """Hash of the file's content."""
    images: Images
    """Of the regime: ``labels.pool: rest`` is the training images outside it."""
    draw: int
    """Number of the regime's draw."""
    regime_digest: str
    """Hash of the regime's images; empty unless the pool depends on them."""
    data_fingerprint: str
    """Hash of the data set, which has the categories."""
    unlabelled_fingerprint: str
    """Hash of the images of ``data.unlabelled``; empty unless they are the pool."""

    @property
    def key(self) -> str:
        """Hash of the file's content, of the settings of the labels, and of the images."""
        labels = written_out(self.labels.model_dump(mode="json"), "labels")
        del labels["file"]  # its content counts, wherever it lies
        made_from = {
            "labels": labels,
            "file": self.labels_digest,
            "images": self.regime_digest,
            "data": self.data_fingerprint,
            "unlabelled": self.unlabelled_fingerprint,
        }
        return asset_key(self.kind, made_from)

    @property
    def needs(self) -> tuple["AssetSpec", ...]:
        """It needs no other asset: the file is there."""
        return ()

    @property
    def steps(self) -> int:
        """0: reading a file needs no update."""
        return 0

    @property
    def run(self) -> None:
        """None: one process reads the file, for any number of workers per trial."""
        return


AssetSpec = Annotated[
    ClassifierAsset | DetectorAsset | PseudoLabelsAsset | ImportedLabelsAsset,
    Field(discriminator="kind"),
]
"""Any asset; ``key`` names its folder, ``needs`` lists the assets that are built before it."""

ANY_ASSET: TypeAdapter[AssetSpec] = TypeAdapter(AssetSpec)
"""Reads an asset from what its ``model_dump`` wrote."""


def assets_of(config: TrialConfig) -> tuple[AssetSpec, ...]:
    """The assets that are built before this run starts, each after those it needs."""
    assets: dict[str, AssetSpec] = {}
    for asset in starts_of(config):
        for needed in (*asset.needs, asset):
            assets.setdefault(needed.key, needed)
    return tuple(assets.values())


def starts_of(config: TrialConfig) -> tuple[AssetSpec, ...]:
    """The assets that the run itself reads; after a teacher it starts from no other."""
    weights = _initial_of(config)
    if config.recipe.labels.goes_on:
        assert config.teacher is not None, "a run that is taught names its teacher"
        weights = (DetectorAsset(kind="teacher", trained=config.teacher),)
    pseudo = pseudo_labels_of(config)
    return weights if pseudo is None else (*weights, pseudo)


def pseudo_labels_of(config: TrialConfig) -> PseudoLabelsAsset | ImportedLabelsAsset | None:
    """The pseudo labels that the run learns from beside human ones; ``None`` if it has none."""
    labels = config.recipe.labels
    if not labels.has_pseudo:
        return None
    if labels.kind == "imported":
        return _imported_labels_of(config)
    assert config.teacher is not None, "a run that is taught names its teacher"
    return PseudoLabelsAsset(
        teacher=DetectorAsset(kind="teacher", trained=config.teacher),
        labels=LabelsSpec(
            threshold=labels.threshold, keep_empty=labels.keep_empty, pool=labels.pool
        ),
    )


def _imported_labels_of(config: TrialConfig) -> ImportedLabelsAsset:
    labels, is_rest = config.recipe.labels, config.recipe.labels.pool == "rest"
    return ImportedLabelsAsset(
        labels=LabelsSpec(
            kind=labels.kind,
            file=labels.file,
            threshold=labels.threshold,
            keep_empty=labels.keep_empty,
            pool=labels.pool,
        ),
        labels_digest=config.labels_digest,
        images=config.images if is_rest else "all",
        draw=config.draw if is_rest else 0,
        regime_digest=config.regime_digest if is_rest else "",
        data_fingerprint=config.data_fingerprint,
        unlabelled_fingerprint="" if is_rest else config.unlabelled_fingerprint,
    )


def _initial_of(config: TrialConfig) -> tuple[AssetSpec, ...]:
    match config.recipe.init.source:
        case "upstream":
            return (_classifier_of(config),)
        case "direct":
            return (DetectorAsset(kind="direct", trained=direct_run(config)),)
        case "detector" if uses_upstream_detector(config.recipe):
            run = upstream_detector_run(config)
            return (DetectorAsset(kind="upstream_detector", trained=run),)
        case _:
            return ()


def _classifier_of(config: TrialConfig) -> ClassifierAsset:
    detector = config.recipe.detector
    norm: Literal["gn", "bn"] = "gn" if detector.norm == "gn" else "bn"
    return ClassifierAsset(
        detector=DetectorSpec(backbone=detector.backbone, width=detector.width, norm=norm),
        upstream=config.recipe.upstream,
        input=config.recipe.init.input,
        upstream_source=config.data.upstream,
        upstream_fingerprint=config.upstream_fingerprint,
        threads=config.resources.cpus_per_worker,
        gpus=config.resources.gpus_per_worker,
        backbone_code=config.backbone_code,
    )


def upstream_classes_of(study: Study) -> tuple[int, ...]:
    """Every ``upstream.classes`` of a run that needs upstream images, for all that is searched."""
    counts: set[int] = set()
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, UPSTREAM_PATHS):
            if uses_upstream(recipe):
                counts.add(recipe.upstream.classes)
    return tuple(sorted(counts))


def direct_run(config: TrialConfig) -> TrialConfig:
    """The first stage of direct pre-training as a run of its own, on the same regime's images."""
    assert config.num_images is not None, "a run that is counted in passes knows its images"
    seed = config.seed if config.asset_seed is None else config.asset_seed
    recipe = direct_recipe(config.recipe, config.num_images)
    return with_seeds(config.model_copy(update={"recipe": recipe}), seed, None)


def upstream_detector_run(config: TrialConfig) -> TrialConfig:
    """The training of the upstream detector that a run starts from, as another run.

    Nothing of it depends on the regime, the arm or the seed, so all cells share it.
    """
    data, images = config.data.upstream_detection, config.upstream_images
    assert data is not None, "require_sources refuses a run without upstream images"
    assert images is not None, "a run that starts from an upstream detector knows its images"
    spec = config.recipe.upstream_detector
    return TrialConfig(
        study=config.study,
        regime="all",
        arm="upstream_detector",
        images="all",
        data=data,
        recipe=upstream_detector_recipe(config.recipe),
        resources=config.resources,
        seed=spec.seed,
        data_fingerprint=images.data_fingerprint,
        regime_digest=images.regime_digest,
        upstream_fingerprint="",
        num_categories=len(images.categories),
        num_images=images.num_images,
        backbone_code=config.backbone_code,
        shuffled_classes_seed=spec.seed if spec.labels == "shuffled" else None,
    )
