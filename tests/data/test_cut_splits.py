import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from data_files import spoil_pixels, voc_xml
from PIL import Image, ImageOps
from yolo_files import write_yolo

from rethink_ray.data.cut_splits import locate_split, open_cut
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.leaks import require_disjoint
from rethink_ray.data.regimes import regime_image_ids
from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.spec.data_split import DataSplit
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.facts import say_cut
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec
from tests.looking import SIDE, cut_spec, draw, slide, write_pictures

SPLITS = ("train", "val", "test")
ALL = {"all": RegimeSpec(images="all")}


def names_in(data: DataSpec) -> dict[str, set[str]]:
    """Split -> the file names of its pictures."""
    return {
        split: {Path(path).name for path in open_split(data, split).pictures().paths}
        for split in SPLITS
    }


def contents_in(data: DataSpec) -> dict[str, set[bytes]]:
    """Split -> the content of its pictures."""
    return {
        split: {Path(path).read_bytes() for path in open_split(data, split).pictures().paths}
        for split in SPLITS
    }


def soft_pictures(num: int) -> dict[str, Image.Image]:
    return {f"{seed}.png": draw(seed) for seed in range(num)}


def test_the_shares_are_cut_from_train_and_nothing_is_lost(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(40))
    names = names_in(cut_spec(tmp_path))
    assert {split: len(those) for split, those in names.items()} == {
        "train": 24,
        "val": 8,
        "test": 8,
    }
    assert set().union(*names.values()) == set(soft_pictures(40))


def test_neither_order_nor_names_nor_folders_of_files_move_a_picture(tmp_path: Path) -> None:
    pictures = soft_pictures(30)
    boxes = {name: ["cat", "dog"] if int(name[:-4]) % 4 == 0 else ["cat"] for name in pictures}
    write_pictures(tmp_path / "a", pictures, boxes)
    write_pictures(
        tmp_path / "b",
        {f"{name[0]}/x{name}": picture for name, picture in reversed(pictures.items())},
        {f"{name[0]}/x{name}": kinds for name, kinds in boxes.items()},
    )
    first, second = (contents_in(cut_spec(tmp_path / name)) for name in "ab")
    assert first == second


def test_one_picture_more_moves_few_others(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", soft_pictures(40))
    write_pictures(tmp_path / "b", soft_pictures(41))
    first, second = (names_in(cut_spec(tmp_path / name)) for name in "ab")
    moved = sum(len(first[split] - second[split]) for split in SPLITS)
    assert moved <= 2


def test_copies_stay_on_the_side_of_their_source(tmp_path: Path) -> None:
    pictures = soft_pictures(30)
    mirrored = {f"m{name}": ImageOps.mirror(picture) for name, picture in pictures.items()}
    write_pictures(tmp_path, pictures | mirrored)
    data = cut_spec(tmp_path)
    names = names_in(data)
    for those in names.values():
        assert {name for name in those if name[0] != "m"} == {
            name[1:] for name in those if name[0] == "m"
        }
    assert open_cut(data).facts.num_together == 30
    assert open_cut(data).facts.num_images_together == 60
    single = names_in(cut_spec(tmp_path, val="20%", test="20%", group="none"))
    assert any({f"m{name}" for name in those} - those for those in single.values())


def test_rare_classes_are_in_every_split(tmp_path: Path) -> None:
    rare = {"3.png": ["zebra"], "14.png": ["cat", "zebra"], "15.png": ["zebra"]}
    write_pictures(tmp_path, soft_pictures(40), rare)
    facts = gather_facts(cut_spec(tmp_path), ALL)
    assert facts.untrained_classes == {}
    names = names_in(cut_spec(tmp_path))
    assert all(those & rare.keys() for those in names.values())


def test_categories_are_those_of_the_whole_set_in_every_split(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20), {"3.png": ["zebra"]})
    data = cut_spec(tmp_path)
    assert {open_split(data, split).categories for split in SPLITS} == {("cat", "zebra")}


