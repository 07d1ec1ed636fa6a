"""Matches anchors with objects, for all images of a batch at once.

The images of a batch have the same anchors, which depend on the padded size only. These functions
do not wait for a GPU, except ``find_indices``, since they never read a count from it.
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
"""In place of an object's row: background; neither background nor foreground."""
PAIRS_AT_ONCE = 2**24
"""Most pairs of object and anchor that are matched at once. One matrix then takes 64 MiB; larger
batches are matched in parts, which is as fast on a GPU."""
LARGEST_AREA = 1e8
"""Square pixels, above every object's area: FCOS's preference is this minus the area, as in
torchvision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedObjects:
    """The objects of a batch; every image has as many rows as the largest one (at least one)."""

    boxes_xyxy: Tensor
    """``[N, M, 4]`` float32; zeros in rows without an object, which come last."""
    labels: Tensor
    """``[N, M]`` int64; -1 in rows without an object."""
    counts: tuple[int, ...]
    """Objects in each image."""

    @property
    def is_object(self) -> Tensor:
        """``[N, M]`` bool: whether a row holds an object."""
        return self.labels >= 0

    def matched_boxes(self, matches: Tensor) -> Tensor:
        """Returns each match's box, ``[N, A, 4]``; an arbitrary box if ``matches`` is negative."""
        rows = matches.clamp(min=0)[..., None].expand(-1, -1, 4)
        return self.boxes_xyxy.gather(1, rows)

    def matched_labels(self, matches: Tensor) -> Tensor:
        """Returns each match's label, ``[N, A]``; -1 if ``matches [N, A]`` is negative."""
        labels = self.labels.gather(1, matches.clamp(min=0))
        return labels.masked_fill(matches < 0, -1)

    def split_pairs(self, num_anchors: int) -> Iterator["PaddedObjects"]:
        """Splits the batch so that each part has at most ``PAIRS_AT_ONCE`` pairs or one image."""
        start = 0
        for stop in range(1, len(self.counts) + 1):
            is_last = stop == len(self.counts)
            if is_last or _count_pairs(self.counts[start : stop + 1], num_anchors) > PAIRS_AT_ONCE:
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


def _count_pairs(counts: Sequence[int], num_anchors: int) -> int:
    return len(counts) * max(1, *counts) * num_anchors


def pad_objects(targets: Sequence[Mapping[str, Tensor]]) -> PaddedObjects:
    """Pads the ``boxes`` and ``labels`` (not negative) of a batch to equal lengths."""
    boxes = [target["boxes"] for target in targets]
    counts = tuple(len(b) for b in boxes)
    padded = pad_sequence(boxes, batch_first=True)
    labels = pad_sequence([t["labels"] for t in targets], batch_first=True, padding_value=-1)
    if not max(counts):
        padded = boxes[0].new_zeros(len(counts), 1, 4)
        labels = labels.new_full((len(counts), 1), -1)
    return PaddedObjects(boxes_xyxy=padded, labels=labels, counts=counts)


def require_sides(targets: Sequence[Mapping[str, Tensor]]) -> None:
    """Refuses boxes without width or height, which ``data`` never returns.

    Raises:
        RuntimeError: a box is degenerate; on a GPU the error comes later, without a wait.
    """
    boxes = torch.cat([target["boxes"] for target in targets])
    has_sides = (boxes[:, 2:] > boxes[:, :2]).all()
    torch._assert_async(has_sides, "targets: every box must have a positive width and height")


def find_indices(masks: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Returns the indices of nonzero entries per image, ascending; waits for a GPU once."""
    padded = masks if isinstance(masks, Tensor) else pad_sequence(list(masks), batch_first=True)
    counts = (padded != 0).sum(dim=1).tolist()
    indices = torch.nonzero_static(padded, size=sum(counts))[:, 1]
    return list(torch.split(indices, counts))


def match_by_overlap(objects: PaddedObjects, anchors: Tensor, matcher: Matcher) -> Tensor:
    """Matches anchors by overlap, with the results of torchvision's ``Matcher`` per image.

    Args:
        objects: of the batch.
        anchors: ``[A, 4]`` xyxy, the same for every image.
        matcher: the two thresholds, and whether each object gets its best anchors.

    Returns:
        ``[N, A]`` int64: the row of each anchor's object, ``UNMATCHED`` or ``IGNORED``.
    """
    parts = [
        _match_part_by_overlap(part, anchors, matcher) for part in objects.split_pairs(len(anchors))
    ]
    return torch.cat(parts)


def _match_part_by_overlap(objects: PaddedObjects, anchors: Tensor, matcher: Matcher) -> Tensor:
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
class FcosPoints:
    """FCOS's points, and the objects that each of them may match."""

    centers: Tensor
    """``[A, 2]`` x and y, pixels."""
    radius: Tensor
    """``[A]``: largest distance to an object's centre along x and along y, exclusive."""
    lower: Tensor
    """``[A]``: smallest distance to the object's farthest side, exclusive."""
    upper: Tensor
    """``[A]``: largest distance to the object's farthest side, exclusive."""


def build_points(anchors: Tensor, num_per_level: Sequence[int], radius: float) -> FcosPoints:
    """Returns points at the centres of square anchors ``[A, 4]``.

    ``radius`` is in sides of an anchor. The first level has no lower bound, the last no upper one.
    """
    sides = anchors[:, 2] - anchors[:, 0]
    lower, upper = sides * 4, sides * 8
    lower[: num_per_level[0]] = 0
    upper[-num_per_level[-1] :] = float("inf")
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    return FcosPoints(centers=centers, radius=radius * sides, lower=lower, upper=upper)


def match_by_range(objects: PaddedObjects, points: FcosPoints) -> Tensor:
    """Matches points with objects, with the results of torchvision's FCOS per image.

    A point matches the smallest object that contains it and whose farthest side is within the
    point's range.

    Returns:
        ``[N, A]`` int64: the row of each point's object, or ``UNMATCHED``.
    """
    num_points = len(points.centers)
    return torch.cat(
        [_match_part_by_range(part, points) for part in objects.split_pairs(num_points)]
    )


def _match_part_by_range(objects: PaddedObjects, points: FcosPoints) -> Tensor:
    """Matches one part; rows without an object match no point, since their boxes have no area."""
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
