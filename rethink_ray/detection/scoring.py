"""Computes COCO's metrics of boxes, masks and keypoints, in AP points (0..100).

Higher is better for all of them. Results agree with pycocotools to 1e-12; measurements decided for
hotcoco as the backend.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import hotcoco.mask as coco_mask
import numpy as np
import numpy.typing as npt

from rethink_ray.spec.metrics import BOX_METRICS, KEYPOINT_METRICS, MASK_METRICS

COCO_SIGMAS = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)
"""Scatter of annotators for each of a person's 17 keypoints, in units of the object's size."""
OTHER_SIGMA = 0.05
"""Scatter for keypoints of other data sets, about the middle of COCO's. A keypoint that is off by a
twentieth of the square root of its object's area has a similarity of 0.88."""

Array = npt.NDArray[Any]
RunLengths = dict[str, Any]
"""A mask in COCO's compressed form: ``size`` (height, width) and ``counts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """The annotated objects of one image; there may be none."""

    image_id: int
    boxes_xyxy: Array
    """[N, 4], absolute pixels."""
    labels: Array
    """[N], counting from 1."""
    is_crowd: Array
    """[N]: crowds, and VOC's difficult objects. In COCO's metrics detections inside them count
    neither as right nor as wrong."""
    area: Array
    """[N], square pixels (in COCO of the mask); decides the size bin."""
    masks: Sequence[RunLengths] | None = None
    """N; ``None``: masks are not scored."""
    has_mask: Array | None = None
    """[N]: false for objects whose mask is unknown. ``masks`` has their box, and the metrics of
    masks take it for a crowd: detections inside count neither as right nor as wrong. ``None``: all
    masks are known."""
    keypoints: Array | None = None
    """[N, K, 3]: x, y, visibility; ``None``: keypoints are not scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The detections in one image."""

    image_id: int
    boxes_xyxy: Array
    """[D, 4], absolute pixels."""
    scores: Array
    """[D]."""
    labels: Array
    """[D], counting from 1."""
    masks: Sequence[RunLengths] | None = None
    """D masks, if the detector predicts them."""
    keypoints: Array | None = None
    """[D, K, 3]: x, y and a third value that is not read, if the detector predicts them."""


def score(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detection],
    num_categories: int,
    groups: Mapping[str, Iterable[int]] | None = None,
) -> dict[str, float]:
    """Returns COCO's metrics over exactly the images of ``ground_truth``.

    Images without objects count too: every detection in them is wrong. The metric of a bin without
    objects is NaN. The best 100 detections of *each category* in an image count (20 for keypoints),
    so that an image with several categories may have more. Source: pycocotools, ``maxDets``.

    Args:
        ground_truth: masks and keypoints are scored if all images have them.
        detections: with masks and keypoints if those are scored.
        num_categories: labels count from 1 to this.
        groups: name -> labels; ``ap_<name>`` is the mean over those categories, as is
            ``mask_ap_<name>``.

    Raises:
        AssertionError: an image occurs twice, or a detection belongs to none of the images.
    """
    image_ids = [g.image_id for g in ground_truth]
    assert len(set(image_ids)) == len(image_ids), "every image is scored once"
    assert {d.image_id for d in detections} <= set(image_ids), "detections are of these images"
    named = {name: sorted(labels) for name, labels in (groups or {}).items()}
    boxes = _evaluate_boxes(ground_truth, detections, num_categories)
    numbers = _summarize(boxes, BOX_METRICS) | _average_by_group(boxes, "ap", named)
    if ground_truth and all(g.masks is not None for g in ground_truth):
        masks = _evaluate_masks(ground_truth, detections, num_categories)
        numbers |= _summarize(masks, MASK_METRICS) | _average_by_group(masks, "mask_ap", named)
    if ground_truth and all(g.keypoints is not None for g in ground_truth):
        points = _evaluate_keypoints(ground_truth, detections, num_categories)
        numbers |= _summarize(points, KEYPOINT_METRICS)
    return numbers


def mask_crowds(truth: GroundTruth) -> Array:
    """Returns [N]: which objects the metrics of masks take for crowds."""
    crowds: Array = np.asarray(truth.is_crowd, np.bool_)
    return crowds if truth.has_mask is None else crowds | ~np.asarray(truth.has_mask, np.bool_)


def match_boxes(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Any:
    """Returns COCO's box evaluation after matching; ``eval_imgs`` holds the matches.

    It covers objects of all sizes, and the best 100 detections of each category in an image.
    Objects and detections are numbered from 1, in the order of the arguments.
    """
    evaluation = _evaluate_boxes(ground_truth, detections, num_categories)
    evaluation.params.area_rng = evaluation.params.area_rng[:1]
    evaluation.params.area_rng_lbl = evaluation.params.area_rng_lbl[:1]
    evaluation.evaluate()
    return evaluation


def _summarize(evaluation: Any, names: Sequence[str]) -> dict[str, float]:
    """Returns COCO's summary under our names; COCO's -1 (no objects) becomes NaN."""
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summary_lines()
    return {name: _to_points(value) for name, value in zip(names, evaluation.stats, strict=True)}


def _average_by_group(
    evaluation: Any, name: str, groups: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """Averages precision over the categories of each group; those without objects are left out."""
    if not groups:
        return {}
    precision = evaluation.eval["precision"][..., 0, -1]
    by_name: dict[str, float] = {}
    for group, labels in groups.items():
        values = precision[:, :, [label - 1 for label in labels]]
        values = values[values > -1]
        by_name[f"{name}_{group}"] = _to_points(values.mean() if values.size else -1)
    return by_name


def _to_points(value: float) -> float:
    return float("nan") if value == -1 else 100.0 * float(value)


def _evaluate_boxes(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Any:
    truth = _build_truth(ground_truth, num_categories)
    return hotcoco.COCOeval(truth, truth.load_res(_build_rows(detections)), "bbox")


def _evaluate_masks(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Any:
    """Evaluates masks; as in COCO, the area of a detection is that of its mask."""
    truth = _build_truth(
        ground_truth, num_categories, [m for g in ground_truth for m in g.masks or ()]
    )
    masks = [m for d in detections for m in d.masks or ()]
    results = truth.load_res(_build_rows(detections), segmentation=masks)
    if masks:
        results.update_anns(ids=sorted(results.anns), area=coco_mask.area(masks))
    return hotcoco.COCOeval(truth, results, "segm")


def _evaluate_keypoints(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Any:
    truth = hotcoco.COCO(
        {
            "images": [{"id": g.image_id} for g in ground_truth],
            "categories": _build_categories(num_categories),
            "annotations": _build_keypoint_records(ground_truth),
        }
    )
    results = [
        {
            "image_id": d.image_id,
            "category_id": int(d.labels[i]),
            "keypoints": np.asarray(points, np.float64).ravel().tolist(),
            "score": float(d.scores[i]),
        }
        for d in detections
        if d.keypoints is not None
        for i, points in enumerate(d.keypoints)
    ]
    evaluation = hotcoco.COCOeval(truth, truth.load_res(results), "keypoints")
    num_keypoints = max(g.keypoints.shape[1] for g in ground_truth if g.keypoints is not None)
    evaluation.params.kpt_oks_sigmas = keypoint_sigmas(num_keypoints)
    return evaluation


def keypoint_sigmas(num_keypoints: int) -> list[float]:
    """Returns COCO's sigmas for 17 keypoints, and one common value for other numbers."""
    if num_keypoints == len(COCO_SIGMAS):
        return list(COCO_SIGMAS)
    return [OTHER_SIGMA] * num_keypoints


