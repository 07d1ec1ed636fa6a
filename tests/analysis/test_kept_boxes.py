"""Which boxes count as sure, which images a report shows, and what tables say of them."""

from dataclasses import replace

import numpy as np
import pytest

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.box_errors import ERROR_KINDS
from rethink_ray.analysis.read.box_overlap import measure_iou, pair_by_overlap, pair_by_score
from rethink_ray.analysis.read.kept_boxes import choose_threshold
from rethink_ray.analysis.read.picked_images import pick_images
from rethink_ray.analysis.read.precision_recall import measure_precision_curves
from rethink_ray.analysis.sections.registry import DETECTION_SECTIONS
from rethink_ray.analysis.sections.section import SectionInput
from rethink_ray.analysis.sheet import Sheet
from tests.analysis.labelled_scenes import (
    NAMES,
    Seen,
    arm_of,
    grid_images,
    image_of,
    kept_of,
    scatter,
    study_of,
)
from tests.analysis.planted import Planted, build_study, noisy

REASONS = ("best", "typical", "worst")
OBJECT, AWAY = (10.0, 10.0, 50.0, 50.0), (60.0, 60.0, 90.0, 90.0)


def test_the_threshold_balances_precision_and_recall() -> None:
    """Of three objects: F1 is 2/4, 4/5, 4/6, 6/7, 6/8 from the first box to the fifth."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, False, True, False])
    assert choose_threshold(scores, right, 3) == 0.6
    assert choose_threshold(scores, np.zeros(5, np.bool_), 3) == 1.0
    assert choose_threshold(scores[:0], right[:0], 3) == 1.0


def test_boxes_of_one_score_are_on_the_same_side_of_the_threshold() -> None:
    """The first box alone has F1 2/2 only if it may be told from the wrong one beside it."""
    scores, right = np.array([0.5, 0.5, 0.4]), np.array([True, False, False])
    assert choose_threshold(scores, right, 1) == 0.5


def test_a_box_takes_the_object_that_it_overlaps_most() -> None:
    iou = measure_iou(
        np.array([[0, 0, 10, 10], [0, 0, 10, 8]]), np.array([[0, 0, 10, 10], [0, 0, 10, 7]])
    )
    assert iou.tolist() == [[1.0, 0.7], [0.8, 0.875]]
    assert pair_by_score(iou, 0.5).tolist() == [0, 1]
    assert pair_by_score(iou[::-1], 0.5).tolist() == [1, 0]
    assert pair_by_overlap(np.array([[0.6, 0.0], [0.9, 0.7]]), 0.5).tolist() == [-1, 0]
    assert pair_by_score(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]


def test_images_are_chosen_by_their_score_and_ties_by_id() -> None:
    """Nine images with one object each: three found exactly, three half as high, three not."""
    images = [image_of(n, (OBJECT, 1)) for n in range(1, 10)]
    exact, half = [Seen(OBJECT, 1, 0.9)], [Seen((10, 10, 50, 37), 1, 0.9)]
    seen = {n: exact if n in (2, 5, 8) else half if n in (3, 6, 9) else [] for n in range(1, 10)}
    empty = image_of(10)
    kept = study_of([*images, empty], arm_of("only", [*images, empty], [seen, seen]))
    picked = pick_images(kept)
    by_reason = {reason: [p.image_id for p in picked if p.reason == reason] for reason in REASONS}
    assert by_reason == {"best": [2, 5, 8], "typical": [3, 6, 9], "worst": [1, 4, 7]}
    # 27 of 40 rows: IoU 0.675 is right at four of the ten thresholds
    assert picked[3].score == pytest.approx(0.4)


def test_few_images_are_shown_once_each() -> None:
    images = [image_of(n, (OBJECT, 1)) for n in (1, 2)]
    kept = study_of(images, arm_of("only", images, [{1: [Seen(OBJECT, 1, 0.9)]}]))
    assert sorted(p.image_id for p in pick_images(kept)) == [1, 2]
    blank = [image_of(1)]
    assert pick_images(study_of(blank, arm_of("only", blank, [{}]))) == ()


def test_a_precision_curve_falls_to_nothing_at_the_recall_that_is_never_reached() -> None:
    images = [image_of(1, (OBJECT, 1), (AWAY, 1))]
    kept = study_of(images, arm_of("only", images, [{1: [Seen(OBJECT, 1, 0.9)]}]))
    at_half, at_three_quarters = measure_precision_curves(kept)
    assert (at_half.iou, at_three_quarters.iou) == (0.5, 0.75)
    assert [at_half.at(recall) for recall in (0.0, 0.5, 0.51, 1.0)] == [1.0, 1.0, 0.0, 0.0]


def _given(*arms: tuple[str, float]) -> SectionInput:
    """A study of 40 images whose arms blur what they find by so many pixels."""
    images = grid_images(40, 3)
    kept = study_of(
        images,
        *(
            arm_of(name, images, [scatter(images, n, blur=blur) for n in range(3)])
            for name, blur in arms
        ),
    )
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    return derive_findings(planted.tables()).section_input(None, kept)


def _sheet(given: SectionInput, key: str) -> Sheet:
    (section,) = (one for one in DETECTION_SECTIONS if one.key == key)
    assert section.applies(given)
    return section.build_sheet(given, section.derive_rows(given))


def test_every_table_has_the_arms_and_numbers_with_intervals() -> None:
    given = _given(("scratch", 4.0), ("pretrained", 1.0))
    classes = _sheet(given, "class_precision")
    assert classes.columns == ("class", "objects", "scratch", "pretrained")
    assert sorted(row[0] for row in classes.rows) == sorted(NAMES)
    assert all("[" in cell for row in classes.rows for cell in row[2:])
    nums = [int(row[1]) for row in classes.rows]
    assert nums == sorted(nums, reverse=True)
    assert [row[:2] for row in _sheet(given, "precision_recall").rows] == [
        ("scratch", "0.5"),
        ("scratch", "0.75"),
        ("pretrained", "0.5"),
        ("pretrained", "0.75"),
    ]
    errors = _sheet(given, "error_costs")
    assert errors.columns == ("error", "means", "scratch", "pretrained")
    assert [row[0] for row in errors.rows] == list(ERROR_KINDS)


def test_class_aps_average_to_the_ap_of_the_arm() -> None:
    given = _given(("only", 2.0))
    (section,) = (one for one in DETECTION_SECTIONS if one.key == "class_precision")
    assert given.boxes is not None
    mean = np.mean([row.ap["only"].value for row in section.derive_rows(given)])
    assert mean == pytest.approx(given.boxes.main_arm.mean_ap)


def test_confusion_is_that_of_the_best_arm_in_percent_of_a_class() -> None:
    """Of two discs one is taken for a square and one is not found; a star is on nothing."""
    images = [image_of(1, (OBJECT, 1), (AWAY, 1), ((0.0, 60.0, 30.0, 90.0), 2))]
    seen = {
        1: [
            Seen(OBJECT, 2, 0.9),
            Seen((0.0, 60.0, 30.0, 90.0), 2, 0.8),
            Seen((60.0, 0.0, 90.0, 9.0), 3, 0.95),
        ]
    }
    given = _given(("only", 1.0))
    kept = study_of(images, arm_of("only", images, [seen]))
    sheet = _sheet(replace(given, boxes=kept), "confusion")
    assert sheet.columns == ("labelled", "disc", "square", "star", "not found")
    assert sheet.rows == (
        ("disc", "-", "50 %", "-", "50 %"),
        ("square", "-", "100 %", "-", "-"),
        ("boxes on nothing (count)", "-", "-", "1.0", ""),
    )


def test_the_middle_replicate_is_drawn() -> None:
    images = [image_of(n, (OBJECT, 1)) for n in (1, 2, 3, 4)]
    detections = [{n: [Seen(OBJECT, 1, 0.9)] for n in range(1, num + 1)} for num in (4, 1, 2)]
    assert arm_of("only", images, detections).middle.trial_id == "only-2"


def test_boxes_come_back_from_their_file_image_by_image() -> None:
    images = [image_of(2, (OBJECT, 1)), image_of(5, (AWAY, 2))]
    kept = kept_of(images, {2: [Seen(AWAY, 1, 0.2), Seen(OBJECT, 1, 0.9)]})
    assert kept.scores[kept.rows_of(2)].tolist() == pytest.approx([0.9, 0.2])
    assert kept.right[0, kept.rows_of(2)].tolist() == [True, False]
    assert kept.scores[kept.rows_of(5)].tolist() == []
    assert kept.sure_rows_of(2) == slice(0, 1)
