"""The score from which a class is drawn: numbers that one can count on the fingers."""

import pyarrow as pa

from rethink_ray.detection.score_thresholds import choose_thresholds
from rethink_ray.records.detections import SCHEMA

RIGHT, WRONG = 1, 0
"""Bits of a detection that is matched at an overlap of 0.5, and of one that is not."""


def table(
    rows: list[tuple[int, float, int]], objects: dict[int, int], ignored: int = 0
) -> pa.Table:
    """Detections as (label, score, matched), and label -> number of objects, in one picture."""
    blank = dict.fromkeys(SCHEMA.names)
    seen = [
        {**blank, "image_id": 1, "label": k, "score": s, "matched": m, "ignored": ignored}
        for k, s, m in rows
    ]
    held = [{**blank, "image_id": 1, "label": k, "objects": n} for k, n in objects.items()]
    picture = {**blank, "image_id": 1, "label": 0, "objects": 0}
    return pa.Table.from_pylist([*seen, picture, *held], SCHEMA)


def test_the_best_f1_decides_and_of_equal_ones_the_higher_score() -> None:
    rows = [(1, 0.9, RIGHT), (1, 0.8, WRONG), (1, 0.7, RIGHT), (1, 0.2, WRONG)]
    # two objects: F1 at 0.9 is 2/3, at 0.8 2/4, at 0.7 4/5, at 0.2 4/6
    [threshold] = choose_thresholds(table(rows, {1: 2}), 1)
    assert threshold is not None
    assert 0.6999 <= threshold <= 0.7
    equal = [(1, 0.9, RIGHT), (1, 0.8, WRONG), (1, 0.7, WRONG), (1, 0.6, RIGHT)]
    # two objects: 2/3 at 0.9, and 4/6 at 0.6
    [threshold] = choose_thresholds(table(equal, {1: 2}), 1)
    assert threshold is not None
    assert 0.8999 <= threshold <= 0.9


def test_each_class_has_its_own_and_one_that_is_never_found_has_none() -> None:
    rows = [(1, 0.5, RIGHT), (2, 0.9, WRONG), (3, 0.3, RIGHT)]
    first, second, third, fourth = choose_thresholds(table(rows, {1: 1, 2: 1, 3: 1}), 4)
    assert (first, second, fourth) == (0.5, None, None)
    assert third is not None
    assert 0.2999 <= third <= 0.3


def test_detections_of_one_score_are_shown_together() -> None:
    rows = [(1, 0.5, RIGHT), (1, 0.5, WRONG), (1, 0.5, WRONG), (1, 0.25, RIGHT)]
    # both together: 2 * 1 / (3 + 2) = 2/5 at 0.5, 2 * 2 / (4 + 2) = 2/3 at 0.25
    assert choose_thresholds(table(rows, {1: 2}), 1) == (0.25,)


def test_detections_in_crowds_count_neither_way() -> None:
    assert choose_thresholds(table([(1, 0.5, RIGHT)], {1: 1}, ignored=1), 1) == (None,)
