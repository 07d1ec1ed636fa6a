"""VOC's metrics reach the record of a run where the study decides on one of them."""

from pathlib import Path

import numpy as np
import pytest

from rethink_ray.data.splits import open_split
from rethink_ray.detection.scoring import Detection
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.study import ObjectiveSpec
from rethink_ray.training.evaluate import DetectedSplit, build_truth
from tests.builders import micro_trial
from tests.data.data_files import voc_xml, write_picture, write_voc
from tests.training.runs import climb

VOC = ObjectiveSpec(metric="voc_ap50")


def test_a_rung_has_vocs_metrics_if_the_study_decides_on_one(tmp_path: Path) -> None:
    trial = micro_trial()
    (plain,) = climb(trial, tmp_path / "plain", (2.0,), splits=("val", "test"))
    deciding = trial.model_copy(update={"objective": VOC})
    (voc,) = climb(deciding, tmp_path / "voc", (2.0,), splits=("val", "test"))
    added = {f"{split}/{name}" for split in ("val", "test") for name in ("voc_ap50", "voc07_ap50")}
    assert voc.metrics.keys() - plain.metrics.keys() == added
    assert {name: voc.metrics[name] for name in plain.metrics} == pytest.approx(
        plain.metrics, nan_ok=True
    )
    assert all(0 <= voc.metrics[name] <= 100 for name in added)


def test_a_difficult_object_of_an_xml_file_is_ignored_by_overlap(tmp_path: Path) -> None:
    """A box of 20 x 20 inside the difficult object of 100 x 100 outscores the one right box."""
    easy = voc_xml("a.jpg", [("cat", 1, 1, 40, 40)], size=(200, 200))
    hard = voc_xml("a.jpg", [("cat", 81, 81, 180, 180)], difficult=1, size=(200, 200))
    hard_object = hard[hard.index("<object>") : hard.index("</annotation>")]
    both = easy.replace("</annotation>", f"{hard_object}</annotation>")
    write_voc(tmp_path, {"a": both}, {"train": ["a"], "val": ["a"]})
    write_picture(tmp_path / "JPEGImages" / "a.jpg", 200, 200)
    index = open_split(DataSpec(dataset="voc", root=str(tmp_path)), "val")
    (image_id,) = index.image_ids.tolist()
    truth = build_truth(index.entry(image_id), index, "faster_rcnn")
    seen = Detection(
        image_id=image_id,
        boxes_xyxy=np.array([[120, 120, 140, 140], [0, 0, 40, 40]], np.float64),
        scores=np.array([0.9, 0.8]),
        labels=np.array([1, 1]),
    )
    detected = DetectedSplit(truths=[truth], seen=[seen], num_categories=1)
    metrics = detected.metrics(micro_trial().data, "voc_ap50")
    assert metrics["voc_ap50"] == metrics["voc07_ap50"] == pytest.approx(50)
    assert metrics["ap50"] == pytest.approx(100)
