"""Detections of another tool, matched with images and categories by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, coco_spec, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.imported import ImportedDetections, import_detections
from rethink_ray.data.pool import open_pool
from rethink_ray.data.shapes import make_shapes
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.labels import LabelsSpec
from rethink_ray.spec.regime import DataSpec, ShapesSpec, UnlabelledSpec
from tests.looking import cut_spec, draw, write_pictures


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "scenes"
    shapes = ShapesSpec(train=12, val=4, test=4, image_px=64, unlabelled=4)
    make_shapes(shapes, folder)
    pictures = sorted((folder / "unlabelled").iterdir())
    listed = [{"id": 70 + n, "file_name": path.name} for n, path in enumerate(pictures)]
    (folder / "pool.json").write_text(json.dumps({"images": listed}))
    return folder


def data_in(folder: Path, listed: str | None = "pool.json") -> DataSpec:
    """The scenes as a data set of one's own, and its unlabelled pictures, listed or as a folder."""
    splits = {
        split: {"images": split, "annotations": f"annotations/instances_{split}.json"}
        for split in ("train", "val", "test")
    }
    unlabelled = {"images": "unlabelled"} | ({"annotations": listed} if listed else {})
    tree = {"dataset": splits, "root": str(folder), "unlabelled": unlabelled}
    return DataSpec.model_validate_json(json.dumps(tree))


def detection(image_id: Any, category_id: Any = 1, score: Any = 0.9, **more: Any) -> dict[str, Any]:
    box = {"bbox": [8, 16, 10, 20]}
    return {"image_id": image_id, "category_id": category_id, "score": score} | box | more


def imported(
    folder: Path, data: DataSpec, records: Any, pool: str = "unlabelled", images: Any = "all"
) -> ImportedDetections:
    path = folder / "detections.json"
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    tree = {"kind": "imported", "file": str(path), "threshold": 0.5, "pool": pool}
    labels = LabelsSpec.model_validate(tree)
    return import_detections(data, open_pool(data, images, labels.pool), labels)


def names_of(folder: Path) -> list[str]:
    return [path.name for path in sorted((folder / "unlabelled").iterdir())]


def ids_of(data: DataSpec, names: list[str]) -> list[int]:
    """Our ids of the pool's pictures, in the order of these names."""
    index = open_split(data, "unlabelled")
    ids = [int(i) for i in index.image_ids]
    of_name = {Path(path).name: i for i, path in zip(ids, index.pictures().paths, strict=True)}
    return [of_name[name] for name in names]


def test_ids_of_the_list_find_their_pictures_and_boxes_become_corners(scenes: Path) -> None:
    data = data_in(scenes)
    seen = imported(scenes, data, [detection(71, 2, 0.6), detection(71, 3, 0.8), detection(70)])
    first, second, *_ = ids_of(data, names_of(scenes))
    assert seen.by_image[second].labels.tolist() == [3, 2]  # best first
    assert seen.by_image[second].scores.tolist() == pytest.approx([0.8, 0.6])
    assert seen.by_image[first].boxes_xyxy.tolist() == [[8, 16, 18, 36]]
    assert seen.num_boxes == 3
    assert len(seen.by_image) == 4
    assert not seen.left_out


@pytest.mark.parametrize("listed", ["pool.json", None])
def test_names_of_files_and_of_categories_do_as_well(scenes: Path, listed: str | None) -> None:
    data = data_in(scenes, listed)
    category = open_split(data, "train").categories[1]
    name = names_of(scenes)[2]
    records = [detection(name, category.upper()), detection(Path(name).stem, category)]
    seen = imported(scenes, data, records)
    [third] = ids_of(data, [name])
    assert seen.by_image[third].labels.tolist() == [2, 2]


def test_a_folder_of_numbered_pictures_is_found_by_number(scenes: Path) -> None:
    data = data_in(scenes, None)
    name = next(name for name in names_of(scenes) if Path(name).stem.isdecimal())
    seen = imported(scenes, data, [detection(int(Path(name).stem))])
    assert seen.by_image[ids_of(data, [name])[0]].labels.tolist() == [1]


