"""Errors by kind: each kind alone, and what mending it brings, by pencil."""

from collections.abc import Sequence

import pytest

from rethink_ray.analysis.read.box_errors import (
    ERROR_KINDS,
    ErrorKind,
    JudgedReplicate,
    judge_boxes,
)
from rethink_ray.analysis.read.scored_images import AnnotatedImage
from tests.analysis.labelled_scenes import Seen, image_of, images_of, kept_of

OBJECT = (10.0, 10.0, 50.0, 50.0)
EXACT = Seen(OBJECT, 1, 0.9)
AWAY = (60.0, 60.0, 90.0, 90.0)


def _judge(image: AnnotatedImage, *seen: Seen) -> JudgedReplicate:
    return judge_boxes(kept_of([image], {1: seen}), images_of([image]))


def _counts(judged: JudgedReplicate) -> dict[ErrorKind, int]:
    return {kind: num for kind in ERROR_KINDS if (num := judged.count(kind))}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((EXACT,), {}),
        ((Seen(OBJECT, 2, 0.9),), {"classification": 1}),
        # 40 x 20 of 40 x 40: IoU 0.5 of a box half as high is right, a little less is not
        ((Seen((10, 10, 50, 30), 1, 0.9),), {}),
        ((Seen((10, 10, 50, 29), 1, 0.9),), {"localisation": 1}),
        ((Seen((10, 10, 50, 29), 2, 0.9),), {"both": 1, "missed": 1}),
        ((EXACT, Seen((10, 10, 50, 48), 1, 0.8)), {"duplicate": 1}),
        ((EXACT, Seen(AWAY, 1, 0.8)), {"background": 1}),
        ((), {"missed": 1}),
        # 4 of 40 rows: IoU 0.1 is localisation still, less is background
        ((Seen((10, 10, 50, 14), 1, 0.9),), {"localisation": 1}),
        ((Seen((10, 10, 50, 13), 1, 0.9),), {"background": 1, "missed": 1}),
    ],
)
def test_each_kind_is_told_from_the_others(
    seen: Sequence[Seen], expected: dict[ErrorKind, int]
) -> None:
    assert _counts(_judge(image_of(1, (OBJECT, 1)), *seen)) == expected


def test_a_box_inside_a_crowd_is_no_error() -> None:
    image = image_of(1, (OBJECT, 1), (AWAY, 1), crowd=[1])
    assert _counts(_judge(image, EXACT, Seen((62, 62, 80, 80), 1, 0.8))) == {}
    assert _counts(_judge(image, EXACT, Seen((62, 62, 80, 80), 2, 0.8))) == {"background": 1}


def test_a_mended_class_or_place_makes_the_box_right() -> None:
    """One of two objects is found: precision 1 up to recall 0.5, which is 51 of 101 recalls."""
    image = image_of(1, (OBJECT, 1), (AWAY, 1))
    half = 100 * 51 / 101
    for wrong, kind in ((Seen(AWAY, 2, 0.8), "classification"), (_off(AWAY, 12), "localisation")):
        judged = _judge(image, EXACT, wrong)
        assert _counts(judged) == {kind: 1}
        assert judged.score() == pytest.approx(half)
        assert judged.list_gains()[kind] == pytest.approx(100 - half)
        assert sum(judged.list_gains().values()) == pytest.approx(100 - half)


def _off(box: tuple[float, float, float, float], shift: float) -> Seen:
    x0, y0, x1, y1 = box
    return Seen((x0 + shift, y0, x1 + shift, y1), 1, 0.8)


def test_of_two_boxes_that_could_find_one_object_only_the_surer_is_mended() -> None:
    """Both are off by 12 of 30 (IoU 18 / 42). Mended, one is right, and the other is gone."""
    image = image_of(1, (AWAY, 1))
    judged = _judge(image, _off(AWAY, 12), Seen((48, 60, 78, 90), 1, 0.7))
    assert _counts(judged) == {"localisation": 2}
    assert judged.score("localisation") == pytest.approx(100.0)
    assert judged.mended.tolist() == [1, 0]


def test_mending_what_is_on_nothing_removes_it() -> None:
    """A surer wrong box halves the precision: 1 right of 2."""
    judged = _judge(image_of(1, (OBJECT, 1)), EXACT, Seen(AWAY, 1, 0.95))
    assert judged.score() == pytest.approx(50.0)
    assert judged.list_gains()["background"] == pytest.approx(50.0)
    assert judged.list_gains()["missed"] == 0.0


def test_missed_objects_are_left_out_once_they_are_mended() -> None:
    judged = _judge(image_of(1, (OBJECT, 1), (AWAY, 1)), EXACT)
    assert judged.list_gains()["missed"] == pytest.approx(100 - 100 * 51 / 101)


def test_a_class_without_an_object_does_not_count() -> None:
    judged = _judge(image_of(1, (OBJECT, 1)), EXACT, Seen(AWAY, 3, 0.9))
    assert judged.score() == pytest.approx(100.0)
    assert _counts(judged) == {"background": 1}


def test_an_image_without_objects_or_boxes_is_judged_too() -> None:
    empty = image_of(1)
    assert _counts(_judge(empty)) == {}
    judged = _judge(empty, EXACT)
    assert _counts(judged) == {"background": 1}
    assert judged.score() == 0.0
