"""Computes PASCAL VOC's average precision of boxes, as its devkit does, in points (0..100).

A detection is ignored if it overlaps a *difficult* object or a crowd by IoU 0.5; a small detection
inside a large difficult object is wrong, where COCO's rule for crowds would ignore it. VOC counts
pixels from 1 and includes both corners; with our continuous corners the devkit's ``+ 1`` on both
sides is the plain overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rethink_ray.detection.scoring import Array, Detection, GroundTruth
from rethink_ray.spec.metrics import VOC_METRICS

VOC_OVERLAP = 0.5
"""An object is detected if IoU >= 0.5. Source: VOCdevkit, ``VOCevaldet.m``."""
RECALLS_2007 = np.arange(11) / 10
"""Recalls at which VOC 2007 reads precision. Source: VOCdevkit of 2007."""
NO_OBJECT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matches:
    """All detections of a split, image by image. All fields have length D."""

    labels: NDArray[np.int64]
    scores: Array
    objects: NDArray[np.int64]
    """Number of the object that a detection overlaps most, among all objects of the split;
    ``NO_OBJECT`` if it overlaps each by less than ``VOC_OVERLAP``."""
    is_ignored: NDArray[np.bool_]
    """Whether that object is difficult or a crowd."""


def score_voc(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> dict[str, float]:
    """Returns ``voc_ap50`` (area under the curve) and ``voc07_ap50`` (mean of 11 precisions).

    A detection belongs to the object of its class and image that it overlaps most. The best-scored
    detection of an object is right, the others are wrong; those of an ignored object are neither.
    Categories without an object are left out of the mean; without any object it is NaN. Equal
    scores keep their order. There is no limit to the detections of an image. Source: VOCdevkit,
    ``VOCevaldet.m``; detectron2's ``pascal_voc_evaluation.py`` requires an overlap *above* 0.5.

    Args:
        ground_truth: one entry per image; objects with ``is_crowd`` are ignored.
        detections: of these images.
        num_categories: labels count from 1 to this.
    """
    matches = _match_images(ground_truth, detections)
    by_category: list[tuple[float, float]] = []
    counts = _count_objects(ground_truth, num_categories)
    for label, num_objects in enumerate(counts):
        if num_objects:
            recall, precision = _compute_curve(matches, label, num_objects)
            by_category.append(
                (_integrate_precision(recall, precision), _average_eleven_points(recall, precision))
            )
    if not by_category:
        return dict.fromkeys(VOC_METRICS, float("nan"))
    means = 100.0 * np.mean(by_category, axis=0)
    return {name: float(value) for name, value in zip(VOC_METRICS, means, strict=True)}


def _count_objects(ground_truth: Sequence[GroundTruth], num_categories: int) -> list[int]:
    """Counts the objects that are not ignored; index = label; 0 stays empty."""
    labels = [np.asarray(g.labels, np.int64)[~_find_ignored(g)] for g in ground_truth]
    joined = np.concatenate([np.zeros(0, np.int64), *labels])
    return [int(num) for num in np.bincount(joined, minlength=num_categories + 1)]


def _find_ignored(truth: GroundTruth) -> NDArray[np.bool_]:
    """Returns [N]: whether an object is difficult or a crowd."""
    return np.asarray(truth.is_crowd, np.bool_)


def _match_images(ground_truth: Sequence[GroundTruth], detections: Sequence[Detection]) -> _Matches:
    """Finds the object of each detection, image by image in the order of ``ground_truth``."""
    by_image = {detection.image_id: detection for detection in detections}
    parts = [(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_))]
    num_before = 0
    for truth in ground_truth:
        seen = by_image.get(truth.image_id)
        if seen is not None and len(seen.labels):
            best, overlap = _find_best_objects(truth, seen)
            is_enough = overlap >= VOC_OVERLAP
            objects = np.where(is_enough, num_before + best, NO_OBJECT)
            ignored = np.zeros(len(best), np.bool_)
            ignored[is_enough] = _find_ignored(truth)[best[is_enough]]
            labels, scores = np.asarray(seen.labels, np.int64), np.asarray(seen.scores, np.float64)
            parts.append((labels, scores, objects, ignored))
        num_before += len(truth.labels)
    labels, scores, objects, is_ignored = map(np.concatenate, zip(*parts, strict=True))
    return _Matches(labels=labels, scores=scores, objects=objects, is_ignored=is_ignored)


def _find_best_objects(truth: GroundTruth, seen: Detection) -> tuple[NDArray[np.int64], Array]:
    """Returns [D], [D]: the object of its class that a detection overlaps most, and how much."""
    if not len(truth.labels):
        return np.zeros(len(seen.labels), np.int64), np.zeros(len(seen.labels))
    overlaps = _compute_overlaps(seen.boxes_xyxy, truth.boxes_xyxy)
    overlaps = np.where(np.equal.outer(seen.labels, truth.labels), overlaps, 0.0)
    best = overlaps.argmax(axis=1)
    return best, overlaps[np.arange(len(best)), best]


def _compute_overlaps(first_xyxy: NDArray[np.float64], second_xyxy: NDArray[np.float64]) -> Array:
    """Returns [D, N]: intersection over union of every two boxes."""
    first, second = (np.asarray(b, np.float64).reshape(-1, 4) for b in (first_xyxy, second_xyxy))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - inside
    overlaps: Array = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return overlaps


def _compute_curve(matches: _Matches, label: int, num_objects: int) -> tuple[Array, Array]:
    """Returns recall and precision after each detection of a category, best score first."""
    rows = np.flatnonzero(matches.labels == label)
    rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
    objects, is_ignored = matches.objects[rows], matches.is_ignored[rows]
    is_first = np.zeros(len(rows), np.bool_)
    is_first[np.unique(objects, return_index=True)[1]] = True
    is_right = is_first & (objects != NO_OBJECT) & ~is_ignored
    right = np.cumsum(is_right)
    counted = np.cumsum(~is_ignored)
    return right / num_objects, right / np.maximum(counted, 1)


def _integrate_precision(recall: Array, precision: Array) -> float:
    """Returns the area under the falling envelope of precision over recall (VOC 2010 and later)."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _average_eleven_points(recall: Array, precision: Array) -> float:
    """Returns the mean of the best precision at a recall of at least 0, 0.1 .. 1 (VOC 2007)."""
    best = [precision[recall >= least].max(initial=0.0) for least in RECALLS_2007]
    return float(np.mean(best))
