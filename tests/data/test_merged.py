"""All labelled pictures of a study as one file, for a model that nothing measures."""

import json
from pathlib import Path

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.leaks import require_disjoint
from rethink_ray.data.merged import write_merged
from rethink_ray.data.splits import open_split
from rethink_ray.spec.regime import DataSpec, RegimeSpec, ShapesSpec


def shapes(root: Path, **changes: object) -> DataSpec:
    drawn = ShapesSpec(train=6, val=3, test=2, image_px=32)
    return DataSpec(dataset="shapes", shapes=drawn, root=str(root / "shapes"), **changes)


def test_train_of_the_merged_data_has_every_picture_of_the_splits_in_use(tmp_path: Path) -> None:
    data = shapes(tmp_path)
    merged = write_merged(data, tmp_path / "final")
    whole = open_split(merged, "train")
    splits = [open_split(data, split) for split in ("train", "val", "test")]
    assert len(whole) == 6 + 3 + 2
    assert whole.categories == splits[0].categories
    paths = {whole.entry(int(i)).path: int(i) for i in whole.image_ids}
    for index in splits:
        for image_id in index.image_ids:
            before = index.entry(int(image_id))
            after = whole.entry(paths[before.path])
            assert after.boxes_xyxy.tolist() == before.boxes_xyxy.tolist()
            assert after.labels.tolist() == before.labels.tolist()
            assert (whole.masks(after.image_id) == index.masks(before.image_id)).all()
            points, kept = index.keypoints(before.image_id), whole.keypoints(after.image_id)
            assert points is not None
            assert kept is not None
            assert kept.tolist() == points.tolist()


def test_a_hold_out_is_part_of_train_and_listed_once(tmp_path: Path) -> None:
    data = shapes(tmp_path, select_on={"holdout": 2}, report_on="test")
    merged = write_merged(data, tmp_path / "final")
    assert len(open_split(merged, "train")) == 6 + 2
    tree = json.loads((tmp_path / "final" / "all.json").read_text())
    assert len({image["file_name"] for image in tree["images"]}) == 8


def test_the_merged_data_pass_the_checks_of_a_run(tmp_path: Path) -> None:
    merged = write_merged(shapes(tmp_path), tmp_path / "final")
    require_disjoint(merged, "final")
    assert gather_facts(merged, {"all": RegimeSpec(images="all")}).regime_sizes == {"all": 11}
