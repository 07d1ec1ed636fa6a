"""Labels that all replicates of one arm contradict: a list to look at, never a change.

A replicate's box is sure if it reaches the replicate's threshold. Replicates agree on a box if each
has a sure one of the same label there. Doubts are ranked by how far the replicates are beyond their
thresholds, times how often the arm is right about the label elsewhere, so that an arm which often
errs comes late. The four kinds take turns, because a detector that misses many objects would fill
the list with one of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rethink_ray.analysis.read.box_overlap import measure_inside, measure_iou
from rethink_ray.analysis.read.kept_boxes import ArmBoxes, KeptBoxes
from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages

DoubtKind = Literal["no label", "another class", "another box", "not found"]
SAME, NEAR, TOUCHES = 0.5, 0.3, 0.1
"""IoU of one object seen twice; of a box beside a label, which may be another object; and of a
box that may be meant for the label."""
MIN_REPLICATES_TO_AGREE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDoubt:
    """One label, or the lack of one, that all replicates contradict."""

    image_id: int
    file_name: str
    kind: DoubtKind
    label: str
    """Name of the label in question; empty where there is none."""
    seen_as: str
    """Name that the replicates give; empty where they find nothing."""
    box_xyxy: tuple[float, float, float, float]
    """Mean of the replicates' boxes, or the label's own box where they find nothing."""
    label_xyxy: tuple[float, float, float, float] | None
    """Box of the label in question."""
    doubt: float
    """0..1: the higher, the sooner to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreed:
    """A box of all replicates."""

    image: AnnotatedImage
    label: int
    box: npt.NDArray[np.float64]
    certainty: float
    """How far the least sure replicate is above its threshold: 0 at it, 1 at a score of 1."""
    kind: DoubtKind | None
    """None: a label agrees, or nothing can be said."""
    fits: bool
    """Whether a label of the same class is there."""
    target: int = -1
    """Row of the label in question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unseen:
    """A label at which no replicate has a sure box."""

    image: AnnotatedImage
    row: int
    certainty: float
    """How far the surest box there is below its threshold: 0 at it, 1 without any box."""


def find_label_doubts(arm: ArmBoxes, images: ReportImages) -> tuple[LabelDoubt, ...]:
    """All doubts about labels: kinds take turns, each from its strongest doubt on.

    Args:
        arm: its replicates; fewer than two agree on nothing.
        images: what is labelled.
    """
    if len(arm.replicates) < MIN_REPLICATES_TO_AGREE:
        return ()
    agreed: list[_Agreed] = []
    unseen: list[_Unseen] = []
    num_labels: Counter[int] = Counter()
    num_seen: Counter[int] = Counter()
    for image in images.images.values():
        one = _Scene(arm.replicates, image)
        agreed += one.agreed
        unseen += one.list_unseen()
        num_labels.update(image.labels[~image.is_crowd].tolist())
        num_seen.update(image.labels[one.is_seen_by_all].tolist())
    num_agreed = Counter(one.label for one in agreed if one.fits or one.kind)
    num_fitting = Counter(one.label for one in agreed if one.fits)
    doubts = [
        _doubt_of_box(one, num_fitting[one.label] / num_agreed[one.label], images)
        for one in agreed
        if one.kind is not None
    ]
    for one_unseen in unseen:
        label = int(one_unseen.image.labels[one_unseen.row])
        doubts.append(_doubt_of_label(one_unseen, num_seen[label] / num_labels[label], images))
    return _rank(doubt for doubt in doubts if doubt.doubt > 0.0)


def _rank(doubts: Iterable[LabelDoubt]) -> tuple[LabelDoubt, ...]:
    """The strongest of each kind, then the second of each kind, ...; of equals the largest box."""
    by_kind: dict[DoubtKind, list[LabelDoubt]] = {}
    for doubt in sorted(doubts, key=lambda d: (-d.doubt, -_area(d), d.image_id, d.box_xyxy)):
        by_kind.setdefault(doubt.kind, []).append(doubt)
    turns = [(turn, doubt) for group in by_kind.values() for turn, doubt in enumerate(group)]
    turns.sort(key=lambda one: (one[0], -one[1].doubt, one[1].image_id, one[1].box_xyxy))
    return tuple(doubt for _, doubt in turns)


def _area(doubt: LabelDoubt) -> float:
    x0, y0, x1, y1 = doubt.box_xyxy
    return (x1 - x0) * (y1 - y0)


class _Scene:
    """One image as all replicates see it."""

    def __init__(self, replicates: tuple[KeptBoxes, ...], image: AnnotatedImage) -> None:
        self._replicates, self._image = replicates, image
        self._sure = [one.sure_rows_of(image.image_id) for one in replicates]
        self._counts = ~image.is_crowd
        seen = np.stack([self._sees(number) for number in range(len(replicates))])
        self._is_seen: npt.NDArray[np.bool_] = np.asarray(seen.any(axis=0))
        self.is_seen_by_all = seen.all(axis=0) & self._counts
        """[N]: labels that every replicate finds."""
        self.agreed = [self._compare(*boxes) for boxes in self._list_agreed()]

    def list_unseen(self) -> Iterator[_Unseen]:
        """Labels without a sure box of any class; those that another doubt is about left out."""
        image, questioned = self._image, {one.target for one in self.agreed if one.kind}
        nearest = np.zeros(len(image.labels))
        for boxes in self._replicates:
            rows = boxes.rows_of(image.image_id)
            is_there = measure_iou(image.boxes_xyxy, boxes.boxes_xyxy[rows]) >= SAME
            scores = boxes.scores[rows] / boxes.threshold
            nearest = np.maximum(nearest, (is_there * scores[None, :]).max(axis=1, initial=0.0))
        for row in np.flatnonzero(self._counts & (nearest < 1.0)):
            if int(row) not in questioned:
                certainty = 1.0 - float(nearest[row])
                yield _Unseen(image=image, row=int(row), certainty=certainty)

    def _sees(self, number: int) -> npt.NDArray[np.bool_]:
        """[N]: labels at which a replicate has a sure box of their own class."""
        boxes, rows = self._replicates[number], self._sure[number]
        iou = measure_iou(self._image.boxes_xyxy, boxes.boxes_xyxy[rows])
        is_same = self._image.labels[:, None] == boxes.labels[rows][None, :]
        seen: npt.NDArray[np.bool_] = ((iou >= SAME) & is_same).any(axis=1)
        return seen

    def _list_agreed(self) -> Iterator[tuple[int, npt.NDArray[np.float64], float]]:
        """(label, mean box, certainty) of each sure box that all replicates have."""
        first, rows = self._replicates[0], self._sure[0]
        for row in range(rows.start, rows.stop):
            label = int(first.labels[row])
            members = [first.boxes_xyxy[row]]
            certainties = [_certainty(float(first.scores[row]), first.threshold)]
            for boxes, sure in zip(self._replicates[1:], self._sure[1:], strict=True):
                iou = measure_iou(first.boxes_xyxy[row : row + 1], boxes.boxes_xyxy[sure])[0]
                iou = iou * (boxes.labels[sure] == label)
                if not iou.size or iou.max() < SAME:
                    break
                partner = sure.start + int(iou.argmax())
                members.append(boxes.boxes_xyxy[partner])
                certainties.append(_certainty(float(boxes.scores[partner]), boxes.threshold))
            else:
                yield label, np.mean(members, axis=0), min(certainties)

    def _compare(self, label: int, box: npt.NDArray[np.float64], certainty: float) -> _Agreed:
        """A box that all replicates have, held against the labels."""
        image = self._image
        iou = measure_iou(box[None], image.boxes_xyxy)[0] * self._counts
        inside = measure_inside(box[None], image.boxes_xyxy)[0] * image.is_crowd
        is_same = image.labels == label
        kind, target, fits = _compare_with_labels(iou, is_same, self._is_seen)
        if not fits and inside.max(initial=0.0) >= SAME:
            kind, target = None, -1
        return _Agreed(
            image=image,
            label=label,
            box=box,
            certainty=certainty,
            kind=kind,
            fits=fits,
            target=target,
        )


def _compare_with_labels(
    iou: npt.NDArray[np.float64], is_same: npt.NDArray[np.bool_], is_seen: npt.NDArray[np.bool_]
) -> tuple[DoubtKind | None, int, bool]:
    """(the doubt, the row of the label it is about, whether a label fits) of an agreed box.

    Args:
        iou: [N], of the box with each label.
        is_same: [N], whether the label is of the box's class.
        is_seen: [N], whether a replicate has a sure box of the label's own class there.
    """
    if not len(iou):
        return "no label", -1, False
    same, other = iou * is_same, iou * ~is_same
    if same.max() >= SAME:
        return None, -1, True
    nearest = int(other.argmax())
    if other[nearest] >= SAME:
        return ("another class", nearest, False) if not is_seen[nearest] else (None, -1, False)
    nearest = int(same.argmax())
    if same[nearest] >= TOUCHES and not is_seen[nearest]:
        return "another box", nearest, False
    return ("no label", -1, False) if iou.max() < NEAR else (None, -1, False)


def _certainty(score: float, threshold: float) -> float:
    return (score - threshold) / (1.0 - threshold) if threshold < 1.0 else 0.0


def _doubt_of_box(one: _Agreed, share_right: float, images: ReportImages) -> LabelDoubt:
    assert one.kind is not None
    image, has_label = one.image, one.target >= 0
    return LabelDoubt(
        image_id=image.image_id,
        file_name=image.file_name,
        kind=one.kind,
        label=images.name_of(int(image.labels[one.target])) if has_label else "",
        seen_as=images.name_of(one.label),
        box_xyxy=_corners(one.box),
        label_xyxy=_corners(image.boxes_xyxy[one.target]) if has_label else None,
        doubt=one.certainty * share_right,
    )


def _doubt_of_label(one: _Unseen, share_seen: float, images: ReportImages) -> LabelDoubt:
    image = one.image
    corners = _corners(image.boxes_xyxy[one.row])
    return LabelDoubt(
        image_id=image.image_id,
        file_name=image.file_name,
        kind="not found",
        label=images.name_of(int(image.labels[one.row])),
        seen_as="",
        box_xyxy=corners,
        label_xyxy=corners,
        doubt=one.certainty * share_seen,
    )


def _corners(box: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(side), 1) for side in box)
    return x0, y0, x1, y1
