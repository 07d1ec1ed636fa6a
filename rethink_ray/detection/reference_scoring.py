"""Scores detections with pycocotools, the reference for ``scoring``.

It is about forty times slower than ``scoring``, so it runs on request only: ``rethink-ray evaluate
RUN --reference``.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rethink_ray.detection.scoring import Detection, GroundTruth, keypoint_sigmas, mask_crowds
from rethink_ray.spec.metrics import BOX_METRICS, KEYPOINT_METRICS, MASK_METRICS

METRICS = {"bbox": BOX_METRICS, "segm": MASK_METRICS, "keypoints": KEYPOINT_METRICS}
Records = list[dict[str, Any]]


def score_by_pycocotools(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> dict[str, float]:
    """Returns the metrics of ``scoring.score``, computed by pycocotools, in AP points.

    Args:
        ground_truth: masks and keypoints are scored if all images have them.
        detections: one entry per image.
        num_categories: labels count from 1 to this.
    """
    kinds = ["bbox"]
    if ground_truth and all(g.masks is not None for g in ground_truth):
        kinds.append("segm")
    if ground_truth and all(g.keypoints is not None for g in ground_truth):
        kinds.append("keypoints")
    numbers: dict[str, float] = {}
    for kind in kinds:
        stats = _evaluate(ground_truth, detections, num_categories, kind)
        numbers |= dict(zip(METRICS[kind], stats, strict=True))
    return numbers


def largest_difference(ours: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Returns the largest difference of common metrics in AP points; infinite if one is NaN."""
    largest = 0.0
    for name in ours.keys() & reference.keys():
        pair = (ours[name], reference[name])
        if np.isnan(pair).all():
            continue
        largest = max(largest, float("inf") if np.isnan(pair).any() else abs(pair[0] - pair[1]))
    return largest


def _evaluate(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detection],
    num_categories: int,
    kind: str,
) -> list[float]:
    # pycocotools requires sizes but uses them for polygons only; our masks are run lengths
    images = [{"id": g.image_id, "height": 0, "width": 0} for g in ground_truth]
    categories = [{"id": label} for label in range(1, num_categories + 1)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints each of its steps
        evaluation = COCOeval(
            _build_coco(images, categories, _build_annotations(ground_truth, kind)),
            _build_coco(images, categories, _build_results(detections, kind)),
            kind,
        )
        if kind == "keypoints":
            num_keypoints = max(
                g.keypoints.shape[1] for g in ground_truth if g.keypoints is not None
            )
            evaluation.params.kpt_oks_sigmas = np.array(keypoint_sigmas(num_keypoints))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float("nan") if value == -1 else 100.0 * float(value) for value in evaluation.stats]


def _build_coco(images: Records, categories: Records, annotations: Records) -> Any:
    """Builds a data set in memory; its annotations are numbered from 1."""
    coco = COCO()
    numbered = [annotation | {"id": i} for i, annotation in enumerate(annotations, start=1)]
    coco.dataset = {"images": images, "categories": categories, "annotations": numbered}
    coco.createIndex()
    return coco


def _build_annotations(ground_truth: Sequence[GroundTruth], kind: str) -> Records:
    rows: Records = []
    for g in ground_truth:
        crowds = mask_crowds(g) if kind == "segm" else g.is_crowd
        for i, label in enumerate(g.labels):
            row = {
                "image_id": g.image_id,
                "category_id": int(label),
                "bbox": _to_xywh(g.boxes_xyxy[i]),
                "area": float(g.area[i]),
                "iscrowd": int(crowds[i]),
            }
            if kind == "segm" and g.masks is not None:
                row["segmentation"] = g.masks[i]
            if kind == "keypoints" and g.keypoints is not None:
                points = np.asarray(g.keypoints[i], np.float64)
                row["keypoints"] = points.ravel().tolist()
                row["num_keypoints"] = int((points[:, 2] > 0).sum())
            rows.append(row)
    return rows


def _build_results(detections: Sequence[Detection], kind: str) -> Records:
    """Builds the records that ``COCO.loadRes`` builds, which refuses an empty list."""
    rows: Records = []
    for d in detections:
        for i, label in enumerate(d.labels):
            box = _to_xywh(d.boxes_xyxy[i])
            row = {
                "image_id": d.image_id,
                "category_id": int(label),
                "score": float(d.scores[i]),
                "iscrowd": 0,
                "bbox": box,
                "area": box[2] * box[3],
            }
            if kind == "segm":
                assert d.masks is not None
                row["segmentation"] = d.masks[i]
                row["area"] = float(coco_mask.area(d.masks[i]))
            if kind == "keypoints":
                assert d.keypoints is not None
                points = np.asarray(d.keypoints[i], np.float64)
                (x0, y0), (x1, y1) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
                row["keypoints"] = points.ravel().tolist()
                row["bbox"] = [x0, y0, x1 - x0, y1 - y0]
                row["area"] = float((x1 - x0) * (y1 - y0))
            rows.append(row)
    return rows


def _to_xywh(box_xyxy: Any) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    return [x0, y0, x1 - x0, y1 - y0]
