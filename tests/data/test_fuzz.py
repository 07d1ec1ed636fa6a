"""Inputs with faults that real files have, and their neighbours: 700 a run, always the same ones.

Each is read as meant, counted by `data check`, or refused in a sentence. It is never a traceback,
and never an object that the file does not describe. `pytest -m slow` tries 50,000.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import coco_spec, write_picture
from fuzzed_coco import DAMAGED, ENCODINGS, MEANT, Change, as_bytes, changed
from fuzzed_study import KEYS, PATHS, PIECES, STUDY, VALUES, with_piece, with_value
from fuzzed_voc import DAMAGED_IN_VOC, MEANT_IN_VOC, FolderChange, changed_folder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rethink_ray.data.check import check_split
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.faults import count_faults, is_findable, select_trainable
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.splits import open_split
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.load import load_study
from rethink_ray.spec.regime import DataSpec, RegimeSpec

NOTES = {"empty_image"}
"""Kinds that follow from others: a picture whose objects are lost."""

MOST_INDEXES = 500

Key = tuple[str, str, tuple[float, ...], bool]
"""Picture, category, box, crowd."""


def fuzzed(num: int) -> settings:
    """The same ``num`` inputs each time."""
    return settings(
        max_examples=num,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Reading:
    """What became of an input: the objects that can be found, and the faults that are counted."""

    objects: Mapping[Key, tuple[bytes | None, tuple[float, ...]]]
    """Object -> its mask's pixels and its keypoints."""
    faults: Counter[str]


def read(data: DataSpec) -> Reading | None:
    """What `data check`, training and scoring see of split train; ``None``: refused."""
    clear_cache()
    try:
        findings = check_split(data, "train")
        index = open_split(data, "train")
    except (DataError, SpecError) as error:
        assert_is_sentence(error)
        return None
    for kind, count in count_faults(index, index.image_ids.tolist()).items():
        assert count > 0, kind
    return Reading(
        objects={key: value for i in index.image_ids for key, value in objects_of(index, int(i))},
        faults=Counter({f.kind: f.count for f in findings if f.kind not in NOTES}),
    )


def clear_cache() -> None:
    """Removes the indexes of earlier inputs now and then."""
    indexes = cache_folder() / "index"
    if indexes.is_dir() and len(os.listdir(indexes)) > MOST_INDEXES:
        shutil.rmtree(indexes)


def assert_is_sentence(error: Exception) -> None:
    assert ", but got " in str(error), str(error)
    assert max(map(len, str(error).splitlines())) < 3000


def objects_of(
    index: AnnotationIndex, image_id: int
) -> list[tuple[Key, tuple[bytes | None, tuple[float, ...]]]]:
    entry, masks, points = index.entry(image_id), index.masks(image_id), index.keypoints(image_id)
    trained = select_trainable(entry, masks, points)
    assert np.isfinite(entry.boxes_xyxy).all()
    assert (trained.boxes_xyxy >= 0).all()
    assert (trained.boxes_xyxy <= [entry.width, entry.height] * 2).all()
    assert is_findable(entry)[~entry.is_crowd].sum() >= len(trained)
    assert masks[entry.has_mask].any(axis=(1, 2)).all()
    return [
        (
            (
                Path(entry.path).name,
                index.categories[entry.labels[row] - 1],
                tuple(entry.boxes_xyxy[row].tolist()),
                bool(entry.is_crowd[row]),
            ),
            (
                masks[row].tobytes() if entry.has_mask[row] else None,
                () if points is None else tuple(points[row].ravel().tolist()),
            ),
        )
        for row in np.flatnonzero(is_findable(entry)).tolist()
    ]


def assert_nothing_is_invented(reading: Reading, good: Reading) -> None:
    """Each object is one of the good file, with its mask or a part of it, or with none."""
    for key, (mask, points) in reading.objects.items():
        assert key in good.objects, key
        whole, all_points = good.objects[key]
        if mask is not None:
            assert whole is not None
            assert np.all(np.frombuffer(mask, np.uint8) <= np.frombuffer(whole, np.uint8))
        assert points in (all_points, ()) or not any(points)


