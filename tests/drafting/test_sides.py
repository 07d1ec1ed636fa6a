"""The size of the pictures from the size of their objects, by pencil."""

from dataclasses import replace

import pytest

from rethink_ray.data.overview import DataOverview
from rethink_ray.drafting.sides import choose_sides

PHOTOS = DataOverview(
    num_images={"train": 100},
    class_counts={"train": {"cat": 100}},
    picture_px=(480, 640),
    aspect=4 / 3,
    box_shares=(0.05, 0.1, 0.3, 0.5, 0.8),
    masked_share=0.0,
    num_keypoints=0,
)


@pytest.mark.parametrize(
    ("share", "side", "longer", "box_px"),
    [
        (0.2, 128, 176, 26),  # 0.2 x 128 = 25.6: the smallest side will do
        (0.1, 160, 208, 16),  # 0.1 x 160 = 16
        (0.08, 224, 304, 18),  # 0.08 x 192 = 15.4 is too little
        (0.02, 192, 256, 4),  # no side suffices
    ],
)
def test_four_boxes_in_five_have_sixteen_pixels(
    share: float, side: int, longer: int, box_px: int
) -> None:
    sides = choose_sides(replace(PHOTOS, box_shares=(0.01, share, 0.3, 0.5, 0.8)), is_small=True)
    assert (sides.min_side_px, sides.max_side_px) == (side, longer)
    assert sides.small_box_px == box_px


def test_pictures_are_never_enlarged_on_a_cpu() -> None:
    tiny = replace(PHOTOS, picture_px=(64, 64), aspect=1.0)
    assert choose_sides(tiny, is_small=True).min_side_px == 64


def test_a_gpu_sees_the_published_size_and_more_if_objects_are_small() -> None:
    assert choose_sides(PHOTOS, is_small=False).min_side_px == 800
    small = replace(PHOTOS, box_shares=(0.005, 0.016, 0.1, 0.2, 0.3))
    assert choose_sides(small, is_small=False).min_side_px == 1024


def test_very_wide_pictures_are_cut_at_five_thirds() -> None:
    wide = replace(PHOTOS, aspect=4.0)
    assert choose_sides(wide, is_small=False).max_side_px == 1328
