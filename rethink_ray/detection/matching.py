"""Which object each anchor is held against, for all images of a batch at once.

The images of a batch share their anchors: those depend on the padded size only. No function here
waits for a GPU, since none asks how many of something there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

UNMATCHED = Matcher.BELOW_LOW_THRESHOLD
IGNORED = Matcher.BETWEEN_THRESHOLDS
"""Instead of an object's row: background, and neither background nor foreground."""
PAIRS_AT_ONCE = 2**24
"""Images are matched together up to so many pairs of an object and an anchor. One matrix takes 64
MiB then; beyond it images are matched one after the other, which a GPU does as fast."""
LARGEST_AREA = 1e8
"""Of an object, in square pixels: torchvision's FCOS prefers smaller objects by this margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedObjects:
    """The objects of a batch, as many rows in each image as the fullest one has (at least one)."""

    boxes_xyxy: Tensor
    """``[N, M, 4]`` float32; zeros in rows without an object, which come last."""
    labels: Tensor
    """``[N, M]`` int64; -1 in rows without an object."""
    counts: tuple[int, ...]
    """Objects in each image."""

    @property
    def is_object(self) -> Tensor:
        """``[N, M]`` bool."""
        return self.labels >= 0

    def matched_boxes(self, matches: Tensor) -> Tensor:
        """``[N, A, 4]``: the object's box, or any box where ``matches [N, A]`` names none."""
        rows = matches.clamp(min=0)[..., None].expand(-1, -1, 4)
        return self.boxes_xyxy.gather(1, rows)

    def matched_labels(self, matches: Tensor) -> Tensor:
        """``[N, A]``: the object's label, or -1 where ``matches [N, A]`` names none."""
        labels = self.labels.gather(1, matches.clamp(min=0))
        return labels.masked_fill(matches < 0, -1)

    def split_pairs(self, num_anchors: int) -> Iterator["PaddedObjects"]:
        """Consecutive images whose pairs with the anchors fit ``PAIRS_AT_ONCE``, or single ones."""
        start = 0
        for stop in range(1, len(self.counts) + 1):
            is_last = stop == len(self.counts)
            if is_last or _num_pairs(self.counts[start : stop + 1], num_anchors) > PAIRS_AT_ONCE:
                yield self._part(start, stop)
                start = stop

    def _part(self, start: int, stop: int) -> "PaddedObjects":
        counts = self.counts[start:stop]
        rows = max(1, *counts)
        return PaddedObjects(
            boxes_xyxy=self.boxes_xyxy[start:stop, :rows],
            labels=self.labels[start:stop, :rows],
            counts=counts,
        )


def _num_pairs(counts: Sequence[int], num_anchors: int) -> int:
    return len(counts) * max(1, *counts) * num_anchors


def pad_objects(targets: Sequence[Mapping[str, Tensor]]) -> PaddedObjects:
    """The batch's ``boxes`` and ``labels`` (not negative), side by side."""
    boxes = [target["boxes"] for target in targets]
    counts = tuple(len(b) for b in boxes)
    padded = pad_sequence(boxes, batch_first=True)
    labels = pad_sequence([t["labels"] for t in targets], batch_first=True, padding_value=-1)
    if not max(counts):
        padded = boxes[0].new_zeros(len(counts), 1, 4)
        labels = labels.new_full((len(counts), 1), -1)
    return PaddedObjects(boxes_xyxy=padded, labels=labels, counts=counts)


def require_sides(targets: Sequence[Mapping[str, Tensor]]) -> None:
    """Every box has a width and a height; a GPU says so when it comes to it.

    Raises:
        RuntimeError: one has not, which ``data`` never hands out.
    """
    boxes = torch.cat([target["boxes"] for target in targets])
    has_sides = (boxes[:, 2:] > boxes[:, :2]).all()
    torch._assert_async(has_sides, "targets: every box must have a positive width and height")


