import json
from pathlib import Path

import pytest
from data_files import coco, coco_spec, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.sources.raw import id_from_name
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec, SplitSpec
from tests.golden_words import assert_says


def _message(error: Exception, folder: Path) -> str:
    return str(error).replace(str(folder), "FOLDER")


def _voc(root: Path) -> DataSpec:
    return DataSpec(dataset="voc", root=str(root))


def test_voc_pixels_count_from_one_and_include_both_corners(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.jpg", [("cat", 1, 1, 20, 10)])}, {"train": ["a"]})
    entry = open_split(_voc(tmp_path), "train").entry(id_from_name("a"))
    assert entry.boxes_xyxy.tolist() == [[0, 0, 20, 10]]
    assert entry.area.tolist() == [200]


def test_corners_of_voc_files_that_count_from_zero_are_coordinates(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.jpg", [("cat", 0, 0, 20, 10)])}, {"train": ["a"]})
    from_one = open_split(_voc(tmp_path), "train")
    from_zero = open_split(_voc(tmp_path).model_copy(update={"voc_offset": 0}), "train")
    entry = from_zero.entry(id_from_name("a"))
    assert entry.boxes_xyxy.tolist() == [[0, 0, 20, 10]]
    assert entry.area.tolist() == [200]
    assert from_one.entry(id_from_name("a")).boxes_xyxy.tolist() == [[-1, -1, 20, 10]]
    assert from_zero.fingerprint != from_one.fingerprint


def test_named_voc_files_and_lists_count_from_the_given_offset(tmp_path: Path) -> None:
    write_voc(
        tmp_path / "VOC2007", {"a": voc_xml("a.jpg", [("cat", 0, 0, 20, 10)])}, {"train": ["a"]}
    )
    listed = DataSpec(
        dataset="voc", root=str(tmp_path), image_sets={"train": ("VOC2007/train",)}, voc_offset=0
    )
    files = SplitSpec(images="JPEGImages", annotations="Annotations")
    named = DataSpec(dataset={"train": files}, root=str(tmp_path / "VOC2007"), voc_offset=0)
    for data in (listed, named):
        boxes = open_split(data, "train").entry(id_from_name("a")).boxes_xyxy
        assert boxes.tolist() == [[0, 0, 20, 10]]


def test_an_offset_is_refused_where_annotations_are_no_voc_files() -> None:
    for dataset in ("shapes", {"train": {"images": "a", "annotations": "b.json"}}):
        given = {"dataset": dataset, "voc_offset": 0, "format": "coco"}
        with pytest.raises(SpecError, match="data.voc_offset: must be left out where"):
            validate(DataSpec, given, "data")


def test_a_difficult_voc_object_is_a_crowd(tmp_path: Path) -> None:
    text = voc_xml("a.jpg", [("cat", 2, 2, 9, 9)], difficult=1)
    write_voc(tmp_path, {"a": text}, {"train": ["a"]})
    entry = open_split(_voc(tmp_path), "train").entry(id_from_name("a"))
    assert entry.is_crowd.tolist() == [True]


def test_voc_labels_are_the_sorted_names_of_train(tmp_path: Path) -> None:
    xml_of = {
        "a": voc_xml("a.jpg", [("zebra", 2, 2, 9, 9)]),
        "b": voc_xml("b.jpg", [("ant", 2, 2, 9, 9), ("unheard", 2, 2, 9, 9)]),
        "c": voc_xml("c.jpg", [("ant", 2, 2, 9, 9)]),
    }
    write_voc(tmp_path, xml_of, {"train": ["a", "c"], "val": ["b"]})
    val = open_split(_voc(tmp_path), "val")
    assert val.categories == ("ant", "zebra")
    assert val.entry(id_from_name("b")).labels.tolist() == [1]


def test_voc_years_are_read_together(tmp_path: Path) -> None:
    for year, stem in (("VOC2007", "000001"), ("VOC2012", "2008_000001")):
        text = voc_xml(f"{stem}.jpg", [("cat", 2, 2, 9, 9)])
        write_voc(tmp_path / year, {stem: text}, {"train": [stem]})
    write_voc(tmp_path / "VOC2007", {"7": voc_xml("7.jpg")}, {"test": ["7"]})
    assert len(open_split(_voc(tmp_path), "train")) == 2
    assert len(open_split(_voc(tmp_path), "test")) == 1
    with pytest.raises(DataError, match=r"ImageSets/Main/val\.txt") as refused:
        open_split(_voc(tmp_path), "val")
    assert_says("data", "voc folder without a split", _message(refused.value, tmp_path))


def test_a_broken_xml_costs_one_image(tmp_path: Path) -> None:
    xml_of = {"a": voc_xml("a.jpg", [("cat", 2, 2, 9, 9)]), "b": "<annotation><object>"}
    write_voc(tmp_path, xml_of, {"train": ["a", "b", "absent"]})
    index = open_split(_voc(tmp_path), "train")
    assert index.image_ids.tolist() == [id_from_name("a")]
    assert index.dropped == {"unreadable_annotation": 2}


def test_voc_by_files_reads_every_xml_unless_an_image_set_names_some(tmp_path: Path) -> None:
    stems = ("a", "b", "c")
    write_voc(tmp_path, {stem: voc_xml(f"{stem}.jpg") for stem in stems}, {"some": ["a", "b"]})
    whole = SplitSpec(images="JPEGImages", annotations="Annotations")
    some = whole.model_copy(update={"image_set": "ImageSets/Main/some.txt"})
    data = DataSpec(dataset={"train": whole, "val": some}, root=str(tmp_path))
    assert len(open_split(data, "train")) == 3
    assert len(open_split(data, "val")) == 2


def test_the_coco_layout_is_found_below_root(tmp_path: Path) -> None:
    write_coco(tmp_path, "train2017", coco({1: [("cat", 0, 0, 5, 5)]}))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017.json").rename(tmp_path / "annotations" / "instances_train2017.json")
    index = open_split(DataSpec(dataset="coco", root=str(tmp_path)), "train")
    assert index.entry(1).path == str(tmp_path / "train2017" / "1.png")


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("{", "no JSON"),
        ("[]", "a JSON list"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_coco_file_is_named(tmp_path: Path, text: str | None, came: str) -> None:
    if text is not None:
        (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=rf"train\.json: must be a COCO JSON.*{came}"):
        open_split(coco_spec(tmp_path), "train")


def test_two_categories_of_one_name_are_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: []}, {1: "cat", 2: "cat"}))
    with pytest.raises(DataError, match="distinct"):
        open_split(coco_spec(tmp_path), "train")


