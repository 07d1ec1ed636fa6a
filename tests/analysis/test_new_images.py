"""Detections kept of replicates, scored on other draws of the images they were found in."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.detected import average_precision, split_by_label
from rethink_ray.analysis.sections.new_images import NEW_IMAGES, NotDrawn, derive_new_images, widen
from rethink_ray.analysis.show.report import write_report
from rethink_ray.cli import app
from rethink_ray.detection.kept_detections import table_of
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.judge.statistics import Estimate
from rethink_ray.records.detections import (
    as_bits,
    detections_path,
    from_bits,
    read_detections,
    write_detections,
)
from rethink_ray.spec.errors import RecordError
from tests.analysis.planted import Planted, build_study, noisy
from tests.golden_words import assert_says


def _scene(
    seed: int, num_images: int = 30, blur: float = 4.0
) -> tuple[list[GroundTruth], list[Detection]]:
    """Objects of three labels, crowds and empty images among them, found about where they are."""
    rng, found = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    truth, seen = [], []
    for image_id in range(1, num_images + 1):
        num = int(rng.integers(0, 5))
        corner = rng.uniform(0, 60, (num, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 30, (num, 2))], axis=1)
        labels = rng.integers(1, 4, num)
        truth.append(
            GroundTruth(
                image_id=image_id,
                boxes_xyxy=boxes,
                labels=labels,
                is_crowd=(rng.random(num) < 0.1).astype(np.int64),
                area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            )
        )
        false = np.array([[0.0, 0.0, 8.0, 8.0]])
        drawn = np.concatenate([boxes + found.normal(0, blur, boxes.shape), false])
        drawn = np.concatenate([np.minimum(drawn[:, :2], drawn[:, 2:] - 1), drawn[:, 2:]], axis=1)
        seen.append(
            Detection(
                image_id=image_id,
                boxes_xyxy=drawn.astype(np.float32),
                scores=found.random(num + 1).astype(np.float32),
                labels=np.concatenate([labels, [1]]),
            )
        )
    return truth, seen


@pytest.mark.parametrize("seed", range(5))
def test_kept_detections_score_what_coco_scores(seed: int) -> None:
    truth, seen = _scene(seed)
    kept = average_precision(split_by_label(table_of(truth, seen, 3)), np.ones(len(truth)))
    assert kept == pytest.approx(score(truth, seen, 3)["ap"], abs=1e-9)


def test_an_image_drawn_twice_scores_as_if_it_stood_there_twice() -> None:
    truth, seen = _scene(7)
    weights = np.ones(len(truth))
    weights[[3, 4]] = (2.0, 0.0)
    left_out = truth[4].image_id
    again = [g for g in truth if g.image_id != left_out]
    found = [d for d in seen if d.image_id != left_out]
    twin_truth, twin_seen = truth[3], seen[3]
    again.append(
        GroundTruth(
            image_id=99,
            boxes_xyxy=twin_truth.boxes_xyxy,
            labels=twin_truth.labels,
            is_crowd=twin_truth.is_crowd,
            area=twin_truth.area,
        )
    )
    found.append(
        Detection(
            image_id=99,
            boxes_xyxy=twin_seen.boxes_xyxy,
            scores=twin_seen.scores,
            labels=twin_seen.labels,
        )
    )
    drawn = average_precision(split_by_label(table_of(truth, seen, 3)), weights)
    assert drawn == pytest.approx(score(again, found, 3)["ap"], abs=1e-9)


def test_ten_thresholds_are_ten_bits() -> None:
    flags = np.zeros((10, 2), dtype=bool)
    flags[0, 0] = flags[9, 1] = True
    assert list(as_bits(flags)) == [1, 512]
    assert (from_bits(as_bits(flags)) == flags).all()


def test_seeds_and_images_add_up_as_variances() -> None:
    """0.3 and 0.4 make 0.5."""
    effect = Estimate(value=1.0, se=0.3, df=8.0, nums=(5, 5))
    both = widen(effect, 0.4)
    assert both.se == pytest.approx(0.5)
    assert both.df is not None
    assert both.df > 8.0


def test_more_noise_never_makes_an_interval_narrower() -> None:
    """Two degrees of freedom: 4.30 x 1.0. Half as much noise of images would make it 1.12, but the
    degrees 3.1 and t 3.12: 3.49 in all."""
    effect = Estimate(value=4.4, se=1.0, df=2.0, nums=(3, 3))
    assert widen(effect, 0.5).interval() == effect.interval()
    wide, narrow = widen(effect, 2.0).interval(), effect.interval()
    assert wide is not None
    assert narrow is not None
    assert wide[1] > narrow[1]


def _kept_study(root: Path, arms: tuple[float, float]) -> Path:
    """A planted study whose replicates keep what they found, blurred more or less by arm."""
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    where = planted.directory(root / "s")
    findings = derive_findings(planted.tables())
    for cell, blur in zip(findings.regimes[0].cells, arms, strict=True):
        point = cell.point(6.0)
        assert point is not None
        for trial_id in point.trial_ids:
            truth, seen = _scene(3, blur=blur)
            path = detections_path(where, trial_id, 6.0)
            write_detections(path, table_of(truth, seen, 3))
    return where


def test_two_arms_that_find_the_same_are_apart_in_no_draw_of_images(tmp_path: Path) -> None:
    """The draw is paired: what both arms find in an image cancels."""
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    findings = derive_findings(planted.tables())
    (one,) = derive_new_images(findings.section_input(_kept_study(tmp_path, (4.0, 4.0))))
    assert one.images == 30
    assert one.sd == pytest.approx(0.0, abs=1e-9)
    assert one.estimate.interval() == pytest.approx(one.finding.interval)


def test_arms_that_find_different_things_have_a_wider_interval_on_data_like_these(
    tmp_path: Path,
) -> None:
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    findings = derive_findings(planted.tables())
    given = findings.section_input(_kept_study(tmp_path, (4.0, 1.0)))
    (one,) = derive_new_images(given)
    assert one.sd > 0.5
    wide, narrow = one.estimate, one.finding.effect
    assert narrow is not None
    assert (wide.se or 0.0) > (narrow.se or 0.0)
    (row,) = NEW_IMAGES.build_sheet(given, (one,)).rows
    assert row[:3] == ("full", "pretrained - scratch", "6x")


def test_a_study_that_keeps_no_detections_says_so(tmp_path: Path) -> None:
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    (row,) = derive_new_images(derive_findings(planted.tables()).section_input(tmp_path))
    assert isinstance(row, NotDrawn)
    assert "full/scratch at 6x" in row.why
    assert_says("analysis", "detections are not kept", row.why)


def test_the_command_and_the_report_show_both_intervals(tmp_path: Path) -> None:
    root = _kept_study(tmp_path, (4.0, 1.0))
    told = CliRunner().invoke(app, ["findings", str(root), "--new-images"])
    assert told.exit_code == 0, told.output
    assert "FOR DATA LIKE THESE" in told.output
    assert "pretrained - scratch" in told.output
    assert "For data like these" in write_report(root).read_text()
    refused = CliRunner().invoke(app, ["findings", str(root), "--new-images", "--json"])
    assert "must come with a study directory" in str(refused.exception)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "6x.parquet").write_bytes(content)
    with pytest.raises(RecordError, match=r"6x\.parquet: must be the detections"):
        read_detections(tmp_path / "6x.parquet")
