"""A detector over every image of a split, to COCO's numbers.

Each image is looked at exactly once whatever the number of workers, and every worker gets the same
numbers.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.frequency import frequency_groups
from rethink_ray.data.index import AnnotationIndex, ImageEntry, open_split
from rethink_ray.data.loader import eval_batches
from rethink_ray.data.objects import keypoint_swap
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.kept_detections import table_of
from rethink_ray.detection.masks import encoded, run_lengths_of
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.records.detections import write_detections
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Family, Recipe
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.precision import use_precision
from rethink_ray.training.stopping import Stopped, never_stop
from rethink_ray.training.worker_context import WorkerContext


def score_split(
    detector: Detector,
    recipe: Recipe,
    data: DataSpec,
    split: str,
    ctx: WorkerContext,
    *,
    num_workers: int = 0,
    stop: Callable[[], bool] = never_stop,
    keep: Path | None = None,
) -> dict[str, float]:
    """COCO's numbers of one split, named ``<split>/<metric>``, in AP points: 12 of boxes, 12 of
    masks and 10 of keypoints from families that find them. Masks are kept as run lengths.

    What is found in an image does not depend on the images beside it (``Detector.detect``), so the
    numbers do not depend on the order of the images or on the number of workers.

    Args:
        detector: on the device of ``ctx``.
        recipe: how images are looked at.
        data: where the split is.
        split: its name.
        ctx: one process or one of several workers.
        num_workers: that load images.
        stop: asked between two batches.
        keep: file for every box that was found, where somebody will want other draws of images.

    Raises:
        Stopped: ``stop`` turned true on any worker between two batches.
    """
    index = open_split(data, split)
    found = _found_everywhere(detector, recipe, index, ctx, num_workers, stop)
    truth, seen = [g for g, _ in found], [d for _, d in found]
    if keep is not None and ctx.is_main:
        write_detections(keep, table_of(truth, seen, len(index.categories)))
    numbers = score(truth, seen, len(index.categories), frequency_groups(data))
    return {f"{split}/{name}": value for name, value in numbers.items()}


def _found_everywhere(
    detector: Detector,
    recipe: Recipe,
    index: AnnotationIndex,
    ctx: WorkerContext,
    num_workers: int,
    stop: Callable[[], bool],
) -> list[tuple[GroundTruth, Detection]]:
    """What is in each image and what was seen there, of all workers, by image id."""
    images = eval_batches(
        index,
        [int(i) for i in index.image_ids],
        recipe.batch_size,
        num_workers=num_workers,
        rank=ctx.rank,
        world_size=ctx.world_size,
    )
    swap = keypoint_swap(index.keypoint_names).tolist()
    looking = MultiViewDetector(detector, recipe.evaluation, recipe.detector, swap)
    found: list[tuple[GroundTruth, Detection]] = []
    for batch, entries in images:
        batch = [image.to(ctx.device) for image in batch]
        if ctx.any_of((stop(),))[0]:
            raise Stopped("scoring was stopped; it will be repeated")
        if batch:
            with use_precision(recipe, ctx.device):
                boxes = looking.detect(batch)
            boxes = [_verified(one, entry) for one, entry in zip(boxes, entries, strict=True)]
            found += [
                (_truth(entry, index, recipe.detector.family), _detection(entry, seen))
                for entry, seen in zip(entries, boxes, strict=True)
            ]
    return sorted(ctx.gather(found), key=lambda pair: pair[0].image_id)


def _truth(entry: ImageEntry, index: AnnotationIndex, family: Family) -> GroundTruth:
    masks = index.masks(entry.image_id) if family in WITH_MASKS else None
    keypoints = index.keypoints(entry.image_id) if family in WITH_KEYPOINTS else None
    return GroundTruth(
        image_id=entry.image_id,
        boxes_xyxy=entry.boxes_xyxy,
        labels=entry.labels,
        is_crowd=entry.is_crowd,
        area=entry.area,
        masks=None if masks is None else [encoded(mask) for mask in masks],
        keypoints=keypoints,
    )


def _verified(found: dict[str, Tensor], entry: ImageEntry) -> dict[str, Tensor]:
    """What was found, of categories that were looked for in this image (LVIS)."""
    if entry.verified is None:
        return found
    looked_for = torch.tensor(entry.verified, device=found["labels"].device)
    kept = torch.isin(found["labels"], looked_for)
    return {key: values[kept] for key, values in found.items()}


def _detection(entry: ImageEntry, found: dict[str, Tensor]) -> Detection:
    masks, keypoints = found.get("masks"), found.get("keypoints")
    return Detection(
        image_id=entry.image_id,
        boxes_xyxy=found["boxes_xyxy"].float().cpu().numpy(),
        scores=found["scores"].float().cpu().numpy(),
        labels=found["labels"].cpu().numpy(),
        masks=None
        if masks is None
        else run_lengths_of(masks, found["boxes_xyxy"], entry.height, entry.width),
        keypoints=None if keypoints is None else keypoints.float().cpu().numpy(),
    )
