"""Pseudo labels (Zoph et al. 2020, sec. 3): a teacher's detections on unlabelled images.

They are a pure function of the teacher's weights and of the threshold. They are written part by
part, so that a stopped job goes on at its first missing part.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import Loading, WorkerShare, eval_batches
from rethink_ray.data.pool import LabelPool, TeacherLabels, open_labelled, open_pool
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.layout import put_on_device
from rethink_ray.detection.masks import run_lengths_of
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.errors import DataError, SpecError, explain
from rethink_ray.spec.recipe import InitSpec, LabelsSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import sweep
from rethink_ray.training.label_files import (
    LABELS_FOLDER,
    PoolLabels,
    is_whole,
    part_path,
    read_all,
    write_part,
)
from rethink_ray.training.moving import move_images
from rethink_ray.training.precision import use_precision
from rethink_ray.training.stopping import Stopped, never_stop
from rethink_ray.training.worker_context import WorkerContext

IMAGES_PER_PART = 2000
"""About a minute's work of a GPU. A stopped job loses at most one part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedTeacher:
    """A trained detector that labels images."""

    config: TrialConfig
    """The run that trained it: its network, its regime, its data."""
    weights: Mapping[str, Tensor]
    """Its ``state_dict``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Counts over a pool with pseudo labels."""

    metrics: dict[str, float]
    """``images``, ``images_kept``, ``images_empty``, ``images_scored`` (left out of the pool),
    ``boxes``, ``mean_score``, and ``boxes/<category>`` for every category."""
    refused: str
    """Why these labels cannot be learned from; empty if they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """Pseudo-labelled images as a split, and the settings that they were made with."""

    index: AnnotationIndex
    threshold: float
    keep_empty: bool
    pool: Literal["unlabelled", "rest"]
    kind: Literal["self_training", "imported"]


def build_pseudo_labels(
    teacher: TrainedTeacher,
    labels: LabelsSpec,
    folder: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
    images_per_part: int = IMAGES_PER_PART,
) -> Labelled:
    """``folder/labels`` holds what the teacher finds on its pool. Finished parts are not redone.

    Args:
        teacher: a trained detector.
        labels: threshold, pool, and whether images without a box are kept.
        folder: the asset's.
        ctx: this process, or one worker of a group that shares each batch as in scoring.
        stop: called before every batch.
        images_per_part: images in one file, rounded up to whole batches.

    Raises:
        DataError: there is no pool.
        SpecError: the weights belong to another network, or the threshold is below the lowest
            score that the teacher reports.
        Stopped: ``stop`` turned true; finished parts are kept.
    """
    config = teacher.config
    _require_visible(config, labels)
    pool = open_pool(config.data, config.images, labels.pool, config.draw)
    labeller = _Labeller(
        detector=_build_detector(teacher, ctx),
        config=config,
        pool=pool,
        threshold=labels.threshold,
        ctx=ctx,
        stop=stop,
    )
    if ctx.is_main:
        sweep(folder / LABELS_FOLDER)
    settings = {"threshold": labels.threshold, "keep_empty": labels.keep_empty, "pool": labels.pool}
    parts = split_into_parts(pool, config.recipe.batch_size, images_per_part)
    for number, image_ids in enumerate(parts):
        path = part_path(folder, number)
        if ctx.any_of((not is_whole(path),))[0]:
            labels_by_image = labeller.label(image_ids)
            if ctx.is_main:
                write_part(path, labels_by_image, settings, len(parts))
            ctx.barrier()
    return summarize_labels(read_all(folder), pool, labels)


def open_pseudo_labels(config: TrialConfig, folder: Path) -> PseudoLabels:
    """The pseudo labels that the asset in ``folder`` holds, for a run of ``config``.

    Raises:
        DataError: the pool holds other images than when it was labelled.
        RecordError: a part is missing or damaged.
    """
    parts = read_all(folder)
    settings = parts.settings
    pool = open_pool(config.data, config.images, settings["pool"], config.draw)
    if set(pool.image_ids) != parts.by_image.keys():
        must = f"must hold the {len(parts.by_image)} images that were labelled"
        remedy = "Put them back as they were, or start a new study."
        raise DataError(
            explain(
                f"labels.pool {settings['pool']}", must, f"{len(pool.image_ids)} images", remedy
            )
        )
    return PseudoLabels(
        index=open_labelled(pool, parts.by_image, keep_empty=settings["keep_empty"]),
        threshold=settings["threshold"],
        keep_empty=settings["keep_empty"],
        pool=settings["pool"],
        kind=settings.get("kind", "self_training"),
    )


def _require_visible(teacher: TrialConfig, labels: LabelsSpec) -> None:
    floor = teacher.recipe.detector.score_threshold
    if labels.threshold < floor:
        must = f"must be at least the teacher's detector.score_threshold = {floor:g}"
        raise SpecError(explain("labels.threshold", must, labels.threshold, "Raise it."))


def _build_detector(teacher: TrainedTeacher, ctx: WorkerContext) -> Detector:
    config = teacher.config
    detector = build_detector(
        config.recipe.detector, InitSpec(), config.num_categories, seed=config.seed
    )
    load_whole_detector(detector, teacher.weights, "the teacher's weights")
    detector.images_per_step = config.resources.images_per_step
    put_on_device(detector, ctx.device, config.recipe.precision)
    return detector.eval()


def split_into_parts(
    pool: LabelPool, batch_size: int, images_per_part: int
) -> list[tuple[int, ...]]:
    """The image ids of each part. A part is whole batches, so its labels do not depend on it."""
    size = -(-images_per_part // batch_size) * batch_size
    firsts = range(0, len(pool.image_ids), size)
    return [pool.image_ids[first : first + size] for first in firsts]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labeller:
    """A teacher at work on its pool."""

    detector: Detector
    config: TrialConfig
    pool: LabelPool
    threshold: float
    ctx: WorkerContext
    stop: Callable[[], bool]

    def label(self, image_ids: Sequence[int]) -> dict[int, TeacherLabels]:
        """What the teacher finds in each image, in the views that it is scored in."""
        recipe, ctx = self.config.recipe, self.ctx
        multi_view = MultiViewDetector(self.detector, recipe.evaluation, recipe.detector)
        batches = eval_batches(
            self.pool.index,
            image_ids,
            recipe.batch_size,
            Loading(
                num_workers=self.config.resources.loader_workers,
                pinned=ctx.device.type == "cuda",
            ),
            WorkerShare(rank=ctx.rank, world_size=ctx.world_size),
        )
        by_image: list[tuple[int, TeacherLabels]] = []
        for images, entries in batches:
            images = move_images(images, ctx.device)
            if ctx.any_of((self.stop(),))[0]:
                raise Stopped("labelling a pool was stopped; its finished parts are kept")
            if not images:
                continue
            with use_precision(recipe, ctx.device):
                outputs = multi_view.detect(images)
            for entry, output in zip(entries, outputs, strict=True):
                labels = _keep_above(output, self.threshold, entry.height, entry.width)
                by_image.append((entry.image_id, labels))
        return dict(sorted(ctx.gather(by_image), key=lambda pair: pair[0]))


def _keep_above(
    output: Mapping[str, Tensor], threshold: float, height: int, width: int
) -> TeacherLabels:
    """The detections of one image that score at least ``threshold``, as labels."""
    kept = output["scores"] >= threshold
    boxes = output["boxes_xyxy"][kept].float().cpu()
    masks: tuple[str, ...] = ()
    if "masks" in output:
        squares = output["masks"][kept]
        masks = tuple(_as_json(mask) for mask in run_lengths_of(squares, boxes, height, width))
    return TeacherLabels(
        boxes_xyxy=boxes.numpy(),
        labels=output["labels"][kept].cpu().numpy().astype(np.int64),
        scores=output["scores"][kept].float().cpu().numpy(),
        segmentations=masks,
    )


def _as_json(run_lengths: Mapping[str, Any]) -> str:
    counts = run_lengths["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return json.dumps({"size": [int(side) for side in run_lengths["size"]], "counts": text})


def summarize_labels(parts: PoolLabels, pool: LabelPool, labels: LabelsSpec) -> Labelled:
    """Counts over a pool, and why it cannot be learned from if it has no label."""
    seen = parts.by_image.values()
    categories = pool.index.categories
    counts = Counter(int(label) for one in seen for label in one.labels)
    num_empty = sum(not len(one.labels) for one in seen)
    scores = torch.from_numpy(np.concatenate([one.scores for one in seen])).double()
    num_kept = len(parts.by_image) - (0 if labels.keep_empty else num_empty)
    metrics = {
        "images": float(len(parts.by_image)),
        "images_kept": float(num_kept),
        "images_empty": float(num_empty),
        "images_scored": float(pool.num_scored),
        "boxes": float(len(scores)),
        "mean_score": float(scores.mean()) if len(scores) else 0.0,
        **{f"boxes/{name}": float(counts[k]) for k, name in enumerate(categories, start=1)},
    }
    return Labelled(
        metrics=metrics, refused="" if len(scores) else _explain_no_labels(metrics, labels)
    )


def _explain_no_labels(metrics: Mapping[str, float], labels: LabelsSpec) -> str:
    seen = f"nothing above labels.threshold {labels.threshold:g} on {metrics['images']:.0f} images"
    if labels.kind == "imported":
        return f"{labels.file} has {seen}; lower it"
    return f"the teacher finds {seen}; lower it, or train the teacher longer"
