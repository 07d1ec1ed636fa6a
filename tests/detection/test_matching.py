"""Matching a batch at once finds what torchvision finds image by image."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from rethink_ray.detection import matching
from rethink_ray.detection.matching import (
    IGNORED,
    UNMATCHED,
    indices_where,
    match_by_overlap,
    match_by_range,
    pad_objects,
    points_of,
    require_sides,
)


def objects(*counts: int) -> list[dict[str, Tensor]]:
    """So many objects in each image of 64 x 64."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for count in counts:
        corners = torch.rand(count, 2, generator=generator) * 40
        sides = 4 + torch.rand(count, 2, generator=generator) * 20
        labels = torch.arange(count)
        found.append({"boxes": torch.cat([corners, corners + sides], dim=1), "labels": labels})
    return found


def grid(side: float, step: int, extent: int = 64) -> Tensor:
    """Square anchors, one at each crossing."""
    places = torch.arange(step / 2, extent, step)
    y, x = torch.meshgrid(places, places, indexing="ij")
    centers = torch.stack([x, y], dim=-1).view(-1, 2)
    return torch.cat([centers - side / 2, centers + side / 2], dim=1)


ANCHORS = torch.cat([grid(12, 4), grid(24, 8)])


def one_by_one(targets: Sequence[dict[str, Tensor]], matcher: Matcher) -> Tensor:
    nothing = torch.full((len(ANCHORS),), UNMATCHED)
    return torch.stack(
        [matcher(box_iou(t["boxes"], ANCHORS)) if len(t["boxes"]) else nothing for t in targets]
    )


@pytest.mark.parametrize("pairs_at_once", [1, 1200, 2**24])
@pytest.mark.parametrize("low_quality", [True, False])
def test_overlaps_match_as_torchvision_matches_image_by_image(
    monkeypatch: pytest.MonkeyPatch, pairs_at_once: int, low_quality: bool
) -> None:
    monkeypatch.setattr(matching, "PAIRS_AT_ONCE", pairs_at_once)
    targets = objects(3, 0, 1, 7)
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=low_quality)

    matches = match_by_overlap(pad_objects(targets), ANCHORS, matcher)

    assert torch.equal(matches, one_by_one(targets, matcher))
    assert set(matches[1].tolist()) == {UNMATCHED}
    assert {UNMATCHED, IGNORED, 0} < set(matches.flatten().tolist())


def test_images_are_matched_together_up_to_a_number_of_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    padded = pad_objects(objects(3, 0, 1, 7, 2))

    def sizes(pairs_at_once: int) -> list[tuple[int, ...]]:
        monkeypatch.setattr(matching, "PAIRS_AT_ONCE", pairs_at_once)
        return [part.counts for part in padded.split_pairs(num_anchors=10)]

    assert sizes(1) == [(3,), (0,), (1,), (7,), (2,)]
    assert sizes(60) == [(3, 0), (1,), (7,), (2,)]  # a third image would make it 90
    assert sizes(90) == [(3, 0, 1), (7,), (2,)]
    assert sizes(350) == [(3, 0, 1, 7, 2)]
    assert [part.labels.shape for part in padded.split_pairs(num_anchors=10)] == [(5, 7)]


def test_a_batch_without_objects_matches_nothing() -> None:
    padded = pad_objects(objects(0, 0))
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)

    assert set(match_by_overlap(padded, ANCHORS, matcher).flatten().tolist()) == {UNMATCHED}
    assert match_by_range(padded, points_of(ANCHORS, [256, 64], 1.5)).amax() == UNMATCHED


def test_a_point_answers_for_the_smallest_object_around_it_in_its_range() -> None:
    """Anchors of 4 px: the first level reaches up to 32 px, the last from 32 px on."""
    anchors = torch.tensor([[8.0, 8, 12, 12], [8.0, 8, 12, 12]])
    large, small, far = [0.0, 0, 20, 20], [4.0, 4, 16, 16], [0.0, 0, 60, 20]
    boxes = torch.tensor([large, small, far])
    padded = pad_objects([{"boxes": boxes, "labels": torch.arange(3)}])

    near = match_by_range(padded, points_of(anchors, [1, 1], radius=1.5))
    wide = match_by_range(padded, points_of(anchors * 2, [1, 1], radius=3.0))

    assert near.tolist() == [[1, UNMATCHED]]
    # at (20, 20) with anchors of 8 px: no object has the point inside it
    assert wide.tolist() == [[UNMATCHED, UNMATCHED]]


def test_places_are_those_that_torch_where_finds() -> None:
    masks = [torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0]), torch.tensor([0, 1, 0])]

    assert [found.tolist() for found in indices_where(masks)] == [[0, 2, 3], [], [1]]


def test_a_box_without_a_side_is_refused() -> None:
    flat = torch.tensor([[3.0, 3.0, 3.0, 9.0]])

    with pytest.raises(RuntimeError, match="positive width and height"):
        require_sides([{"boxes": torch.zeros(0, 4)}, {"boxes": flat}])
    require_sides([{"boxes": torch.zeros(0, 4)}])
