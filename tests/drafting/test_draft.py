"""From a folder to an accepted study file: three formats, planted paces, every refusal."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision
import yaml
from PIL import Image
from typer.testing import CliRunner

import rethink_ray
from rethink_ray.analysis.power import plan_power
from rethink_ray.cli import app
from rethink_ray.drafting.draft import DraftedStudy, DraftRequest, draft_study
from rethink_ray.search.design import round_up
from rethink_ray.search.hours import estimate_hours
from rethink_ray.search.noise_prior import expect_noise
from rethink_ray.session import load_paces, load_study_input
from rethink_ray.spec.errors import DataError, RethinkError, SpecError
from tests.drafting.folders import draw_coco, draw_voc, draw_yolo, write_pace
from tests.golden_words import assert_says


def draft(folder: Path, hours: float = 1.0, **changes: object) -> DraftedStudy:
    """A study with planted paces; the words that a user sees are in ``lines``."""
    asked = {"pace": write_pace(folder.parent), "gpus": 0, **changes}
    return draft_study(DraftRequest(folder=folder, hours=hours, **asked))  # type: ignore[arg-type]


def masked(text: str, folder: Path) -> str:
    """Without paths of this test and without the cores of this machine."""
    return re.sub(
        r"\d+ cores?, \w+ trials?", "# cores, # trials", text.replace(str(folder), "HOME")
    )


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of a laptop, whatever runs the test."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})


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
    plan = rethink_ray.plan(drafted.path, slots=2)
    assert plan.cells


def test_the_study_ends_within_the_hours_by_the_same_paces(tmp_path: Path) -> None:
    drafted = draft(draw_coco(tmp_path / "photos"), hours=0.5)
    given = load_study_input(str(drafted.path), is_planned_only=True)
    paces = load_paces(str(write_pace(tmp_path))).arms
    slots = int(re.search(r"(\d+) trials? at a time|one trial", str(drafted)).group(1) or 1)  # type: ignore[union-attr]
    hours = estimate_hours(given.study, given.facts, paces, slots=slots)
    assert hours.high <= 0.5


@pytest.mark.usefixtures("two_cores")
def test_the_file_says_what_was_seen_what_it_takes_and_what_it_tells(tmp_path: Path) -> None:
    drafted = draft(draw_coco(tmp_path / "photos"))
    text = masked(drafted.path.read_text(), tmp_path)
    assert_says("drafting", "study file of a hundred scenes", text)
    assert_says("drafting", "lines of new", masked(str(drafted), tmp_path))


@pytest.mark.usefixtures("two_cores")
def test_the_header_promises_what_plan_noise_computes(tmp_path: Path) -> None:
    drafted = draft(draw_coco(tmp_path / "photos"))
    given = load_study_input(str(drafted.path), is_planned_only=True)
    noise = expect_noise(given.facts.split_sizes["train"])
    if given.study.budget.searches > 1:
        noise = noise.between_searches()
    promised = re.search(r"a difference of ([\d.]+) to ([\d.]+) AP", str(drafted))
    assert promised is not None
    for sd, shown in zip((noise.low, noise.high), promised.groups(), strict=True):
        headline = plan_power(given.study, given.facts, sd)[0]
        assert float(shown) == pytest.approx(headline.smallest, abs=0.06)


@pytest.mark.parametrize(
    ("kind", "recipe", "metric"),
    [
        ("masks", "tiny_mask_rcnn", "mask_ap"),
        ("keypoints", "tiny_keypoint_rcnn", "keypoint_ap"),
    ],
)
def test_masks_and_keypoints_choose_the_family(
    kind: str, recipe: str, metric: str, tmp_path: Path
) -> None:
    drafted = draft(draw_coco(tmp_path / "photos", kind=kind))
    tree = yaml.safe_load(drafted.path.read_text())
    assert (tree["recipe"], tree["objective"]) == (recipe, {"metric": metric})


def test_a_study_for_gpus_is_written_on_a_laptop_from_paces(tmp_path: Path) -> None:
    drafted = draft(draw_coco(tmp_path / "photos"), hours=20.0, gpus=4, nodes=2)
    tree = yaml.safe_load(drafted.path.read_text())
    assert tree["recipe"] == "faster_rcnn_r50_v1"
    assert tree["resources"] == {"gpus_per_worker": 1, "loader_workers": 4}
    assert "2 nodes of 4 GPUs, 8 trials at a time" in str(drafted)
    assert "FasterRCNN_ResNet50_FPN_Weights.COCO_V1 would add arms" in str(drafted)


def test_weights_in_the_cache_of_torchvision_become_arms(tmp_path: Path) -> None:
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    _save_resnet(folder / weights.url.rpartition("/")[2])
    drafted = draft(draw_coco(tmp_path / "photos"), hours=3.0)
    tree = yaml.safe_load(drafted.path.read_text())
    assert list(tree["arms"]) == ["scratch", "finetuned", "frozen"]
    assert tree["settings"]["detector.backbone"] == "resnet18"
    assert tree["arms"]["frozen"]["set"]["init.frozen"] == "backbone"
    assert "backbone_rate" in str(tree["arms"]["finetuned"]["search"])


def test_a_file_of_weights_is_known_by_its_name_and_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "resnet18_mine.pth"
    _save_resnet(path)
    drafted = draft(draw_coco(tmp_path / "photos"), weights=(path,), arms=("scratch", "frozen"))
    tree = yaml.safe_load(drafted.path.read_text())
    assert list(tree["arms"]) == ["scratch", "frozen"]
    assert tree["arms"]["frozen"]["set"]["init"] == {
        "source": "file",
        "weights": str(path),
        "weights_norm": "bn",
        "input": "imagenet",
    }


def _save_resnet(path: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)


def test_too_few_hours_are_refused_with_the_hours_of_the_smallest_study(tmp_path: Path) -> None:
    photos = draw_coco(tmp_path / "photos")
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
        ({"arms": ("scratch", "glyph")}, "an arm that is misspelt"),
        ({"arms": ("scratch", "finetuned")}, "an arm without weights"),
        ({"arms": ("scratch",)}, "one arm"),
        ({"weights": (Path("none.pth"),)}, "weights that are not there"),
        ({"pace": Path("none.json")}, "paces that are not there"),
        ({"gpus": 8, "pace": None}, "GPUs without paces"),
    ],
)
def test_every_refusal_says_what_to_do(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    photos = draw_coco(tmp_path / "photos", num=60)
    with pytest.raises(RethinkError) as refused:
        draft(photos, **changes)  # type: ignore[arg-type]
    assert refused.value.remedy
    assert_says("drafting", says, masked(str(refused.value), tmp_path))
    assert not Path("photos.yaml").exists()


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    photos = draw_coco(tmp_path / "photos", num=60)
    Path("photos.yaml").write_text("mine")
    with pytest.raises(SpecError, match=r"--out photos_2\.yaml"):
        draft(photos)
    assert Path("photos.yaml").read_text() == "mine"
    assert draft(photos, out=Path("photos_2.yaml")).path.exists()
    assert yaml.safe_load(Path("photos_2.yaml").read_text())["study"] == "photos_2"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no pictures")
    with pytest.raises(DataError, match="must hold labelled pictures"):
        draft(tmp_path / "notes")


def test_the_command_and_python_write_the_same_file(tmp_path: Path) -> None:
    photos, pace = draw_coco(tmp_path / "photos", num=60), write_pace(tmp_path)
    words = ["new", str(photos), "--hours", "1", "--pace", str(pace), "--gpus", "0"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    from_python = rethink_ray.new(photos, 1.0, out="again.yaml", pace=pace, gpus=0)
    trees = [yaml.safe_load(Path(name).read_text()) for name in ("photos.yaml", "again.yaml")]
    assert {**trees[0], "study": "again"} == trees[1]
    said_words = said.output.replace("photos.yaml", "again.yaml").split()
    assert said_words[:20] == " ".join(from_python.lines).split()[:20]