def indices_where(masks: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The places of each image where its mask is not zero, in order; one wait for the batch."""
    padded = masks if isinstance(masks, Tensor) else pad_sequence(list(masks), batch_first=True)
    counts = (padded != 0).sum(dim=1).tolist()
    indices = torch.nonzero_static(padded, size=sum(counts))[:, 1]
    return list(torch.split(indices, counts))


def match_by_overlap(objects: PaddedObjects, anchors: Tensor, matcher: Matcher) -> Tensor:
    """``[N, A]`` int64: the row of each anchor's object, ``UNMATCHED`` or ``IGNORED``.

    The same as torchvision's ``Matcher`` image by image.

    Args:
        objects: of the batch.
        anchors: ``[A, 4]`` xyxy, of every image.
        matcher: holds the two thresholds, and whether each object gets its best anchors.
    """
    parts = [_overlap_matches(part, anchors, matcher) for part in objects.split_pairs(len(anchors))]
    return torch.cat(parts)


def _overlap_matches(objects: PaddedObjects, anchors: Tensor, matcher: Matcher) -> Tensor:
    num_images, num_rows = objects.labels.shape
    ious = box_iou(objects.boxes_xyxy.flatten(0, 1), anchors).view(num_images, num_rows, -1)
    best, rows = ious.max(dim=1)
    matches = torch.where(best < matcher.high_threshold, IGNORED, rows)
    matches = torch.where(best < matcher.low_threshold, UNMATCHED, matches)
    if matcher.allow_low_quality_matches:
        of_object = ious.amax(dim=2, keepdim=True)
        of_object = of_object.masked_fill(~objects.is_object[..., None], -1.0)
        matches = torch.where((ious == of_object).any(dim=1), rows, matches)
    return torch.where(objects.is_object[:, :1], matches, UNMATCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """FCOS's anchors: a point each, and which objects it answers for."""

    centers: Tensor
    """``[A, 2]`` x and y, pixels."""
    radius: Tensor
    """``[A]``: an object's centre lies nearer than this, along x and along y."""
    lower: Tensor
    """``[A]``: the farthest side of an object is farther away than this,"""
    upper: Tensor
    """``[A]``: and nearer than this."""


def points_of(anchors: Tensor, num_per_level: Sequence[int], radius: float) -> Points:
    """Points in the middle of square anchors ``[A, 4]``.

    ``radius``: in sides of an anchor. The first level has no lower bound, the last no upper one.
    """
    sides = anchors[:, 2] - anchors[:, 0]
    lower, upper = sides * 4, sides * 8
    lower[: num_per_level[0]] = 0
    upper[-num_per_level[-1] :] = float("inf")
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    return Points(centers=centers, radius=radius * sides, lower=lower, upper=upper)


def match_by_range(objects: PaddedObjects, points: Points) -> Tensor:
    """``[N, A]`` int64: the row of each point's object, or ``UNMATCHED``.

    The same as torchvision's FCOS image by image: of the objects that a point lies in and whose
    reach is in its level's range, the smallest.
    """
    num_points = len(points.centers)
    return torch.cat([_range_matches(part, points) for part in objects.split_pairs(num_points)])


def _range_matches(objects: PaddedObjects, points: Points) -> Tensor:
    """A row without an object matches nothing: no point lies inside a box without area."""
    x0, y0, x1, y1 = objects.boxes_xyxy[..., None, :].unbind(-1)  # [N, M, 1] each
    x, y = points.centers.unbind(1)
    to_center = torch.maximum((x - (x0 + x1) / 2).abs(), (y - (y0 + y1) / 2).abs())
    left, top, right, bottom = x - x0, y - y0, x1 - x, y1 - y
    inner = torch.minimum(torch.minimum(left, top), torch.minimum(right, bottom))
    reach = torch.maximum(torch.maximum(left, top), torch.maximum(right, bottom))
    fits = (to_center < points.radius) & (inner > 0)
    fits &= (reach > points.lower) & (reach < points.upper)
    preference = fits * (LARGEST_AREA - (x1 - x0) * (y1 - y0))
    best, rows = preference.max(dim=1)
    return torch.where(best < 1e-5, UNMATCHED, rows)
