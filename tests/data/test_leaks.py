import hashlib
import os
import shutil
from pathlib import Path

import pytest
from data_files import coco, coco_spec, many_images, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.check import check_data
from rethink_ray.data.contents import are_unchanged, find_same_pictures, list_pictures
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.frequency import count_images_per_category
from rethink_ray.data.inspection import inspect_picture, inspect_pictures
from rethink_ray.data.leaks import find_leaks, require_disjoint, require_unseen
from rethink_ray.data.regimes import (
    digest_of_images,
    holdout_image_ids,
    regime_image_ids,
    trainable_image_ids,
)
from rethink_ray.data.splits import build_index, open_split, refresh_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.facts import left_out_words
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec
from tests.builders import MICRO_DATA, micro_trial
from tests.golden_words import assert_says

REGIMES = {"full": RegimeSpec(images="all"), "small": RegimeSpec(images=3)}


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    """Eight images to train on, four to select on, five to report on; no picture stands twice."""
    for split, count in {"train": 8, "val": 4, "test": 5}.items():
        write_coco(tmp_path, split, coco(many_images(count)))
    return coco_spec(tmp_path, "train", "val", "test")


def copy(folder: Path, original: str, target: str) -> None:
    """``copy(folder, "test/2", "train/5")``: picture 5 of train is now picture 2 of test."""
    shutil.copyfile(folder / f"{original}.png", folder / f"{target}.png")


def drop(data: DataSpec) -> DataSpec:
    return data.model_copy(update={"duplicates": "drop"})


def test_pictures_are_compared_by_content_and_not_by_name(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "c", "d")}
    for name, content in {"a": b"one", "b": b"two", "c": b"one", "d": b"three"}.items():
        files[name].write_bytes(content)
    second = list_pictures([files["d"], files["c"]])
    assert find_same_pictures(list_pictures([files["a"], files["b"]]), second) == [(0, 1)]
    assert find_same_pictures(list_pictures([files["b"]]), second) == []


def test_training_pictures_are_no_scored_ones_and_a_scored_one_is_refused() -> None:
    learned = open_split(MICRO_DATA, "train").pictures()
    require_unseen(MICRO_DATA, learned, "asset x")
    scored = open_split(MICRO_DATA, "test").pictures()
    mixed = list_pictures([Path(learned.paths[0]), Path(scored.paths[0])])
    with pytest.raises(DataError, match="asset x: .*split test") as refused:
        require_unseen(MICRO_DATA, mixed, "asset x")
    message = str(refused.value).replace(str(Path(scored.paths[0]).parent), "FOLDER")
    assert_says("data", "training on a scored picture", message)


def test_splits_without_a_common_picture_are_accepted(data: DataSpec) -> None:
    for accepted in (data, MICRO_DATA):
        require_disjoint(accepted, "s.yaml")
        assert find_leaks(accepted) == []


def test_a_test_picture_in_train_is_refused_with_both_paths(data: DataSpec, tmp_path: Path) -> None:
    copy(tmp_path, "test/2", "train/5")
    with pytest.raises(DataError, match=r"s\.yaml: data: ") as refused:
        require_disjoint(data, "s.yaml")
    message = str(refused.value).replace(str(tmp_path), "FOLDER")
    assert "1 of train in test: FOLDER/train/5.png = FOLDER/test/2.png" in message
    assert "data.duplicates: drop" in message
    assert_says("data", "test picture in train", message)


def test_three_pairs_are_named_and_the_rest_counted(data: DataSpec, tmp_path: Path) -> None:
    for key in range(1, 6):
        copy(tmp_path, f"test/{key}", f"train/{key}")
    copy(tmp_path, "test/1", "val/1")
    with pytest.raises(
        DataError, match="5 of train in test: .* and 2 more; 1 of val in test: "
    ) as e:
        require_disjoint(data, "s.yaml")
    assert "1 of train in val" in str(e.value)
    assert str(e.value).count("train/3.png") == 1
    assert "train/4.png" not in str(e.value)


def test_one_split_may_select_and_report(data: DataSpec, tmp_path: Path) -> None:
    require_disjoint(data.model_copy(update={"select_on": "test"}), "s.yaml")
    copy(tmp_path, "test/2", "val/1")
    require_disjoint(data.model_copy(update={"select_on": "test"}), "s.yaml")
    with pytest.raises(DataError, match="1 of val in test"):
        require_disjoint(data, "s.yaml")


