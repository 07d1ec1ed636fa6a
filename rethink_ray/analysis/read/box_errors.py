"""Sorts wrong boxes and missed objects by kind, and scores what mending one kind would bring.

The kinds and the rules of mending are those of TIDE (Bolya et al. 2020, arXiv 2008.08115, sec. 2.2
and 2.3): an object counts as overlapped from IoU 0.5 on, a box below 0.1 is background. AP is that
at IoU 0.5. Unlike there, a label without any object does not count, as in COCO.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
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


RIGHT = -1
"""In place of the number of an error: the box is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBox:
    """One box that counts."""

    label: int
    score: float
    error: int
    """Its number among ``ERROR_KINDS``, or ``RIGHT``."""
    mended: int
    """The label under which it is right once its error is mended; 0: it is then gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedReplicate:
    """All boxes of a replicate, and the objects that it could have found."""

    labels: npt.NDArray[np.int64]
    """[D], as are the next three, which ``JudgedBox`` explains."""
    scores: npt.NDArray[np.float64]
    errors: npt.NDArray[np.int64]
    mended: npt.NDArray[np.int64]
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
    judged: list[JudgedBox] = []
    objects: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    for image_id, image in images.images.items():
        rows = boxes.rows_of(image_id)
        one = _ImageBoxes(
            boxes_xyxy=boxes.boxes_xyxy[rows],
            labels=boxes.labels[rows],
            scores=boxes.scores[rows],
            image=image,
        )
        objects.update(one.object_labels.tolist())
        judged += one.judge()
        missed.update(one.list_missed())
    return JudgedReplicate(
        labels=np.array([box.label for box in judged], np.int64),
        scores=np.array([box.score for box in judged], np.float64),
        errors=np.array([box.error for box in judged], np.int64),
        mended=np.array([box.mended for box in judged], np.int64),
        objects=dict(objects),
        missed=dict(missed),
    )


class _ImageBoxes:
    """The boxes of one image, matched with its objects."""

    def __init__(
        self,
        boxes_xyxy: npt.NDArray[np.float64],
        labels: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float64],
        image: AnnotatedImage,
    ) -> None:
        """Boxes come from the highest score to the lowest."""
        counts = ~image.is_crowd
        self.object_labels = image.labels[counts]
        self._labels, self._scores = labels, scores
        self._iou = measure_iou(boxes_xyxy, image.boxes_xyxy[counts])
        self._is_same = labels[:, None] == self.object_labels[None, :]
        self._taken = pair_by_score(self._iou * self._is_same, OBJECT_IOU)
        self._used = np.zeros(len(self.object_labels), np.bool_)
        self._used[self._taken[self._taken >= 0]] = True
        crowds = ~counts
        inside = measure_inside(boxes_xyxy, image.boxes_xyxy[crowds])
        inside *= labels[:, None] == image.labels[crowds][None, :]
        self._in_crowd: npt.NDArray[np.bool_] = np.asarray((inside > OBJECT_IOU).any(axis=1))
        self._errors = [self._error_of(row) for row in range(len(labels))]
        self._menders = self._choose_menders()

    def judge(self) -> Iterator[JudgedBox]:
        """Every box that counts."""
        for row, (error, target) in enumerate(self._errors):
            label, score = int(self._labels[row]), float(self._scores[row])
            if self._taken[row] >= 0:
                yield JudgedBox(label=label, score=score, error=RIGHT, mended=label)
            elif error and not self._in_crowd[row]:
                mends = target >= 0 and self._menders.get(target) == row
                mended = int(self.object_labels[target]) if mends else 0
                number = ERROR_KINDS.index(error)
                yield JudgedBox(label=label, score=score, error=number, mended=mended)

    def list_missed(self) -> list[int]:
        """Labels of the objects that no box found and that no mended box would find."""
        return [
            int(label)
            for column, label in enumerate(self.object_labels)
            if not self._used[column] and column not in self._menders
        ]

    def _error_of(self, row: int) -> tuple[ErrorKind | None, int]:
        """The error of a box, and the object that it is about; None and -1 for a right box."""
        if self._taken[row] >= 0 or self._in_crowd[row]:
            return None, -1
        if not len(self.object_labels):
            return "background", -1
        iou, is_same = self._iou[row], self._is_same[row]
        nearest, other = int((iou * is_same).argmax()), int((iou * ~is_same).argmax())
        if NOTHING_IOU <= iou[nearest] * is_same[nearest] <= OBJECT_IOU:
            return "localisation", nearest
        if iou[other] * ~is_same[other] >= OBJECT_IOU:
            return "classification", other
        if (iou * is_same * self._used).max() >= OBJECT_IOU:
            return "duplicate", -1
        return ("background" if iou.max() <= NOTHING_IOU else "both"), -1

    def _choose_menders(self) -> dict[int, int]:
        """Object -> the surest box that would find it once its own error is mended."""
        menders: dict[int, int] = {}
        for row, (_, target) in enumerate(self._errors):
            if target >= 0 and not self._used[target]:
                menders.setdefault(target, row)
        return menders
