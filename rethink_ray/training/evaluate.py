"""Scores a detector on every image of a split with COCO's metrics, or VOC's.

Workers share the images: each image is scored exactly once, and all workers get the same metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.faults import is_findable
from rethink_ray.data.frequency import frequency_groups
from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.loader import Loading, WorkerShare, eval_batches
from rethink_ray.data.objects import keypoint_swap
from rethink_ray.data.regimes import open_scored, regime_image_ids
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.kept_detections import table_of
from rethink_ray.detection.masks import encode_mask, run_lengths_of
from rethink_ray.detection.reference_scoring import score_by_pycocotools
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.detection.voc_scoring import score_voc
from rethink_ray.records.detections import write_detections
from rethink_ray.spec.metrics import VOC_METRICS
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Metric
from rethink_ray.training.moving import move_images
from rethink_ray.training.precision import use_precision
from rethink_ray.training.stopping import Stopped, never_stop
from rethink_ray.training.worker_context import WorkerContext


def score_split(
    detector: Detector,
    config: TrialConfig,
    split: str,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
    detections: Path | None = None,
) -> dict[str, float]:
    """The metrics of one split, named ``<split>/<metric>``, in AP points.

    COCO has 12 metrics of boxes; families that find masks or keypoints have 12 or 10 more, and a
    study that decides on one of VOC's metrics has both of them, too. What a
    detector finds in an image does not depend on the images beside it (``Detector.detect``), so the
    metrics depend neither on the order of the images nor on the number of workers.

    Args:
        detector: on the device of ``ctx``.
        config: the run; it names the views of an image (``evaluation``) and the data set.
        split: name of the split.
        ctx: this process, or one worker of several that share the images.
        stop: called between two batches.
        detections: file to write every box to, for sections that score redrawn images.

    Raises:
        Stopped: ``stop`` turned true on any worker between two batches.
    """
    scored = detect_split(detector, config, split, ctx, stop)
    if detections is not None and ctx.is_main:
        write_detections(detections, table_of(scored.truths, scored.seen, scored.num_categories))
    return name_metrics(split, scored.metrics(config.data, config.objective.metric))


def name_metrics(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under the names that records have: ``<split>/<metric>``."""
    return {f"{split}/{name}": value for name, value in metrics.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedSplit:
    """The annotations and the detections of every image of a split, sorted by image id."""

    truths: Sequence[GroundTruth]
    seen: Sequence[Detection]
    num_categories: int

    def metrics(self, data: DataSpec, objective: Metric = "ap") -> dict[str, float]:
        """The metrics by the scorer of studies, in AP points; VOC's if one is the objective."""
        groups = frequency_groups(data)
        metrics = score(self.truths, self.seen, self.num_categories, groups)
        if objective in VOC_METRICS:
            metrics |= score_voc(self.truths, self.seen, self.num_categories)
        return metrics

    def reference_metrics(self) -> dict[str, float]:
        """The same metrics by pycocotools, in AP points."""
        return score_by_pycocotools(self.truths, self.seen, self.num_categories)


def detect_split(
    detector: Detector,
    config: TrialConfig,
    split: str,
    ctx: WorkerContext,
    stop: Callable[[], bool] = never_stop,
) -> DetectedSplit:
    """The detections of a whole split, by all workers; arguments as of ``score_split``."""
    num_trained_on = config.num_images or len(regime_image_ids(config.data, config.images))
    index = open_scored(config.data, split, num_trained_on)
    pairs = detect_images(detector, config, index, ctx, stop)
    return DetectedSplit(
        truths=[truth for truth, _ in pairs],
        seen=[detection for _, detection in pairs],
        num_categories=len(index.categories),
    )


def detect_images(
    detector: Detector,
    config: TrialConfig,
    index: AnnotationIndex,
    ctx: WorkerContext,
    stop: Callable[[], bool],
) -> list[tuple[GroundTruth, Detection]]:
    """(ground truth, detections) of every image, from all workers, sorted by image id."""
    recipe = config.recipe
    batches = eval_batches(
        index,
        [int(i) for i in index.image_ids],
        recipe.batch_size,
        Loading(num_workers=config.resources.loader_workers, pinned=ctx.device.type == "cuda"),
        WorkerShare(rank=ctx.rank, world_size=ctx.world_size),
    )
    swap = keypoint_swap(index.keypoint_names).tolist()
    multi_view = MultiViewDetector(detector, recipe.evaluation, recipe.detector, swap)
    pairs: list[tuple[GroundTruth, Detection]] = []
    with detector.evaluating():
        for images, entries in batches:
            images = move_images(images, ctx.device)
            if ctx.any_of((stop(),))[0]:
                raise Stopped("scoring was stopped; it will be repeated")
            if not images:
                continue
            with use_precision(recipe, ctx.device):
                outputs = multi_view.detect(images)
            for entry, output in zip(entries, outputs, strict=True):
                truth = build_truth(entry, index, recipe.detector.family)
                pairs.append((truth, build_detection(entry, _drop_unverified(output, entry))))
    return sorted(ctx.gather(pairs), key=lambda pair: pair[0].image_id)


def build_truth(entry: ImageEntry, index: AnnotationIndex, family: str) -> GroundTruth:
    """The annotated objects, without those whose box has no part of the image."""
    kept = is_findable(entry)
    masks = index.masks(entry.image_id)[kept] if family in WITH_MASKS else None
    keypoints = index.keypoints(entry.image_id) if family in WITH_KEYPOINTS else None
    return GroundTruth(
        image_id=entry.image_id,
        boxes_xyxy=entry.boxes_xyxy[kept],
        labels=entry.labels[kept],
        is_crowd=entry.is_crowd[kept],
        area=entry.area[kept],
        masks=None if masks is None else [encode_mask(mask) for mask in masks],
        has_mask=None if masks is None else entry.has_mask[kept],
        keypoints=None if keypoints is None else keypoints[kept],
    )


def _drop_unverified(output: dict[str, Tensor], entry: ImageEntry) -> dict[str, Tensor]:
    """The detections of categories that annotators looked for in this image (LVIS)."""
    if entry.verified is None:
        return output
    verified = torch.tensor(entry.verified, device=output["labels"].device)
    kept = torch.isin(output["labels"], verified)
    return {key: values[kept] for key, values in output.items()}


def build_detection(entry: ImageEntry, output: Mapping[str, Tensor]) -> Detection:
    """The detections of an image for the scorer; ``output`` is an entry of ``Detector.detect``."""
    masks, keypoints = output.get("masks"), output.get("keypoints")
    run_lengths = None
    if masks is not None:
        run_lengths = run_lengths_of(masks, output["boxes_xyxy"], entry.height, entry.width)
    return Detection(
        image_id=entry.image_id,
        boxes_xyxy=output["boxes_xyxy"].float().cpu().numpy(),
        scores=output["scores"].float().cpu().numpy(),
        labels=output["labels"].cpu().numpy(),
        masks=run_lengths,
        keypoints=None if keypoints is None else keypoints.float().cpu().numpy(),
    )
