"""The training images of one trial: its regime, pseudo labels, and upstream images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.facts import measure_fingerprint
from rethink_ray.data.fault_shares import measure_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import Loading, TrainBatches, WorkerShare, train_batches
from rethink_ray.data.mixing import Parts, mixed_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.regimes import digest_of_images, regime_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.detection.padding import PaddingGroup
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import WITH_KEYPOINTS
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import TrialConfig, digest_of_draw
from rethink_ray.training.joint import Classified, JointImages, open_joint
from rethink_ray.training.pseudo_labels import PseudoLabels, open_pseudo_labels
from rethink_ray.training.worker_context import WorkerContext

PUT_BACK = "Put the data set back as it was, or start a new study."


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialData:
    """The regime's training images of one trial."""

    config: TrialConfig
    index: AnnotationIndex
    image_ids: tuple[int, ...]
    faults: Mapping[str, int]
    """Kind of fault -> how many of the images, boxes or masks have it."""
    pseudo: PseudoLabels | None = None
    """Beside the human labels, if the recipe learns from both."""
    joint: JointImages | None = None
    """Upstream images that are classified in the same updates."""

    def batches(self, start_step: int, ctx: WorkerContext) -> TrainBatches:
        """This worker's share of every batch from ``start_step`` on."""
        recipe = self.config.recipe
        if self.pseudo is not None:
            return self._mixed_batches(self.pseudo.index, start_step, ctx)
        assert not recipe.labels.has_pseudo, "pseudo labels are read beside human ones"
        return train_batches(
            self.index,
            self.image_ids,
            Augmentation(spec=recipe.augment, detector=recipe.detector),
            RunOrder(seed=derive_seed(self.config.seed, "data"), batch_size=recipe.batch_size),
            self._loading(start_step, ctx),
            WorkerShare(rank=ctx.rank, world_size=ctx.world_size),
        )

    def _loading(self, start_step: int, ctx: WorkerContext) -> Loading:
        return Loading(
            start_step=start_step,
            num_workers=self.config.resources.loader_workers,
            pinned=ctx.device.type == "cuda",
            num_peers=ctx.world_size if self._groups_span_workers(ctx) else 1,
        )

    def _groups_span_workers(self, ctx: WorkerContext) -> bool:
        """Whether images of several workers are padded to one size, in any pass."""
        recipe, images_per_step = self.config.recipe, self.config.resources.images_per_step
        kinds = [recipe.batch_size]
        if self.pseudo is not None:
            parts = Parts.of(recipe.batch_size, recipe.labels.share, ctx.rank, ctx.world_size)
            kinds = [parts.human, parts.pseudo]
        shares = [num // ctx.world_size for num in kinds]
        together = [min(share, images_per_step or share) for share in shares]
        group = PaddingGroup.of(recipe.detector)
        return any(group.spans(num) for num in together)

    def classification_batch(self, step: int, ctx: WorkerContext) -> Classified | None:
        """This worker's share of the upstream images of one update; ``None`` without any."""
        return None if self.joint is None else self.joint.batch(step, ctx)

    def _mixed_batches(
        self, pool: AnnotationIndex, start_step: int, ctx: WorkerContext
    ) -> TrainBatches:
        recipe = self.config.recipe
        share = recipe.labels.share
        return mixed_batches(
            (self.index, self.image_ids),
            (pool, [int(image_id) for image_id in pool.image_ids]),
            Augmentation(spec=recipe.augment, detector=recipe.detector),
            Parts.of(recipe.batch_size, share, ctx.rank, ctx.world_size),
            derive_seed(self.config.seed, "data"),
            self._loading(start_step, ctx),
        )


def open_trial_data(config: TrialConfig, labels: Path | None = None) -> TrialData:
    """The training images of a trial; they are the ones it was resolved with.

    Each process looks once at the stamps of all picture files, so that no machine of a cluster
    trains from an index of pictures that were replaced.

    ``labels``: folder of the asset with pseudo labels, if the run learns from such.

    Raises:
        DataError: the data set holds other images or categories now.
    """
    _require_unchanged(config)
    index = open_split(config.data, "train")
    image_ids = regime_image_ids(config.data, config.images, config.draw)
    digest = _digest_of(config, image_ids)
    if digest != config.regime_digest:
        must = f"must hold the images it was resolved with (digest {config.regime_digest})"
        raise DataError(explain(f"regime {config.regime}", must, digest, PUT_BACK))
    if len(index.categories) != config.num_categories:
        must = f"must have {config.num_categories} categories"
        raise DataError(explain(f"regime {config.regime}", must, len(index.categories), PUT_BACK))
    _require_keypoints(config, index)
    if config.shuffled_classes_seed is not None:
        index = index.with_shuffled_labels(config.shuffled_classes_seed)
    return TrialData(
        config=config,
        index=index,
        image_ids=image_ids,
        faults={kind: share.count for kind, share in measure_faults(index, image_ids).items()},
        pseudo=None if labels is None else open_pseudo_labels(config, labels),
        joint=open_joint(config),
    )


def _require_unchanged(config: TrialConfig) -> None:
    """The picture files are those that the trial was resolved with, when last looked at."""
    data = config.data.model_dump_json()
    if _fingerprint_in_this_process(data) == config.data_fingerprint:
        return
    _fingerprint_in_this_process.cache_clear()
    fingerprint = _fingerprint_in_this_process(data)
    if fingerprint != config.data_fingerprint:
        must = f"must have the fingerprint {config.data_fingerprint} it was resolved with"
        raise DataError(explain("data", must, fingerprint, PUT_BACK))


@lru_cache(maxsize=8)
def _fingerprint_in_this_process(data: str) -> str:
    """``data``: the data section as JSON."""
    return measure_fingerprint(DataSpec.model_validate_json(data))


def _digest_of(config: TrialConfig, image_ids: tuple[int, ...]) -> str:
    """The digest of these images; a draw's digest covers all images that it was drawn from."""
    if not config.draw:
        return digest_of_images(image_ids)
    drawable = digest_of_images(regime_image_ids(config.data, "all"))
    return digest_of_draw(drawable, config.data.subset_seed, len(image_ids), config.draw)


def _require_keypoints(config: TrialConfig, index: AnnotationIndex) -> None:
    spec, num_keypoints = config.recipe.detector, len(index.keypoint_names)
    if spec.family in WITH_KEYPOINTS and num_keypoints != spec.num_keypoints:
        must = f"must be the {num_keypoints} keypoints that objects have in {config.data.dataset}"
        remedy = "Set it so." if num_keypoints else "Choose a family without keypoints."
        raise DataError(explain("detector.num_keypoints", must, spec.num_keypoints, remedy))