def assert_every_loss_is_counted(data: DataSpec, reading: Reading, good: Reading) -> None:
    """Each difference is a fault, and a study on what is left goes on or is refused.

    A crowd needs no mask: all of its box is the crowd then.
    """
    boxes_alone = {key: (None, points) for key, (_, points) in good.objects.items() if key[3]}
    unmasked = {key for key, (mask, _) in reading.objects.items() if mask is None}
    meant = {k: boxes_alone.get(k, v) if k in unmasked else v for k, v in good.objects.items()}
    if reading.objects == meant:
        return
    assert reading.faults - good.faults, "objects differ, and no fault is counted"
    try:
        facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    except (DataError, SpecError) as error:
        assert_is_sentence(error)
    else:
        assert any(not is_crowd for _, _, _, is_crowd in reading.objects)
        assert bool(facts.has_masks) == any(mask for mask, _ in reading.objects.values())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures of train, and a val of its own."""
    for number in (1, 2, 3):
        write_picture(tmp_path / "train" / f"{number}.png", value=number)
        write_picture(tmp_path / "val" / f"{number}.png", value=100 + number)
    (tmp_path / "val.json").write_bytes(as_bytes(changed([]), "utf-8"))
    (tmp_path / "train.json").write_bytes(as_bytes(changed([]), "utf-8"))
    return tmp_path


@cache
def _readings() -> dict[Path, Reading]:
    return {}


def read_good(folder: Path, data: DataSpec) -> Reading:
    """What is read of the folder before anything in it is changed."""
    if folder not in _readings():
        reading = read(data)
        assert reading is not None
        assert len(reading.objects) == 6
        _readings()[folder] = reading
    return _readings()[folder]


def check_coco(
    folder: Path, meant: list[Change], damaged: list[Change], encoding: str, cut: float | None
) -> None:
    data = coco_spec(folder, "train", "val").model_copy(update={"report_on": "val"})
    good = read_good(folder, data)
    content = as_bytes(changed([*meant, *damaged]), encoding)
    if cut is not None:
        content = content[: int(cut * len(content))]
    (folder / "train.json").write_bytes(content)
    reading = read(data)
    if reading is None:
        assert damaged or cut is not None, "meant, and refused"
        return
    assert_nothing_is_invented(reading, good)
    assert_every_loss_is_counted(data, reading, good)
    if not damaged:
        assert reading == good


CHANGES = {
    "meant": st.lists(st.sampled_from(MEANT), max_size=3),
    "damaged": st.lists(st.sampled_from(DAMAGED), max_size=3),
    "encoding": st.sampled_from(ENCODINGS),
    "cut": st.one_of(st.none(), st.none(), st.none(), st.floats(0.0, 0.99)),
}


@fuzzed(315)
@given(**CHANGES)
def test_a_changed_coco_file_is_read_as_meant_or_counted_or_refused(
    pictures: Path, **changes: Any
) -> None:
    check_coco(pictures, **changes)


@pytest.fixture
def voc_folder(tmp_path: Path) -> Path:
    """Three pictures, whose XML files are written anew for each input; val is one of them."""
    for sub in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / sub).mkdir(parents=True)
    folder = changed_folder([])
    folder.write(tmp_path)
    for number, stem in enumerate(folder.pictures):
        write_picture(tmp_path / "JPEGImages" / f"{stem}.png", value=number)
    write_picture(tmp_path / "JPEGImages" / "val.png", value=99)
    (tmp_path / "Annotations" / "val.xml").write_bytes(folder.pictures["a"].content())
    (tmp_path / "ImageSets/Main/val.txt").write_text("val")
    return tmp_path


def check_voc(root: Path, meant: list[FolderChange], damaged: list[FolderChange]) -> None:
    data = DataSpec(dataset="voc", root=str(root), select_on="val", report_on="val")
    good = read_good(root, data)
    try:
        changed_folder([*meant, *damaged]).write(root)
    except (UnicodeEncodeError, LookupError, ValueError):
        return  # no program can write this file
    reading = read(data)
    if reading is None:
        assert damaged, "meant, and refused"
        return
    assert_nothing_is_invented(reading, good)
    assert_every_loss_is_counted(data, reading, good)
    if not damaged:
        assert reading.objects == good.objects
        assert not reading.faults - Counter(duplicate_id=2)


VOC_CHANGES = {
    "meant": st.lists(st.sampled_from(MEANT_IN_VOC), max_size=3),
    "damaged": st.lists(st.sampled_from(DAMAGED_IN_VOC), max_size=3),
}


@fuzzed(230)
@given(**VOC_CHANGES)
def test_a_changed_voc_folder_is_read_as_meant_or_counted_or_refused(
    voc_folder: Path, **changes: Any
) -> None:
    check_voc(voc_folder, **changes)


def check_text(folder: Path, text: str, encoding: str) -> None:
    """The study is refused, or its data are gathered or refused."""
    path = folder / "study.yaml"
    path.write_bytes(text.replace("DATA", str(folder)).encode(encoding, errors="replace"))
    try:
        study, _ = load_study(path)
        gather_facts(study.data, study.regimes)
    except (SpecError, DataError) as error:
        assert_is_sentence(error)


TEXTS = st.one_of(
    st.builds(with_value, st.sampled_from(PATHS), st.sampled_from(VALUES)),
    st.builds(with_value, st.sampled_from(PATHS), st.sampled_from(VALUES), st.sampled_from(KEYS)),
    st.builds(with_piece, st.floats(0, 1), st.sampled_from(PIECES), st.integers(0, 3)),
    st.builds(lambda at: STUDY[: int(at * len(STUDY))], st.floats(0, 1)),
)
STUDIES = {"text": TEXTS, "encoding": st.sampled_from(("utf-8", "utf-8", "utf-16", "cp1252"))}


def test_the_study_that_is_changed_is_good(pictures: Path) -> None:
    path = pictures / "study.yaml"
    path.write_text(STUDY.replace("DATA", str(pictures)))
    study, _ = load_study(path)
    assert gather_facts(study.data, study.regimes).regime_sizes == {"full": 3}


@fuzzed(155)
@given(**STUDIES)
def test_a_changed_study_file_is_read_or_refused(pictures: Path, **changes: Any) -> None:
    check_text(pictures, **changes)


@pytest.mark.slow
@fuzzed(22_500)
@given(**CHANGES)
def test_many_times_as_many_coco_files(pictures: Path, **changes: Any) -> None:
    check_coco(pictures, **changes)


@pytest.mark.slow
@fuzzed(16_250)
@given(**VOC_CHANGES)
def test_many_times_as_many_voc_folders(voc_folder: Path, **changes: Any) -> None:
    check_voc(voc_folder, **changes)


@pytest.mark.slow
@fuzzed(11_250)
@given(**STUDIES)
def test_many_times_as_many_study_files(pictures: Path, **changes: Any) -> None:
    check_text(pictures, **changes)