def test_coco_images_may_be_known_by_name(tmp_path: Path) -> None:
    told = coco({1: [("cat", 0, 0, 5, 5)]})
    told["images"][0]["id"] = told["annotations"][0]["image_id"] = "street-1"
    (tmp_path / "train.json").write_text(json.dumps(told))
    write_picture(tmp_path / "train" / "1.png")
    index = open_split(coco_spec(tmp_path), "train")
    assert index.entry(id_from_name("street-1")).labels.tolist() == [1]


def test_ids_beyond_what_float64_holds_stay_apart(tmp_path: Path) -> None:
    twins = (2**60, 2**60 + 1)  # one and the same float64
    told = coco({1: [("cat", 0, 0, 5, 5)], 2: [("dog", 0, 0, 5, 5)]})
    for key in ("images", "annotations"):
        for record, number in zip(told[key], twins, strict=True):
            record["id" if key == "images" else "image_id"] = number
    (tmp_path / "train.json").write_text(json.dumps(told))
    for name in (1, 2):
        write_picture(tmp_path / "train" / f"{name}.png")
    index = open_split(coco_spec(tmp_path), "train")
    assert len({float(image_id) for image_id in index.image_ids}) == 2
    labels = [index.entry(id_from_name(str(number))).labels.tolist() for number in twins]
    assert labels == [[1], [2]]


@pytest.mark.parametrize("points", [[1, 2, None], {"x": 1}, "1 2 3", [[1, 2, 2]]])
def test_keypoints_that_are_no_numbers_cost_no_image(tmp_path: Path, points: object) -> None:
    told = coco({1: [("cat", 0, 0, 5, 5)]})
    told["annotations"][0]["keypoints"] = points
    write_coco(tmp_path, "train", told)
    index = open_split(coco_spec(tmp_path), "train")
    assert index.entry(1).labels.tolist() == [1]
    assert index.keypoints(1) is None