def test_a_number_that_two_pictures_bear_names_neither(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [("cat", 2, 2, 5, 5)]}, {1: "cat"}))
    tree = json.loads((tmp_path / "train.json").read_text())
    tree["categories"][0]["id"] = tree["annotations"][0]["category_id"] = "01"
    (tmp_path / "train.json").write_text(json.dumps(tree))
    for name in ("7", "007", "8"):
        write_picture(tmp_path / "pool" / f"{name}.png", mark=name)
    pool = UnlabelledSpec(images=str(tmp_path / "pool"))
    write_coco(tmp_path, "val", coco({1: [("cat", 2, 2, 5, 5)]}, {1: "cat"}))
    scored = {"unlabelled": pool, "report_on": "val"}
    data = coco_spec(tmp_path, "train", "val").model_copy(update=scored)
    seen = imported(tmp_path, data, [detection(name, "01") for name in (7, "007", 8)])
    assert seen.left_out == {"unknown_image": 1}
    found = [seen.num_boxes, *(len(seen.by_image[i].labels) for i in ids_of(data, ["007.png"]))]
    assert found == [2, 1]


def test_what_becomes_no_label_is_counted_by_reason(scenes: Path) -> None:
    records = [
        *(detection(70) for _ in range(7)),
        detection(70, score=0.4),
        detection(99),
        detection(70, 55),
        detection(70, bbox=[1, 2, 3]),
        detection(70, bbox=[1, 2, 0, 5]),
        detection(70, score=12.0),
        "no detection",
    ]
    seen = imported(scenes, data_in(scenes), records)
    assert seen.num_boxes == 7
    assert seen.num_detections == 14
    assert seen.left_out == {
        "unreadable": 4,
        "unknown_image": 1,
        "unknown_category": 1,
        "below_threshold": 1,
    }


def test_the_rest_of_train_is_named_by_its_own_ids(scenes: Path) -> None:
    data = data_in(scenes)
    train = [int(i) for i in open_split(data, "train").image_ids]
    rest = open_pool(data, 5, "rest").image_ids
    records = [detection(image_id) for image_id in train]
    seen = imported(scenes, data, records, pool="rest", images=5)
    assert set(seen.by_image) == set(rest)
    assert seen.num_boxes == len(rest) == 7
    assert seen.left_out == {"outside_pool": 5}


def test_masks_stay_and_are_missing_where_a_detection_has_none(scenes: Path) -> None:
    polygon = [[8, 16, 18, 16, 18, 36]]
    records = [detection(70, segmentation=polygon), detection(70, score=0.8), detection(71)]
    seen = imported(scenes, data_in(scenes), records)
    assert seen.has_masks
    first, second, third, _ = ids_of(data_in(scenes), names_of(scenes))
    masks = seen.by_image[first].segmentations
    assert json.loads(masks[0]) == polygon
    assert masks[1] == ""
    assert seen.by_image[second].segmentations == ("",)
    assert seen.by_image[third].segmentations == ()


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ({"images": [], "annotations": []}, "must be a JSON list of {image_id, category_id, bbox"),
        ("[{", "but got 'no JSON: "),
        ([], "but got 'an empty list'"),
        ([detection(1), detection(2), detection(70)], "2 of 3, such as {'image_id': 1, "),
        ([detection(70, "zebra")], "few detections that name a category that train does not have"),
        ([detection(70, score=97)], "few detections that cannot be read"),
    ],
    ids=["annotations", "cut", "empty", "other images", "other categories", "per cent"],
)
def test_a_file_of_something_else_is_refused(scenes: Path, records: Any, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        imported(scenes, data_in(scenes), records)
    assert str(caught.value).startswith("labels.file ")
    assert sentence in str(caught.value)


def test_categories_that_are_called_by_numbers_are_found_by_name(tmp_path: Path) -> None:
    files = {stem: voc_xml(f"{stem}.jpg", [("7", 2, 2, 9, 9)]) for stem in "abc"}
    write_voc(tmp_path, files, {"train": ["a", "b"], "val": ["c"]})
    data = DataSpec(dataset="voc", root=str(tmp_path), report_on="val")
    seen = imported(tmp_path, data, [detection("a", "7"), detection("b", 7)], "rest", 1)
    assert seen.num_boxes == 1
    assert seen.left_out == {"outside_pool": 1}


def test_detections_on_splits_that_are_cut_from_train_are_outside_the_pool(tmp_path: Path) -> None:
    write_pictures(tmp_path, {f"{seed}.png": draw(seed) for seed in range(20)})
    data = cut_spec(tmp_path, val="40%", test="40%")
    seen = imported(tmp_path, data, [detection(1 + seed) for seed in range(20)], "rest", 2)
    assert len(seen.by_image) == 2
    assert seen.num_boxes == 2
    assert dict(seen.left_out) == {"outside_pool": 18}