def test_a_picture_twice_in_train_alone_is_no_leak(data: DataSpec, tmp_path: Path) -> None:
    copy(tmp_path, "train/1", "train/2")
    require_disjoint(data, "s.yaml")
    assert len(regime_image_ids(drop(data), "all")) == 8


def test_a_twin_of_a_held_out_picture_is_refused_or_left_out(
    data: DataSpec, tmp_path: Path
) -> None:
    """Train is 1 to 4 and once more under 5 to 8; the hold-out of three leaves a twin of each."""
    data = data.model_copy(update={"select_on": HoldoutSpec(holdout=3)})
    require_disjoint(data, "s.yaml")
    for key in range(1, 5):
        copy(tmp_path, f"train/{key}", f"train/{key + 4}")
    held_out = holdout_image_ids(data)
    twins = {key + 4 if key < 5 else key - 4 for key in held_out} - set(held_out)
    assert twins
    with pytest.raises(DataError, match=f"{len(twins)} of train in holdout"):
        require_disjoint(data, "s.yaml")
    assert holdout_image_ids(drop(data)) == held_out
    left = trainable_image_ids(drop(data))
    assert set(left) == set(range(1, 9)) - set(held_out) - twins
    assert find_leaks(drop(data)) == []
    facts = gather_facts(drop(data), {"full": RegimeSpec(images="all")})
    assert facts.num_dropped == {"train": len(twins)}
    assert facts.train_digest == facts.regime_digests["full"] == digest_of_images(left)
    assert count_images_per_category(drop(data)).tolist() == [len(left), 0]


def test_the_hold_out_is_cut_from_what_the_report_split_leaves(
    data: DataSpec, tmp_path: Path
) -> None:
    data = drop(data).model_copy(update={"select_on": HoldoutSpec(holdout=3)})
    for key in (1, 2, 3):
        copy(tmp_path, f"test/{key}", f"train/{key}")
    assert set(holdout_image_ids(data)) | set(trainable_image_ids(data)) == {4, 5, 6, 7, 8}
    assert gather_facts(data, {}).num_dropped == {"train": 3}


def test_drop_leaves_the_copies_out_before_regimes_are_drawn(
    data: DataSpec, tmp_path: Path
) -> None:
    """3 of train is in val, 5 in test; 2 of val is in test."""
    copy(tmp_path, "val/1", "train/3")
    copy(tmp_path, "test/2", "train/5")
    copy(tmp_path, "test/4", "val/2")
    whole, facts = gather_facts(data, REGIMES), gather_facts(drop(data), REGIMES)
    require_disjoint(drop(data), "s.yaml")
    assert set(regime_image_ids(drop(data), "all")) == {1, 2, 4, 6, 7, 8}
    assert open_split(drop(data), "val").image_ids.tolist() == [1, 3, 4]
    assert open_split(drop(data), "test").image_ids.tolist() == [1, 2, 3, 4, 5]
    order = [key for key in regime_image_ids(data, "all") if key not in (3, 5)]
    assert list(regime_image_ids(drop(data), 3)) == order[:3]
    assert facts.split_sizes == {"train": 6, "val": 3, "test": 5}
    assert facts.num_dropped == {"train": 2, "val": 1}
    assert left_out_words(facts).startswith("2 of train, 1 of val left out")
    assert facts.fingerprint != whole.fingerprint
    assert facts.regime_digests["full"] != whole.regime_digests["full"]


def test_trials_on_fewer_pictures_have_ids_of_their_own(data: DataSpec, tmp_path: Path) -> None:
    assert gather_facts(drop(data), REGIMES) == gather_facts(data, REGIMES)
    assert micro_trial(data=drop(data)).trial_id == micro_trial(data=data).trial_id
    copy(tmp_path, "test/2", "train/5")
    refresh_split(data, "train")
    assert micro_trial(data=drop(data)).trial_id != micro_trial(data=data).trial_id


def test_a_split_of_which_nothing_would_be_left_is_refused(data: DataSpec, tmp_path: Path) -> None:
    for key in range(1, 5):
        copy(tmp_path, "test/1", f"val/{key}")
    with pytest.raises(DataError, match="split val: must hold an image that test does not"):
        gather_facts(drop(data), REGIMES)


