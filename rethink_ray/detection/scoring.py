"""The 12 COCO numbers of a set of detections, in AP points (0..100).

Higher is better in all of them. Equal to pycocotools' to 1e-12; the backend is chosen by
measurement and lives behind ``_coco_numbers``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np
import numpy.typing as npt

METRICS = (
    "ap",
    "ap50",
    "ap75",
    "ap_s",
    "ap_m",
    "ap_l",
    "ar1",
    "ar10",
    "ar100",
    "ar_s",
    "ar_m",
    "ar_l",
)
"""In COCO's order: average precision (all, IoU 0.5, 0.75, by size), average recall (by detections
per image, by size)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """What is annotated in one image, which may be nothing."""

    image_id: int
    boxes_xyxy: Array
    """[N, 4], absolute pixels."""
    labels: Array
    """[N], counting from 1."""
    is_crowd: Array
    """[N]; a detection inside a crowd counts neither for nor against."""
    area: Array
    """[N], square pixels (COCO's is the mask's); decides the size bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a detector found in one image."""

    image_id: int
    boxes_xyxy: Array
    """[D, 4], absolute pixels."""
    scores: Array
    """[D]."""
    labels: Array
    """[D], counting from 1."""


def score(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> dict[str, float]:
    """The 12 COCO numbers over exactly the images of ``ground_truth``.

    Images without objects stay: what is found in them is wrong. A bin without any object is NaN.

    Raises:
        AssertionError: an image comes twice, or a detection belongs to none of the images.
    """
    image_ids = [g.image_id for g in ground_truth]
    assert len(set(image_ids)) == len(image_ids), "every image is scored once"
    assert {d.image_id for d in detections} <= set(image_ids), "detections are of these images"
    numbers = _coco_numbers(ground_truth, detections, num_categories)
    return {
        name: float("nan") if value == -1 else 100.0 * value
        for name, value in zip(METRICS, numbers, strict=True)
    }


def _coco_numbers(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> list[float]:
    """COCO's summary, 0..1 or -1, from the backend."""
    num_boxes = sum(len(g.labels) for g in ground_truth)
    truth = hotcoco.COCO.from_arrays(
        [{"id": g.image_id} for g in ground_truth],
        [{"id": c, "name": str(c)} for c in range(1, num_categories + 1)],
        _image_ids(ground_truth),
        _joined([g.labels for g in ground_truth], np.int64),
        _xywh([g.boxes_xyxy for g in ground_truth]),
        ids=np.arange(1, num_boxes + 1),
        area=_joined([g.area for g in ground_truth], np.float64),
        iscrowd=_joined([g.is_crowd for g in ground_truth], np.int64),
    )
    rows = np.column_stack(
        [
            _image_ids(detections),
            _xywh([d.boxes_xyxy for d in detections]),
            _joined([d.scores for d in detections], np.float64),
            _joined([d.labels for d in detections], np.int64),
        ]
    ).astype(np.float64)
    evaluation = hotcoco.COCOeval(truth, truth.load_res(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summary_lines()
    return [float(value) for value in evaluation.stats]


def _image_ids(items: Sequence[GroundTruth] | Sequence[Detection]) -> Array:
    return _joined([np.full(len(i.labels), i.image_id) for i in items], np.int64)


def _xywh(boxes_xyxy: Sequence[Array]) -> Array:
    joined = _joined([np.reshape(b, (-1, 4)) for b in boxes_xyxy], np.float64, empty=(0, 4))
    return np.concatenate([joined[:, :2], joined[:, 2:] - joined[:, :2]], axis=1)


def _joined(
    arrays: Sequence[Array], dtype: type[np.generic], empty: tuple[int, ...] = (0,)
) -> Array:
    if not arrays:
        return np.zeros(empty, dtype)
    return np.concatenate([np.asarray(a).astype(dtype) for a in arrays])
