"""Pictures that look like those of another split, where splits have files of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from rethink_ray.data.check import check_data, describe_look_alikes
from rethink_ray.data.leaks import Leak, find_leaks
from rethink_ray.data.look_alikes import find_look_alikes
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec
from tests.looking import draw, write_pictures

Scenes = Mapping[str, Mapping[str, Image.Image]]
"""Split -> name of a picture -> the picture."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))


def write_splits(folder: Path, scenes: Scenes, **keys: Any) -> DataSpec:
    """Each split has files of its own; by default val selects and test reports."""
    for split, pictures in scenes.items():
        write_pictures(folder / split, pictures)
    named = {
        split: {"images": f"{split}/all", "annotations": f"{split}/all.json"} for split in scenes
    }
    scoring = {"select_on": "val", "report_on": "test"}
    return validate(DataSpec, {"root": str(folder), "dataset": named, **scoring, **keys}, "data")


def scenes_of(**extra: Mapping[str, Image.Image]) -> dict[str, dict[str, Image.Image]]:
    """Four pictures to train on and two in each other split; no two look alike."""
    seeds = {"train": range(4), "val": range(4, 6), "test": range(6, 8)}
    return {
        split: {**{f"{seed}.png": draw(seed) for seed in of_split}, **extra.get(split, {})}
        for split, of_split in seeds.items()
    }


def pairs_of(leaks: list[Leak], root: Path) -> dict[tuple[str, str], list[tuple[str, str]]]:
    return {
        (leak.split, leak.other): [
            (str(Path(one).relative_to(root)), str(Path(twin).relative_to(root)))
            for one, twin in leak.pairs
        ]
        for leak in leaks
    }


def test_pictures_of_different_scenes_are_no_leak(tmp_path: Path) -> None:
    assert find_look_alikes(write_splits(tmp_path, scenes_of())) == []


def test_a_mirrored_test_picture_in_train_is_told_with_both_files(tmp_path: Path) -> None:
    """A picture of val that is blurred by resizing is in test, too."""
    blurred = draw(7).resize((24, 24)).resize((48, 48))
    scenes = scenes_of(train={"new.png": ImageOps.mirror(draw(6))}, val={"soft.png": blurred})
    data = write_splits(tmp_path, scenes)
    leaks = find_look_alikes(data)
    assert pairs_of(leaks, tmp_path) == {
        ("train", "test"): [("train/all/new.png", "test/all/6.png")],
        ("val", "test"): [("val/all/soft.png", "test/all/7.png")],
    }
    assert find_leaks(data) == []
    [finding] = describe_look_alikes(leaks)["train"]
    assert (finding.kind, finding.count) == ("look_alike_in_two_splits", 1)
    assert finding.examples == ("all/new.png looks like all/6.png of test",)
    assert not finding.is_fault, "a likeness is no proof, so --strict does not fail for it"


def test_copies_byte_for_byte_are_told_as_such_alone(tmp_path: Path) -> None:
    data = write_splits(tmp_path, scenes_of(train={"copy.png": draw(6)}))
    assert find_look_alikes(data) == []
    [finding] = check_data(data, ["train", "val", "test"])["train"]
    assert finding.kind == "picture_in_two_splits"


def test_splits_that_were_cut_by_looks_are_not_compared_again(tmp_path: Path) -> None:
    """A film of which every frame is like the next is parted, which the cut itself tells."""
    scenes = scenes_of(train={"new.png": ImageOps.flip(draw(6))})
    del scenes["val"]
    scenes["train"] |= {f"{seed}.png": draw(seed) for seed in range(20, 30)}
    data = write_splits(tmp_path, scenes, split={"val": "20%"})
    leaks = pairs_of(find_look_alikes(data), tmp_path)
    assert [pair for pairs in leaks.values() for pair in pairs] == [
        ("train/all/new.png", "test/all/6.png")
    ]
    assert ("train", "val") not in leaks


def test_train_is_compared_with_the_hold_out_that_is_cut_from_it(tmp_path: Path) -> None:
    """Of four pairs of mirrored pictures in train, some are parted by a hold-out of three."""
    mirrored = {f"m{seed}.png": ImageOps.mirror(draw(seed)) for seed in range(4)}
    data = write_splits(tmp_path, scenes_of(train=mirrored), select_on={"holdout": 3})
    [leak] = find_look_alikes(data)
    assert (leak.split, leak.other) == ("train", "holdout")
    for one, twin in leak.pairs:
        assert {Path(one).name, Path(twin).name} in [{f"{n}.png", f"m{n}.png"} for n in range(4)]
