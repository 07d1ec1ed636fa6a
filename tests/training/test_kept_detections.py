"""What a rung found in the report split is kept, and scores what the rung scored."""

from pathlib import Path

import numpy as np
import pytest

from rethink_ray.analysis.read.detected import average_precision, split_by_label
from rethink_ray.records.detections import file_name, read_detections
from tests.builders import micro_recipe, micro_trial
from tests.training.runs import climb


@pytest.mark.parametrize("name", ["tiny_retinanet", "tiny_faster_rcnn"])
def test_the_kept_boxes_of_a_rung_score_its_ap_and_nothing_else_is_kept(
    name: str, tmp_path: Path
) -> None:
    kept = tmp_path / "detections"
    trial = micro_trial(micro_recipe(name))
    rungs = climb(trial, tmp_path / "t", (2.0, 3.0), splits=("val", "test"), detections=kept)
    assert sorted(p.name for p in kept.iterdir()) == ["2x.parquet", "3x.parquet"]
    for rung in rungs:
        table = read_detections(kept / file_name(rung.length))
        images = {i for i, n in zip(*_columns(table, "image_id", "label"), strict=True) if n == 0}
        assert len(images) == 4  # every test image, with objects or without
        ap = average_precision(split_by_label(table), np.ones(4))
        assert ap == pytest.approx(rung.metrics["test/ap"], abs=1e-9)


def _columns(table: object, *names: str) -> list[list[int]]:
    return [table.column(name).to_pylist() for name in names]  # type: ignore[attr-defined]