def test_a_cut_is_part_of_the_fingerprint_and_shares_no_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    data, other = cut_spec(tmp_path), cut_spec(tmp_path, val="20%", test="20%", seed=1)
    require_disjoint(data, "study")
    assert gather_facts(data, ALL).fingerprint != gather_facts(other, ALL).fingerprint
    again = DataSpec.model_validate_json(data.model_dump_json())
    assert gather_facts(again, ALL) == gather_facts(data, ALL)


def test_regimes_are_drawn_from_what_the_cut_leaves(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    data = cut_spec(tmp_path)
    images = regime_image_ids(data, "all")
    assert sorted(images) == open_split(data, "train").image_ids.tolist()
    assert regime_image_ids(data, 5) == images[:5]


def test_a_cut_stays_the_same_in_a_hold_outs_company(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(40))
    data = cut_spec(tmp_path, test="20%").model_copy(update={"select_on": HoldoutSpec(holdout=4)})
    held_out = set(open_split(data, "holdout").image_ids.tolist())
    train, test = (set(open_split(data, split).image_ids.tolist()) for split in ("train", "test"))
    assert len(test) == 8
    assert len(held_out) == 4
    assert held_out <= train
    assert not train & test
    require_disjoint(data, "study")


def test_a_changed_picture_is_cut_anew(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    data = cut_spec(tmp_path)
    before = names_in(data)
    copy = sorted(before["val"])[0]
    source = sorted(before["train"])[0]
    ImageOps.mirror(draw(int(source[:-4]))).save(tmp_path / "all" / copy)
    for split in SPLITS:
        refresh_split(data, split)
    after = {name: split for split, those in names_in(data).items() for name in those}
    assert after[copy] == after[source]


def test_a_picture_that_cannot_be_read_is_counted_in_train(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    spoil_pixels(tmp_path / "all" / "7.png")
    data = cut_spec(tmp_path)
    dropped = {split: dict(open_split(data, split).dropped) for split in SPLITS}
    assert dropped == {"train": {"unreadable_image": 1}, "val": {}, "test": {}}
    assert sum(open_cut(data).facts.split_sizes.values()) == 19


def test_the_frames_of_one_video_are_parted_and_that_is_told(tmp_path: Path) -> None:
    write_pictures(tmp_path, {f"{at:02}.png": frame for at, frame in enumerate(slide(40))})
    data = cut_spec(tmp_path)
    facts = open_cut(data).facts
    assert (facts.num_parted, facts.num_images_parted) == (1, 40)
    assert min(facts.split_sizes.values()) >= 4
    for those in names_in(data).values():
        frames = sorted(int(name[:2]) for name in those)
        num_runs = 1 + sum(b - a > 1 for a, b in pairwise(frames))
        assert num_runs <= 3
    told = "\n".join(say_cut(facts))
    assert "1 chain of 40 pictures that look alike" in told
    assert f"parted into {facts.num_pieces} pieces" in told


def test_a_large_chain_stays_whole_where_the_others_fill_the_splits(tmp_path: Path) -> None:
    frames = {f"f{at:02}.png": frame for at, frame in enumerate(slide(26))}
    others = {f"{seed}.png": draw(100 + seed) for seed in range(14)}
    write_pictures(tmp_path, frames | others)
    data = cut_spec(tmp_path)
    assert open_cut(data).facts.num_parted == 0
    assert open_cut(data).facts.split_sizes == {"train": 26, "val": 6, "test": 8}


def test_fewer_groups_than_splits_are_refused_with_a_remedy(tmp_path: Path) -> None:
    write_pictures(tmp_path, {f"{'ab'[at % 2]}/{at}.png": draw(at) for at in range(18)})
    data = cut_spec(tmp_path, val="20%", test="20%", group="folder")
    with pytest.raises(DataError, match=r"each of train, val and test.*2 groups of 18 pictures"):
        open_split(data, "train")
    assert len(open_split(cut_spec(tmp_path, val="20%", group="folder"), "val")) == 9


def test_a_split_without_an_object_is_refused(tmp_path: Path) -> None:
    pictures = soft_pictures(20)
    write_pictures(tmp_path, pictures, dict.fromkeys(list(pictures)[2:], ()))
    with pytest.raises(DataError, match=r"an object that can be found.*2 pictures with one"):
        open_split(cut_spec(tmp_path), "val")
    assert len(open_split(cut_spec(tmp_path, test="20%"), "test")) == 4


def write_voc_without_lists(folder: Path, num: int) -> None:
    for sub in ("Annotations", "JPEGImages"):
        (folder / sub).mkdir(parents=True)
    for seed in range(num):
        xml = voc_xml(f"{seed}.png", [("cat", 5, 5, 20, 20)], size=(SIDE, SIDE))
        (folder / "Annotations" / f"{seed}.xml").write_text(xml)
        draw(seed).save(folder / "JPEGImages" / f"{seed}.png")


def test_a_voc_set_without_lists_is_cut(tmp_path: Path) -> None:
    write_voc_without_lists(tmp_path, 20)
    data = DataSpec(dataset="voc", root=str(tmp_path))
    with pytest.raises(DataError, match=r"without lists: data.split: \{val: 20%, test: 20%\}"):
        open_split(data, "val")
    data = DataSpec(dataset="voc", root=str(tmp_path), split=DataSplit(val="20%", test="20%"))
    assert [len(open_split(data, split)) for split in SPLITS] == [12, 4, 4]


def test_a_split_that_the_files_have_is_not_cut_again(tmp_path: Path) -> None:
    write_voc_without_lists(tmp_path, 20)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(map(str, range(16))))
    (lists / "val.txt").write_text("\n".join(map(str, range(16, 20))))
    data = DataSpec(dataset="voc", root=str(tmp_path), split=DataSplit(val="20%", test="20%"))
    with pytest.raises(DataError, match=r"split.val: must cut only splits.*Leave val out"):
        open_split(data, "train")
    data = DataSpec(dataset="voc", root=str(tmp_path), split=DataSplit(test="25%"))
    assert [len(open_split(data, split)) for split in SPLITS] == [12, 4, 4]


def test_a_yolo_set_of_train_alone_is_cut(tmp_path: Path) -> None:
    labels = {f"train/{seed}": "0 0.5 0.5 0.4 0.4\n" for seed in range(20)}
    write_yolo(tmp_path, labels, "train: images/train\nnames: [cat]\n")
    for seed in range(20):
        draw(seed).save(tmp_path / "images" / "train" / f"{seed}.png")
    shutil.rmtree(tmp_path / "images" / "val", ignore_errors=True)
    split = DataSplit(val="20%", test="20%")
    data = DataSpec(dataset="yolo", root=str(tmp_path), split=split)
    assert [len(open_split(data, name)) for name in SPLITS] == [12, 4, 4]


def test_masks_and_keypoints_go_with_their_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    tree = json.loads((tmp_path / "all.json").read_text())
    tree["categories"][0]["keypoints"] = ["nose"]
    for one in tree["annotations"]:
        one["segmentation"] = [[4, 4, 24, 4, 24, 24]]
        one["keypoints"] = [10, 6, 2]
    (tmp_path / "all.json").write_text(json.dumps(tree))
    facts = gather_facts(cut_spec(tmp_path), ALL)
    assert (facts.has_masks, facts.scored_masks) == (True, True)
    assert (facts.num_keypoints, facts.scored_keypoints) == (1, 1)


def test_one_cut_serves_every_process_and_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path, soft_pictures(20))
    data = cut_spec(tmp_path)
    first = locate_split(data, "val").hash_annotations()
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "other"))
    assert locate_split(data, "val").hash_annotations() == first


def test_a_set_without_a_readable_picture_is_refused_as_any_other(tmp_path: Path) -> None:
    write_pictures(tmp_path, soft_pictures(4))
    shutil.rmtree(tmp_path / "all")
    with pytest.raises(DataError, match="at least one image that can be read"):
        open_split(cut_spec(tmp_path), "val")
