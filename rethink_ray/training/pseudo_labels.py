"""Pseudo labels (Zoph et al. 2020, sec. 3): what a teacher finds on images that nobody labelled.

A pure function of the teacher's weights and of the threshold. It is written part by part, so that
a stopped job goes on where it was; a part holds numbers and image ids, and no path.
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
from rethink_ray.data.loader import eval_batches
from rethink_ray.data.pool import Found, Pool, open_labelled, open_pool
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.masks import run_lengths_of
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.detection.whole import load_detector
from rethink_ray.spec.errors import DataError, SpecError, explain
from rethink_ray.spec.recipe import InitSpec, LabelsSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import sweep
from rethink_ray.training.label_files import (
    LABELS_FOLDER,
    AllFound,
    is_whole,
    part_path,
    read_all,
    write_part,
)
from rethink_ray.training.precision import use_precision
from rethink_ray.training.stopping import Stopped, never_stop
from rethink_ray.training.worker_context import WorkerContext

IMAGES_PER_PART = 2000
"""About a minute's work of a GPU: that much is lost at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What became of a pool."""

    metrics: dict[str, float]
    """``images``, ``images_kept``, ``images_empty``, ``images_scored`` (left out of the pool),
    ``boxes``, ``mean_score``, and ``boxes/<category>`` for every category."""
    refused: str
    """Why nobody can learn from it; empty if it is fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """Labelled images as a split, and what they were made with."""

    index: AnnotationIndex
    threshold: float
    keep_empty: bool
    pool: Literal["unlabelled", "rest"]


def build_pseudo_labels(
    teacher: TrialConfig,
    weights: Mapping[str, Tensor],
    labels: LabelsSpec,
    folder: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
    images_per_part: int = IMAGES_PER_PART,
) -> Labelled:
    """``folder/labels`` holds what the teacher finds on its pool; goes on from what lies there.

    Args:
        teacher: the run that made ``weights``: its network, its regime, its data.
        weights: the teacher's ``state_dict``.
        labels: threshold, pool, and whether images without a box are kept.
        folder: the asset's.
        ctx: one process, or a group that shares each batch as in scoring.
        stop: asked before every batch.
        images_per_part: what one file holds, rounded up to whole batches.

    Raises:
        DataError: there is no pool.
        SpecError: the weights are no such network's, or the threshold is below what it tells.
        Stopped: ``stop`` turned true; finished parts are kept.
    """
    _require_visible(teacher, labels)
    pool = open_pool(teacher.data, teacher.images, labels.pool, teacher.draw)
    detector = _detector_of(teacher, weights, ctx)
    if ctx.is_main:
        sweep(folder / LABELS_FOLDER)
    asked = {"threshold": labels.threshold, "keep_empty": labels.keep_empty, "pool": labels.pool}
    parts = _parts(pool, teacher.recipe.batch_size, images_per_part)
    for number, image_ids in enumerate(parts):
        path = part_path(folder, number)
        if ctx.any_of((not is_whole(path),))[0]:
            found = _find(detector, teacher, pool, image_ids, labels.threshold, ctx, stop)
            if ctx.is_main:
                write_part(path, found, asked, len(parts))
            ctx.barrier()
    return _account(read_all(folder), pool, labels)


def open_pseudo_labels(config: TrialConfig, folder: Path) -> PseudoLabels:
    """The pseudo labels that the asset in ``folder`` holds, for a run of ``config``.

    Raises:
        DataError: the pool holds other images than when it was labelled.
        RecordError: a part is missing or damaged.
    """
    found = read_all(folder)
    asked = found.asked
    pool = open_pool(config.data, config.images, asked["pool"], config.draw)
    if set(pool.image_ids) != found.by_image.keys():
        must = f"must hold the {len(found.by_image)} images that the teacher labelled"
        remedy = "Put them back as they were, or start a new study."
        raise DataError(
            explain(f"labels.pool {asked['pool']}", must, f"{len(pool.image_ids)} images", remedy)
        )
    return PseudoLabels(
        index=open_labelled(pool, found.by_image, keep_empty=asked["keep_empty"]),
        threshold=asked["threshold"],
        keep_empty=asked["keep_empty"],
        pool=asked["pool"],
    )


def _require_visible(teacher: TrialConfig, labels: LabelsSpec) -> None:
    floor = teacher.recipe.detector.score_threshold
    if labels.threshold < floor:
        must = f"must be at least the teacher's detector.score_threshold = {floor:g}"
        raise SpecError(explain("labels.threshold", must, labels.threshold, "Raise it."))


def _detector_of(
    teacher: TrialConfig, weights: Mapping[str, Tensor], ctx: WorkerContext
) -> Detector:
    detector = build_detector(
        teacher.recipe.detector, InitSpec(), teacher.num_categories, seed=teacher.seed
    )
    load_detector(detector, weights, "the teacher's weights")
    detector.images_per_step = teacher.resources.images_per_step
    return detector.to(ctx.device).eval()


def _parts(pool: Pool, batch_size: int, wanted: int) -> list[tuple[int, ...]]:
    """The pool cut into whole batches, so that a part is the same whoever makes it."""
    size = -(-wanted // batch_size) * batch_size
    firsts = range(0, len(pool.image_ids), size)
    return [pool.image_ids[first : first + size] for first in firsts]


def _find(
    detector: Detector,
    teacher: TrialConfig,
    pool: Pool,
    image_ids: Sequence[int],
    threshold: float,
    ctx: WorkerContext,
    stop: Callable[[], bool],
) -> dict[int, Found]:
    """What the teacher finds in each image, in the views of scoring."""
    looking = MultiViewDetector(detector, teacher.recipe.evaluation, teacher.recipe.detector)
    batches = eval_batches(
        pool.index,
        image_ids,
        teacher.recipe.batch_size,
        num_workers=teacher.resources.loader_workers,
        rank=ctx.rank,
        world_size=ctx.world_size,
    )
    seen: list[tuple[int, Found]] = []
    for images, entries in batches:
        images = [image.to(ctx.device) for image in images]
        if ctx.any_of((stop(),))[0]:
            raise Stopped("labelling a pool was stopped; its finished parts are kept")
        if images:
            with use_precision(teacher.recipe, ctx.device):
                boxes = looking.detect(images)
            seen += [
                (entry.image_id, _above(found, threshold, entry.height, entry.width))
                for entry, found in zip(entries, boxes, strict=True)
            ]
    return dict(sorted(ctx.gather(seen), key=lambda pair: pair[0]))


def _above(found: Mapping[str, Tensor], threshold: float, height: int, width: int) -> Found:
    kept = found["scores"] >= threshold
    boxes = found["boxes_xyxy"][kept].float().cpu()
    masks: tuple[str, ...] = ()
    if "masks" in found:
        squares = found["masks"][kept]
        masks = tuple(_as_json(told) for told in run_lengths_of(squares, boxes, height, width))
    return Found(
        boxes_xyxy=boxes.numpy(),
        labels=found["labels"][kept].cpu().numpy().astype(np.int64),
        scores=found["scores"][kept].float().cpu().numpy(),
        segmentations=masks,
    )


def _as_json(run_lengths: Mapping[str, Any]) -> str:
    counts = run_lengths["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return json.dumps({"size": [int(side) for side in run_lengths["size"]], "counts": text})


def _account(found: AllFound, pool: Pool, labels: LabelsSpec) -> Labelled:
    seen = found.by_image.values()
    categories = pool.index.categories
    counts = Counter(int(label) for one in seen for label in one.labels)
    num_empty = sum(not len(one.labels) for one in seen)
    scores = torch.from_numpy(np.concatenate([one.scores for one in seen])).double()
    num_kept = len(found.by_image) - (0 if labels.keep_empty else num_empty)
    metrics = {
        "images": float(len(found.by_image)),
        "images_kept": float(num_kept),
        "images_empty": float(num_empty),
        "images_scored": float(pool.num_scored),
        "boxes": float(len(scores)),
        "mean_score": float(scores.mean()) if len(scores) else 0.0,
        **{f"boxes/{name}": float(counts[k]) for k, name in enumerate(categories, start=1)},
    }
    return Labelled(metrics=metrics, refused="" if len(scores) else _nothing(metrics, labels))


def _nothing(metrics: Mapping[str, float], labels: LabelsSpec) -> str:
    return (
        f"the teacher finds nothing above labels.threshold {labels.threshold:g} on "
        f"{metrics['images']:.0f} images; lower it, or train the teacher longer"
    )
