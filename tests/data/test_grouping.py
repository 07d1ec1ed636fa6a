from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from rethink_ray.data.grouping import Grouping, SplitPicture, group_pictures
from rethink_ray.data.near_duplicates import Likeness
from rethink_ray.spec.data_split import DataSplit, RegexGroups
from rethink_ray.spec.errors import DataError


def picture(name: str, digest: str = "") -> SplitPicture:
    """A picture whose content is its name, unless ``digest`` says otherwise."""
    return SplitPicture(
        image_id=0,
        path=Path("/data") / name,
        file_name=name,
        digest=(digest or name).encode(),
        classes=frozenset(),
    )


def pictures(*names: str) -> list[SplitPicture]:
    return [picture(name) for name in names]


def likeness(*pairs: tuple[int, int, int]) -> Likeness:
    """Pairs of rows that look alike, with their distance."""
    first, second, distance = np.array(pairs, np.int64).reshape(-1, 3).T
    return Likeness(first=first, second=second, distance=distance)


def rows_of(grouping: Grouping) -> list[list[int]]:
    return sorted(grouping.groups)


def chain(distances: Iterable[int]) -> Likeness:
    return likeness(*((row, row + 1, far) for row, far in enumerate(distances)))


def test_files_that_are_equal_belong_together_in_every_grouping() -> None:
    same = [picture("a/1.jpg", "x"), picture("b/2.jpg", "x"), picture("c/3.jpg")]
    for group in ("near_duplicates", "folder", "none", RegexGroups(regex=".*")):
        split = DataSplit(val="20%", group=group)
        assert rows_of(group_pictures(same, split, None, 9)) == [[0, 1], [2]]


def test_exports_of_one_picture_belong_together_by_their_names() -> None:
    names = ["a_jpg.rf.0123456789abcdef.jpg", "a_jpg.rf.fedcba9876543210.jpg", "a.jpg", "rf.jpg"]
    split = DataSplit(val="20%")
    assert rows_of(group_pictures(pictures(*names), split, None, 9)) == [[0, 1], [2], [3]]
    by_folder = DataSplit(val="20%", group="none")
    assert rows_of(group_pictures(pictures(*names), by_folder, None, 9)) == [[0], [1], [2], [3]]


def test_pictures_of_one_folder_belong_together() -> None:
    split = DataSplit(val="20%", group="folder")
    grouping = group_pictures(
        pictures("a/1.jpg", "b/1.jpg", "a/2.jpg", "a/c/1.jpg"), split, None, 9
    )
    assert rows_of(grouping) == [[0, 2], [1], [3]]


@pytest.mark.parametrize("regex", ["^clip[0-9]+", "^(clip[0-9]+)_", "(clip[0-9]+)_[0-9]+"])
def test_a_pattern_groups_the_frames_of_a_clip(regex: str) -> None:
    frames = pictures("clip1_1.jpg", "clip2_1.jpg", "clip1_2.jpg", "other.jpg")
    split = DataSplit(val="20%", group=RegexGroups(regex=regex))
    assert rows_of(group_pictures(frames, split, None, 9)) == [[0, 2], [1], [3]]


def test_a_pattern_that_fits_no_name_is_refused_with_a_name() -> None:
    split = DataSplit(val="20%", group=RegexGroups(regex="^film"))
    with pytest.raises(DataError, match=r"regex: must match a file name.*'\^film'.*clip1_1.jpg"):
        group_pictures(pictures("clip1_1.jpg"), split, None, 9)


def test_what_looks_alike_belongs_together_through_others() -> None:
    grouping = group_pictures(
        pictures("a", "b", "c", "d"), DataSplit(val="20%"), likeness((0, 2, 5), (2, 3, 9)), 4
    )
    assert rows_of(grouping) == [[0, 2, 3], [1]]
    assert grouping.parted == ()


def test_a_long_chain_is_cut_at_its_longest_link_and_no_further_than_needed() -> None:
    names = pictures(*map(str, range(10)))
    far_apart = chain([1, 1, 1, 7, 1, 1, 1, 1, 9])
    grouping = group_pictures(names, DataSplit(val="20%"), far_apart, 9)
    assert rows_of(grouping) == [[0, 1, 2, 3, 4, 5, 6, 7, 8], [9]]
    grouping = group_pictures(names, DataSplit(val="20%"), far_apart, 6)
    assert rows_of(grouping) == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9]]
    assert grouping.parted == ((10, 3),)


def test_links_of_one_length_are_cut_in_the_middle() -> None:
    names = pictures(*map(str, range(8)))
    grouping = group_pictures(names, DataSplit(val="20%"), chain([1] * 7), 4)
    assert rows_of(grouping) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_pictures_that_all_look_like_one_are_not_parted() -> None:
    names = pictures(*map(str, range(20)))
    star = likeness(*((0, row, 1) for row in range(1, 20)))
    grouping = group_pictures(names, DataSplit(val="20%"), star, 5)
    assert len(grouping.groups) == 1
    assert grouping.parted == ()