def test_keypoint_names_that_are_no_list_cost_no_data_set(tmp_path: Path) -> None:
    told = coco({1: [("cat", 0, 0, 5, 5)]})
    told["categories"][0]["keypoints"] = 17
    write_coco(tmp_path, "train", told)
    assert open_split(coco_spec(tmp_path), "train").keypoint_names == ()


def test_category_ids_may_have_gaps_and_any_order(tmp_path: Path) -> None:
    names = {90: "zebra", 3: "ant", 17: "cat"}
    boxes = [(name, 0.0, 0.0, 5.0, 5.0) for name in names.values()]
    write_coco(tmp_path, "train", coco({1: boxes}, names))
    index = open_split(coco_spec(tmp_path), "train")
    assert index.categories == ("ant", "cat", "zebra")
    assert sorted(index.entry(1).labels.tolist()) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_root_that_does_not_exist_is_said_to_be_missing(kind: str, tmp_path: Path) -> None:
    data = DataSpec.model_validate({"dataset": kind, "root": str(tmp_path / "gone")})
    with pytest.raises(DataError, match="--set data.root=DIR") as refused:
        open_split(data, "train")
    assert_says("data", f"{kind} root that does not exist", _message(refused.value, tmp_path))


def test_a_coco_folder_of_other_names_is_told_how_to_name_its_files(tmp_path: Path) -> None:
    data = DataSpec.model_validate({"dataset": "coco", "root": str(tmp_path)})
    with pytest.raises(DataError, match=r"annotations/instances_train2017\.json") as refused:
        open_split(data, "train")
    assert "data.dataset: {train: {images: FOLDER, annotations: FILE.json}" in str(refused.value)
    assert_says("data", "coco folder with other names", _message(refused.value, tmp_path))


def test_lists_of_several_years_make_up_a_split(tmp_path: Path) -> None:
    for year, stem in (("VOC2007", "a"), ("VOC2012", "b")):
        xml = {key: voc_xml(f"{key}.jpg", [("cat", 1, 1, 5, 5)]) for key in (stem, stem * 2)}
        lists = {"trainval": [stem], "train": [stem], "val": [stem * 2]}
        write_voc(tmp_path / "VOCdevkit" / year, xml, lists)
    told = {"train": ("VOC2007/trainval", "VOC2012/train"), "val": ("VOC2012/val",)}
    data = DataSpec(dataset="voc", root=str(tmp_path), image_sets=told, report_on="val")
    names = {
        split: sorted(Path(open_split(data, split).entry(int(k)).path).stem for k in ids)
        for split in ("train", "val")
        for ids in [open_split(data, split).image_ids]
    }
    assert names == {"train": ["a", "b"], "val": ["bb"]}
    with pytest.raises(DataError, match=r"\(train, val\)") as refused:
        open_split(data, "test")
    assert_says("data", "split without labels", _message(refused.value, tmp_path))
    wrong = data.model_copy(update={"image_sets": {"train": ("VOC2007/nothing",)}})
    with pytest.raises(DataError, match=r"YEAR/LIST.*but got 'VOC2007/nothing'") as refused:
        open_split(wrong, "train")
    remedy = (
        f"{tmp_path}/VOCdevkit/VOC2007/ImageSets/Main/nothing.txt is missing; lists there: train, "
        "trainval, val."
    )
    assert refused.value.remedy == remedy
    absent = data.model_copy(update={"image_sets": {"train": ("VOC2010/train",)}})
    with pytest.raises(DataError, match=f"There is no folder {tmp_path}/VOC2010"):
        open_split(absent, "train")


def test_a_relative_root_is_said_to_start_at_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {split: {"images": split, "annotations": f"{split}.json"} for split in ("train", "val")}
    for dataset in ("coco", "voc", files):
        data = DataSpec.model_validate({"dataset": dataset, "root": "photos"})
        with pytest.raises(DataError) as refused:
            open_split(data, "train")
        remedy = refused.value.remedy
        assert (
            f"A relative data.root starts at the folder where the command runs, here {tmp_path}."
            in remedy
        )
        assert "Set data.root in the file" in remedy
