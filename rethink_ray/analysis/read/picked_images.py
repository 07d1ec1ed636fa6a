"""Chooses the images that a report shows, by a rule that looks at no picture.

An image's score is F1 of the boxes that reach their replicate's threshold, the mean over COCO's ten
IoU thresholds, over replicates, then over arms. Best, worst and typical are the highest, the lowest
and those nearest to the median; images without an object are left out, and ties go by image id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rethink_ray.analysis.read.kept_boxes import KeptBoxes, KeptStudy

PickReason = Literal["best", "typical", "worst"]
NUM_EACH = 3
"""Images of each reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickedImage:
    """One image to show."""

    image_id: int
    reason: PickReason
    score: float
    """0..1, mean over arms."""


def pick_images(kept: KeptStudy, num_each: int = NUM_EACH) -> tuple[PickedImage, ...]:
    """Best, typical, then worst images; no image twice, and fewer if there are few."""
    num_objects = count_by_image(kept)
    ids = sorted(image_id for image_id, num in num_objects.items() if num)
    objects = np.array([num_objects[image_id] for image_id in ids], np.float64)
    of_arms = [
        np.mean([score_images(boxes, ids, objects) for boxes in arm.replicates], axis=0)
        for arm in kept.arms
    ]
    scores: npt.NDArray[np.float64] = np.round(np.stack(of_arms).mean(axis=0), 9)
    each = min(num_each, max(1, len(ids) // 3))
    rows = np.arange(len(ids))
    best = np.lexsort((rows, -scores))[:each]
    lowest: list[int] = np.lexsort((rows, scores)).tolist()
    worst = [row for row in lowest if row not in set(best.tolist())][:each]
    left = np.array([row for row in rows if row not in {*best, *worst}], np.int64)
    distances = np.round(np.abs(scores[left] - np.median(scores)), 9) if len(left) else left
    typical = left[np.lexsort((left, distances))][:each]
    picked: list[tuple[PickReason, list[int]]] = [
        ("best", best.tolist()),
        ("typical", typical.tolist()),
        ("worst", worst),
    ]
    return tuple(
        PickedImage(image_id=ids[row], reason=reason, score=float(scores[row]))
        for reason, chosen in picked
        for row in chosen
    )


def score_images(
    boxes: KeptBoxes, ids: Sequence[int], objects: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[I]: F1 of one replicate in each image, 0..1, the mean over ten IoU thresholds.

    Args:
        boxes: of the replicate.
        ids: image ids, ascending.
        objects: [I], how many objects each image holds, at least 1.
    """
    sure = (boxes.scores >= boxes.threshold) & np.isin(boxes.image_ids, ids)
    rows = np.searchsorted(ids, boxes.image_ids[sure])
    scores = np.zeros(len(ids))
    for right, ignored in zip(boxes.right[:, sure], boxes.ignored[:, sure], strict=True):
        num_right = np.bincount(rows, weights=right, minlength=len(ids))
        num_boxes = np.bincount(rows, weights=~ignored, minlength=len(ids))
        scores += 2.0 * num_right / (num_boxes + objects)
    return scores / len(boxes.right)


def count_by_image(kept: KeptStudy) -> dict[int, int]:
    """Image id -> number of objects; images without one too."""
    nums: dict[int, int] = {}
    for (image_id, _), num in kept.objects.items():
        nums[image_id] = nums.get(image_id, 0) + num
    return nums
