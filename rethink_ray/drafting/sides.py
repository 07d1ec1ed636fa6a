"""The size at which a detector sees the pictures, from the size of their objects.

Rule: four objects in five have a side of at least 16 pixels once the picture is resized, because
the smallest anchors of a small detector are that large and smaller objects match few of them (Lin
et al. 2017 double that at 800 px). A side is never longer than the pictures themselves.
"""

from dataclasses import dataclass

from rethink_ray.data.overview import DataOverview

SMALLEST_BOX_PX = 16
SMALL_BOXES = 0.2
"""The share of objects that may be smaller."""
SMALL_SIDES = (128, 160, 192, 224, 256)
"""Shorter sides for a CPU. Each step costs about a third more."""
SIDE_OF_TINY_OBJECTS = 192
"""The shorter side for a CPU where none of these suffices: 256 px would cost 1.8 times as much and
show the objects hardly better."""
PUBLISHED_SIDES = (800, 1024)
"""Shorter sides for a GPU: 800 px as published, and one more for small objects."""
WIDEST = 5 / 3
"""Longer over shorter side at most, as in 1333 x 800."""
STEP_PX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSides:
    """The sides to which pictures are resized."""

    min_side_px: int
    max_side_px: int
    small_box_px: int
    """Four objects in five have at least this side there."""


def choose_sides(overview: DataOverview, *, is_small: bool) -> PictureSides:
    """The smallest sides that the rule allows, of those for a CPU (``is_small``) or for a GPU."""
    share = overview.box_share(SMALL_BOXES)
    sides = SMALL_SIDES if is_small else PUBLISHED_SIDES
    otherwise = SIDE_OF_TINY_OBJECTS if is_small else PUBLISHED_SIDES[-1]
    side = next((one for one in sides if share * one >= SMALLEST_BOX_PX), otherwise)
    if is_small:
        side = min(side, round_to_step(overview.picture_px[0]))
    longer = round_to_step(side * min(overview.aspect, WIDEST))
    return PictureSides(
        min_side_px=side,
        max_side_px=max(side, longer),
        small_box_px=round(share * side),
    )


def round_to_step(side_px: float) -> int:
    """The nearest multiple of 16, at least 32."""
    return max(2 * STEP_PX, round(side_px / STEP_PX) * STEP_PX)