def test_lists_that_overlap_over_one_folder_are_refused(tmp_path: Path) -> None:
    xml_of = {stem: voc_xml(f"{stem}.jpg", [("cat", 2, 2, 9, 9)]) for stem in "abcd"}
    write_voc(tmp_path, xml_of, {"train": "abc", "val": "cd", "test": "d"})
    data = DataSpec(dataset="voc", root=str(tmp_path), report_on="val")
    with pytest.raises(DataError, match=r"1 of train in val: \S*/c\.jpg \(the same file\)'\."):
        require_disjoint(data, "s.yaml")
    assert len(open_split(drop(data), "train")) == 2


def test_a_picture_that_changed_since_the_index_was_built_is_looked_at_again(
    data: DataSpec, tmp_path: Path
) -> None:
    require_disjoint(data, "s.yaml")
    shutil.copy(tmp_path / "train" / "5.png", tmp_path / "kept.png")
    copy(tmp_path, "test/2", "train/5")
    with pytest.raises(DataError, match="1 of train in test"):
        require_disjoint(data, "s.yaml")
    shutil.copy(tmp_path / "kept.png", tmp_path / "train" / "5.png")
    require_disjoint(data, "s.yaml")


def test_an_index_of_pictures_that_did_not_change_is_not_built_again(
    data: DataSpec, tmp_path: Path
) -> None:
    age_pictures(tmp_path)
    before = build_index(data, "train").directory.stat().st_ino
    assert refresh_split(data, "train").directory.stat().st_ino == before
    write_coco(tmp_path, "train", coco(many_images(8)), size=(22, 10))
    assert refresh_split(data, "train").entry(1).width == 22


def test_a_file_is_read_again_only_if_its_size_or_time_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    os.utime(path, ns=(7, 7))
    [seen] = inspect_pictures("here", [path])
    assert seen.content.digest == hashlib.sha256(b"one").digest()
    path.write_bytes(b"two")
    os.utime(path, ns=(7, 7))
    assert inspect_pictures("here", [path]) == [seen]
    [anew] = inspect_pictures("here", [path], anew=True)
    assert anew.content.digest == hashlib.sha256(b"two").digest()
    path.write_bytes(b"four")
    os.utime(path, ns=(7, 7))
    [seen] = inspect_pictures("here", [path])
    assert seen.content.digest == hashlib.sha256(b"four").digest()


def test_a_file_that_changed_just_before_it_was_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    content = inspect_picture(path, hashed=True).content
    assert not are_unchanged([str(path)], [content])
    os.utime(path, (1, 1))
    content = inspect_picture(path, hashed=True).content
    assert are_unchanged([str(path)], [content])


def age_pictures(folder: Path) -> None:
    """A file that changed within two seconds of being read is read again."""
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))


def test_images_without_labels_are_not_read_to_be_indexed(shapes: DataSpec) -> None:
    assert open_split(shapes, "unlabelled").pictures().digests == [None] * 4
    assert all(open_split(shapes, "val").pictures().digests)


def test_data_check_tells_what_splits_have_in_common(data: DataSpec, tmp_path: Path) -> None:
    splits = ("train", "val", "test")
    assert check_data(data, splits) == {"train": [], "val": [], "test": []}
    copy(tmp_path, "test/2", "train/5")
    copy(tmp_path, "train/1", "train/2")
    found = {kind.kind: kind for kind in check_data(data, splits)["train"]}
    assert found["picture_in_two_splits"].examples == ("train/5.png = test/2.png of test",)
    assert found["picture_in_two_splits"].is_fault
    assert found["repeated_picture"].examples == ("train/2.png = train/1.png",)
    assert not found["repeated_picture"].is_fault
    [dropped, _] = check_data(drop(data), splits)["train"]
    assert (dropped.kind, dropped.count, dropped.is_fault) == ("dropped_duplicate", 1, False)


def test_data_check_says_why_splits_cannot_be_compared(data: DataSpec, tmp_path: Path) -> None:
    large = data.model_copy(update={"select_on": HoldoutSpec(holdout=8)})
    [finding] = check_data(large, ("train", "test"))["train"]
    assert finding.kind == "splits_not_compared"
    assert "must leave some of the 8" in finding.examples[0]


def test_a_picture_replaced_by_another_of_its_size_is_other_data(tmp_path: Path) -> None:
    """Trial ids hold the fingerprint: other pixels are other numbers."""
    write_coco(tmp_path, "train", coco(many_images(3)))
    data = coco_spec(tmp_path)
    before = refresh_split(data, "train").fingerprint
    write_picture(tmp_path / "train" / "1.png", value=17)
    assert refresh_split(data, "train").fingerprint != before
