"""From a folder to an accepted study file: three formats, planted paces, every refusal."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import rethink_ray
from rethink_ray.analysis.power import plan_power
from rethink_ray.cli import app
from rethink_ray.drafting.draft import DraftedStudy, DraftRequest, draft_study
from rethink_ray.search.design import round_up
from rethink_ray.search.hours import estimate_hours
from rethink_ray.search.known_paces import find_paces
from rethink_ray.search.noise_prior import expect_noise
from rethink_ray.session import load_study_input
from rethink_ray.spec.errors import DataError, RethinkError, SpecError
from tests.drafting.folders import (
    PACES,
    draw_coco,
    draw_voc,
    draw_yolo,
    read_coco,
    save_resnet,
    write_pace,
)
from tests.golden_words import assert_says


def draft(folder: Path, hours: float = 0.2, **changes: object) -> DraftedStudy:
    """A study by planted paces, on two slots of a CPU of which nothing is known."""
    asked = {"pace": write_pace(Path()), "gpus": 0, "cpuinfo": Path("absent"), **changes}
    return draft_study(DraftRequest(folder=folder, hours=hours, **asked))  # type: ignore[arg-type]


def masked(text: str, *folders: Path) -> str:
    """Without the folders of this test."""
    for folder in folders:
        text = text.replace(str(folder), "HOME")
    return text


@pytest.mark.parametrize("draw", [draw_coco, draw_yolo, draw_voc])
def test_a_folder_without_splits_becomes_a_study_that_plan_accepts(
    draw: Callable[[Path], Path], tmp_path: Path
) -> None:
    drafted = draft(draw(tmp_path / "photos"))
    given = load_study_input(str(drafted.path), is_planned_only=True)
    assert drafted.path == Path("photos.yaml")
    assert given.study.study == "photos"
    assert given.study.data.split is not None
    assert set(given.facts.split_sizes) == {"train", "val", "test"}
    assert sum(given.facts.split_sizes.values()) == 100
    assert list(given.study.arms) == ["scratch", "glyphs"]
    with Image.open(drafted.contact_sheet) as sheet:
        assert sheet.size == (4 * 244 + 4, 3 * 244 + 4)


def test_the_file_says_what_was_seen_what_it_takes_and_what_it_tells(
    photos: Path, shared: Path
) -> None:
    drafted = draft(photos, hours=0.5)
    assert_says("drafting", "study file of a hundred scenes", masked(_read(drafted), shared))
    assert_says("drafting", "lines of new", masked(str(drafted), shared))
    given = load_study_input(str(drafted.path), is_planned_only=True)

    # the header's hours are those of the plan, which finds the paces beside the file
    paces = find_paces("photos.yaml")
    assert paces is not None
    assert paces.slots == 2
    assert estimate_hours(given.study, given.facts, paces.arms, slots=2).high <= 0.5

    # its differences are those of plan --noise
    noise = expect_noise(given.facts.split_sizes["train"])
    if given.study.budget.searches > 1:
        noise = noise.between_searches()
    promised = re.search(r"a difference of ([\d.]+) to ([\d.]+) AP", str(drafted))
    assert promised is not None
    low, high = map(float, promised.groups())
    headline = plan_power(given.study, given.facts, noise.high)[0]
    assert high == pytest.approx(headline.smallest, abs=0.06)
    assert low / high == pytest.approx(noise.low / noise.high, rel=0.05)


def _read(drafted: DraftedStudy) -> str:
    return drafted.path.read_text()


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_cpu_with_amx_is_offered_bf16_in_the_file(gpus: int, photos: Path) -> None:
    cpuinfo = Path("cpuinfo")
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n")
    drafted = draft(photos, gpus=gpus, cpuinfo=cpuinfo)
    tree, text = yaml.safe_load(_read(drafted)), _read(drafted)
    assert tree["settings"].get("precision") == (None if gpus else "bf16")
    assert ("# this CPU has AMX: 1.8 to 2.1 times as fast" in text) == (not gpus)


def test_a_study_for_gpus_is_written_on_a_laptop_from_paces(photos: Path) -> None:
    drafted = draft(photos, gpus=4, nodes=2)
    tree = yaml.safe_load(_read(drafted))
    assert tree["recipe"] == "faster_rcnn_r50_v1"
    assert tree["resources"] == {"gpus_per_worker": 1, "loader_workers": 4}
    assert "2 nodes of 4 GPUs, 8 trials at a time" in str(drafted)
    assert "FasterRCNN_ResNet50_FPN_Weights.COCO_V1 would add arms" in str(drafted)


def test_a_file_of_weights_is_known_by_its_name_and_its_tensors(
    tmp_path: Path, photos: Path
) -> None:
    path = tmp_path / "resnet18_mine.pth"
    save_resnet(path)
    tree = yaml.safe_load(_read(draft(photos, weights=(path,), arms=("scratch", "frozen"))))
    assert list(tree["arms"]) == ["scratch", "frozen"]
    assert tree["arms"]["frozen"]["set"]["init"] == {
        "source": "file",
        "weights": str(path),
        "weights_norm": "bn",
        "input": "imagenet",
    }


def test_too_few_hours_are_refused_with_the_hours_of_the_smallest_study(photos: Path) -> None:
    with pytest.raises(SpecError, match="--hours: must be at least") as refused:
        draft(photos, hours=0.001)
    least = float(refused.value.must.partition("at least ")[2].partition(",")[0])
    assert not Path("photos.yaml").exists()
    assert least == round_up(least)
    assert draft(photos, hours=least).path.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hours": 0.0}, "no hours"),
        ({"hours": float("nan")}, "hours that are no number"),
        ({"out": Path("photos")}, "a file that is no YAML"),
        ({"out": Path("my photos.yaml")}, "a file whose name is no study's"),
        ({"out": Path(".")}, "a file that is the current folder"),
        ({"out": Path("_photos.yaml")}, "a file whose name begins with a sign"),
        ({"out": Path("nowhere/photos.yaml")}, "a file in a folder that is not there"),
        ({"arms": ("scratch", "glyph")}, "an arm that is misspelt"),
        ({"arms": ("scratch", "finetuned")}, "an arm without weights"),
        ({"arms": ("scratch",)}, "one arm"),
        ({"weights": (Path("none.pth"),)}, "weights that are not there"),
        ({"pace": Path("none.json")}, "paces that are not there"),
        ({"gpus": 8, "pace": None}, "GPUs without paces"),
    ],
)
def test_every_refusal_says_what_to_do(
    changes: dict[str, object], says: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RethinkError) as refused:
        draft(photos, **changes)  # type: ignore[arg-type]
    assert refused.value.remedy
    assert_says("drafting", says, masked(str(refused.value), tmp_path))
    assert not Path("photos.yaml").exists()


def test_weights_of_no_known_network_are_refused(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save({"layer.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(SpecError, match="Name the file after its network"):
        draft(photos, weights=(path,))


def test_paces_that_lack_an_arm_are_refused(photos: Path) -> None:
    Path("other").mkdir()
    pace = write_pace(Path("other"), arms={"scratch": PACES["arms"][""]})
    with pytest.raises(SpecError, match=r"must hold a pace of every arm \(scratch, glyphs\)"):
        draft(photos, pace=pace)


def test_files_and_studies_that_are_there_are_never_written_over(photos: Path) -> None:
    Path("photos.yaml").write_text("mine")
    with pytest.raises(SpecError, match=r"--out photos_2\.yaml"):
        draft(photos)
    assert Path("photos.yaml").read_text() == "mine"
    (Path("studies") / "other").mkdir(parents=True)
    (Path("studies") / "other" / "resolved.json").write_text("{}")
    with pytest.raises(SpecError, match=r"--out other_2\.yaml"):
        draft(photos, out=Path("other.yaml"))


def test_pictures_without_any_object_are_refused(tmp_path: Path) -> None:
    folder = draw_coco(tmp_path / "photos", num=60)
    tree = read_coco(folder)
    (folder / "annotations.json").write_text(json.dumps({**tree, "annotations": []}))
    with pytest.raises(DataError) as refused:
        draft(folder)
    assert refused.value.remedy


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no pictures")
    with pytest.raises(DataError, match="must hold labelled pictures"):
        draft(tmp_path / "notes")


def test_the_command_and_python_write_the_same_file(photos: Path) -> None:
    pace = write_pace(Path())
    words = ["new", str(photos), "--hours", "0.2", "--pace", str(pace), "--gpus", "0"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    from_python = rethink_ray.new(photos, 0.2, out="again.yaml", pace=pace, gpus=0)
    trees = [yaml.safe_load(Path(name).read_text()) for name in ("photos.yaml", "again.yaml")]
    assert {**trees[0], "study": "again"} == trees[1]
    assert (
        said.output.replace("photos.yaml", "again.yaml").split()[:20]
        == (" ".join(from_python.lines).split()[:20])
    )


@pytest.mark.slow
def test_the_machine_is_timed_where_no_paces_are_given(photos: Path) -> None:
    drafted = draft(photos, hours=50.0, pace=None)
    paces = find_paces(str(drafted.path))
    assert paces is not None
    assert paces.arms["scratch"].seconds_per_update > 0.0
    assert paces.arms["scratch"] == paces.arms["glyphs"]  # they differ in their weights alone