def _build_keypoint_records(ground_truth: Sequence[GroundTruth]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for g in ground_truth:
        boxes = _to_xywh([g.boxes_xyxy])
        for i, points in enumerate([] if g.keypoints is None else g.keypoints):
            records.append(
                {
                    "id": len(records) + 1,
                    "image_id": g.image_id,
                    "category_id": int(g.labels[i]),
                    "bbox": boxes[i].tolist(),
                    "area": float(g.area[i]),
                    "iscrowd": int(g.is_crowd[i]),
                    "keypoints": np.asarray(points, np.float64).ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                }
            )
    return records


def _build_truth(
    ground_truth: Sequence[GroundTruth],
    num_categories: int,
    masks: Sequence[RunLengths] | None = None,
) -> Any:
    num_boxes = sum(len(g.labels) for g in ground_truth)
    crowds = [g.is_crowd if masks is None else mask_crowds(g) for g in ground_truth]
    return hotcoco.COCO.from_arrays(
        [{"id": g.image_id} for g in ground_truth],
        _build_categories(num_categories),
        _image_ids(ground_truth),
        _concatenate([g.labels for g in ground_truth], np.int64),
        _to_xywh([g.boxes_xyxy for g in ground_truth]),
        ids=np.arange(1, num_boxes + 1),
        area=_concatenate([g.area for g in ground_truth], np.float64),
        iscrowd=_concatenate(crowds, np.int64),
        segmentation=None if masks is None else list(masks),
    )


def _build_categories(num_categories: int) -> list[dict[str, Any]]:
    return [{"id": c, "name": str(c)} for c in range(1, num_categories + 1)]


def _build_rows(detections: Sequence[Detection]) -> Array:
    """Returns detections as rows of image, x, y, width, height, score, category."""
    rows: Array = np.column_stack(
        [
            _image_ids(detections),
            _to_xywh([d.boxes_xyxy for d in detections]),
            _concatenate([d.scores for d in detections], np.float64),
            _concatenate([d.labels for d in detections], np.int64),
        ]
    ).astype(np.float64)
    return rows


def _image_ids(items: Sequence[GroundTruth] | Sequence[Detection]) -> Array:
    return _concatenate([np.full(len(i.labels), i.image_id) for i in items], np.int64)


def _to_xywh(boxes_xyxy: Sequence[Array]) -> Array:
    joined = _concatenate([np.reshape(b, (-1, 4)) for b in boxes_xyxy], np.float64, empty=(0, 4))
    return np.concatenate([joined[:, :2], joined[:, 2:] - joined[:, :2]], axis=1)


def _concatenate(
    arrays: Sequence[Array], dtype: type[np.generic], empty: tuple[int, ...] = (0,)
) -> Array:
    if not arrays:
        return np.zeros(empty, dtype)
    return np.concatenate([np.asarray(a).astype(dtype) for a in arrays])
