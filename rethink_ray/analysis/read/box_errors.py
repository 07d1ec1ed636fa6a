"""Sorts wrong boxes and missed objects by kind, and scores what mending one kind would bring.

The kinds and the rules of mending are those of TIDE (Bolya et al. 2020, arXiv 2008.08115, sec. 2.2
and 2.3): an object counts as overlapped from IoU 0.5 on, a box below 0.1 is background. AP is that
at IoU 0.5. Unlike there, a label without any object does not count, as in COCO.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rethink_ray.analysis.read.box_overlap import measure_inside, measure_iou, pair_by_score
from rethink_ray.analysis.read.detected import RECALLS
from rethink_ray.analysis.read.kept_boxes import KeptBoxes
from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
OBJECT_IOU, NOTHING_IOU = 0.5, 0.1
"""IoU from which on a box is on an object, and up to which it is on none."""


RIGHT, IN_CROWD = -1, -2
"""In place of the number of an error: the box is right; it lies in a crowd and does not count."""
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedReplicate:
    """All boxes of a replicate, and the objects that it could have found."""

    labels: Numbers
    """[D], of the boxes that count."""
    scores: npt.NDArray[np.float64]
    """[D]."""
    errors: Numbers
    """[D]: the number of a box's error among ``ERROR_KINDS``, or ``RIGHT``."""
    mended: Numbers
    """[D]: the label under which a box is right once its error is mended; 0: it is then gone."""
    objects: Mapping[int, int]
    """Label -> number of objects."""
    missed: Mapping[int, int]
    """Label -> objects that no box found and that no mended box would find."""

    def count(self, kind: ErrorKind) -> int:
        """Boxes with this error, or missed objects."""
        if kind == "missed":
            return sum(self.missed.values())
        return int((self.errors == ERROR_KINDS.index(kind)).sum())

    def score(self, mended: ErrorKind | None = None) -> float:
        """AP at IoU 0.5, in points, once one kind of error is mended."""
        number = ERROR_KINDS.index(mended) if mended else len(ERROR_KINDS)
        is_mended = self.errors == number
        labels = np.where(is_mended, self.mended, self.labels)
        is_right = is_mended | (self.errors == RIGHT)
        each = []
        for label, num in self.objects.items():
            left = num - (self.missed.get(label, 0) if mended == "missed" else 0)
            rows = labels == label
            if left or rows.any():
                each.append(interpolate_precision(self.scores[rows], is_right[rows], left))
        return 100.0 * float(np.mean(each)) if each else 0.0

    def list_gains(self) -> dict[ErrorKind, float]:
        """Points of AP at IoU 0.5 that mending one kind of error brings, at least 0."""
        base = self.score()
        return {kind: max(0.0, self.score(kind) - base) for kind in ERROR_KINDS}


def interpolate_precision(
    scores: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_], num_objects: int
) -> float:
    """COCO's average precision of boxes, 0..1."""
    if not len(scores) or not num_objects:
        return 0.0
    right = np.cumsum(is_right[np.argsort(-scores, kind="stable")])
    precision = right / np.arange(1, len(scores) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / num_objects, RECALLS, side="left")
    return float(precision[at[at < len(precision)]].sum()) / len(RECALLS)


def judge_boxes(boxes: KeptBoxes, images: ReportImages) -> JudgedReplicate:
    """Every box of a replicate with its error, if it has one."""
    errors: Numbers = np.full(len(boxes.labels), IN_CROWD, np.int64)
    mended: Numbers = np.zeros(len(boxes.labels), np.int64)
    objects: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    for image_id, image in images.images.items():
        rows, counts = boxes.rows_of(image_id), ~image.is_crowd
        object_labels = image.labels[counts]
        matched = _match(boxes, rows, image)
        errors[rows] = matched.errors
        mends = _choose_menders(matched)
        for target, row in mends.items():
            mended[rows.start + row] = object_labels[target]
        objects.update(object_labels.tolist())
        missed.update(
            int(label)
            for column, label in enumerate(object_labels)
            if not matched.used[column] and column not in mends
        )
    counted = errors != IN_CROWD
    return JudgedReplicate(
        labels=boxes.labels[counted],
        scores=boxes.scores[counted],
        errors=errors[counted],
        mended=mended[counted],
        objects=dict(objects),
        missed=dict(missed),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matched:
    """The boxes of one image, held against its objects."""

    errors: Numbers
    """[D], from the highest score to the lowest."""
    targets: Numbers
    """[D]: the object that an error of place or class is about; -1 for other boxes."""
    used: npt.NDArray[np.bool_]
    """[N]: objects that a box has found."""


def _match(boxes: KeptBoxes, rows: slice, image: AnnotatedImage) -> _Matched:
    """The error of each box of an image; of several that could apply, the one assigned last."""
    counts, labels, corners = ~image.is_crowd, boxes.labels[rows], boxes.boxes_xyxy[rows]
    inside = measure_inside(corners, image.boxes_xyxy[~counts])
    inside *= labels[:, None] == image.labels[~counts][None, :]
    iou = measure_iou(corners, image.boxes_xyxy[counts])
    is_same = labels[:, None] == image.labels[counts][None, :]
    same, other = iou * is_same, iou * ~is_same
    taken = pair_by_score(same, OBJECT_IOU)
    used: npt.NDArray[np.bool_] = np.zeros(iou.shape[1], np.bool_)
    used[taken[taken >= 0]] = True
    best_same = same.max(axis=1, initial=0.0)
    is_near = (best_same >= NOTHING_IOU) & (best_same <= OBJECT_IOU)
    is_other = other.max(axis=1, initial=0.0) >= OBJECT_IOU
    errors: Numbers = np.full(len(labels), ERROR_KINDS.index("both"), np.int64)
    errors[iou.max(axis=1, initial=0.0) <= NOTHING_IOU] = ERROR_KINDS.index("background")
    is_double = (same * used).max(axis=1, initial=0.0) >= OBJECT_IOU
    errors[is_double] = ERROR_KINDS.index("duplicate")
    errors[is_other] = ERROR_KINDS.index("classification")
    errors[is_near] = ERROR_KINDS.index("localisation")
    targets: Numbers = np.full(len(labels), -1, np.int64)
    if iou.shape[1]:
        targets[is_other] = other.argmax(axis=1)[is_other]
        targets[is_near] = same.argmax(axis=1)[is_near]
    is_ignored = (taken < 0) & (inside > OBJECT_IOU).any(axis=1)
    for rule, number in ((is_ignored, IN_CROWD), (taken >= 0, RIGHT)):
        errors[rule], targets[rule] = number, -1
    return _Matched(errors=errors, targets=targets, used=used)


def _choose_menders(matched: _Matched) -> dict[int, int]:
    """Object -> the surest box that would find it once its own error is mended."""
    menders: dict[int, int] = {}
    for row in np.flatnonzero(matched.targets >= 0).tolist():
        target = int(matched.targets[row])
        if not matched.used[target]:
            menders.setdefault(target, row)
    return menders
