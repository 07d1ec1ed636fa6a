"""``train``, ``evaluate`` and ``predict`` as a user types them, with right and wrong files."""

import json
import math
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from rethink_ray.cli import app
from rethink_ray.commands.single import reference_lines
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.metrics import BOX_METRICS, score_text
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.refusals import timeless


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    told = invoke(*words)
    assert isinstance(told.exception, RethinkError), told.output
    return str(told.exception)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "micro.yaml"
    trial = micro_trial(micro_recipe(schedule__lengths=[2.0]))
    path.write_text(yaml.safe_dump(json.loads(trial.model_dump_json())))
    return path


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    told = invoke("train", str(config), "--out", str(out))
    assert told.exit_code == 0, told.output
    return out


def test_train_says_whether_it_reproduced_what_its_file_expects(config: Path, run: Path) -> None:
    metrics = json.loads((run / "rungs.json").read_text())["rungs"][0]["metrics"]
    tree = yaml.safe_load(config.read_text())
    for expected, verdict in ((metrics["val/ap"], "last bit"), (1e3, "off by -")):
        tree["expected"] = {"val/ap": expected}
        again = config.with_name("again.yaml")
        again.write_text(yaml.safe_dump(tree))
        assert verdict in invoke("train", str(again), "--out", str(run)).output


def test_evaluate_holds_its_metrics_against_pycocotools(run: Path) -> None:
    told = invoke("evaluate", str(run), "--split", "test", "--reference")
    assert told.exit_code == 0, told.output
    split, header, *rows, last = told.output.splitlines()
    assert split == "scored on test"
    assert header.split() == ["here", "pycocotools"]
    assert [row.split()[0] for row in rows] == [f"test/{name}" for name in BOX_METRICS]
    assert all(row.split()[1] == row.split()[2] for row in rows)
    assert last == "largest difference: 0.0e+00 points"


def test_a_metric_without_objects_is_a_dash_with_the_reason(run: Path) -> None:
    told = invoke("evaluate", str(run), "--split", "test")
    assert told.exit_code == 0, told.output
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in told.output.splitlines()[1:]}
    assert rows["test/ap_l"] == "- (no large objects)"
    assert "nan" not in told.output
    lines = [*reference_lines({"test/ap_rare": math.nan}, {"test/ap_rare": math.nan})]
    assert lines[1].split(maxsplit=3) == [
        "test/ap_rare",
        "-",
        "-",
        "(no objects of rare categories)",
    ]
    assert score_text("val/mask_ap_s", math.nan) == "- (no small objects)"
    assert score_text("val/ap", math.nan) == "- (no objects)"


def test_a_metric_that_pycocotools_lacks_has_no_number_beside_it() -> None:
    lines = [*reference_lines({"test/ap": 3.0, "test/ap_rare": 1.0}, {"test/ap": 2.5})]
    assert lines[1].split() == ["test/ap", "3.000", "2.500"]
    assert lines[2].split() == ["test/ap_rare", "1.000", "-"]
    assert lines[3] == "largest difference: 5.0e-01 points"


def test_a_folder_of_another_run_is_not_continued(config: Path, run: Path) -> None:
    tree = yaml.safe_load(config.read_text()) | {"seed": 99}
    other = config.with_name("other.yaml")
    other.write_text(yaml.safe_dump(tree))
    assert "must belong to trial" in refused("train", str(other), "--out", str(run))


def test_a_study_is_no_configuration_and_the_way_to_one_is_told(tmp_path: Path) -> None:
    said = refused("train", "search_spaces/quickstart.yaml", "--out", str(tmp_path / "r"))
    assert "rethink-ray export" in said


def test_evaluate_refuses_a_missing_run_an_unknown_split_and_a_checkpoint(run: Path) -> None:
    assert "must hold a trained model" in refused("evaluate", str(run.parent / "none"))
    assert "nope" in refused("evaluate", str(run), "--split", "nope")
    trunk = next(run.glob("trunk-*.pt"))
    assert "must be a finished model" in refused("evaluate", str(trunk))


def test_pictures_of_one_name_are_numbered_and_nothing_is_written_over(
    run: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("L", (20, 30)).save(tmp_path / folder / "x.png")
    both = [str(tmp_path / folder / "x.png") for folder in ("a", "b")]
    words = ("predict", str(run), *both, "--out", str(tmp_path / "out"), "--score")
    for score in ("1", "0"):
        told = invoke(*words, score)
        assert told.exit_code == 0, told.output
        lines = told.output.splitlines()
        assert [int(line.split()[1]) > 0 for line in lines[:2]] == [score == "0"] * 2
    assert_says(
        "commands", "predict that draws no box", timeless(invoke(*words, "1").output, tmp_path)
    )
    names = ["detections.json", "x-2.png", "x.png"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    with Image.open(tmp_path / "out" / "x.png") as picture:
        assert picture.size == (14 * 20, 14 * 30), "enlarged until names can be read"
    said = refused("predict", str(run), *both, "--out", str(tmp_path / "b"))
    assert_says("commands", "predict would write over an image", timeless(said, tmp_path))


def test_evaluate_takes_the_split_that_the_study_reports_on_and_says_so(
    config: Path, run: Path
) -> None:
    told = invoke("evaluate", str(run))
    first, second, *_ = told.output.splitlines()
    assert first == "scored on test, on which its study reports"
    assert second.startswith("test/ap ")
    learned = invoke("evaluate", str(run), "--split", "train").output.splitlines()[0]
    assert learned == "scored on train, from which it learned: this is no score of new pictures"


def test_predict_takes_a_folder_with_its_sub_folders_and_skips_broken_pictures(
    run: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    (photos / ".cache").mkdir()
    for name in ("a.png", "deep/a.jpg", ".cache/hidden.png"):
        Image.new("RGB", (40, 30), (90, 20, 200)).save(photos / name)
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (photos / "notes.txt").write_text("hello")
    out = photos / "drawn"
    words = ("predict", str(run), str(photos), "--out", str(out), "--score", "0")
    for _ in range(2):  # the second time, drawings lie inside the folder, and are passed over
        told = invoke(*words)
        assert told.exit_code == 0, told.output
        assert f"skipped: {photos / 'broken.png'} (unreadable image)" in told.output
        drawn = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
        assert drawn == ["a.png", "deep/a.png"]
    rows = json.loads((out / "detections.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2}
    assert {row["file"] for row in rows} == {str(photos / "a.png"), str(photos / "deep/a.jpg")}
    for row in rows:
        x, y, width, height = row["bbox"]
        assert 0 <= x <= x + width <= 40.001
        assert 0 <= y <= y + height <= 30.001
        assert 1 <= row["category_id"] <= 6
        assert row["drawn"]
    (tmp_path / "empty").mkdir()
    said = refused("predict", str(run), str(tmp_path / "empty"), "--out", str(tmp_path / "o"))
    assert_says("commands", "predict on a folder without pictures", timeless(said, tmp_path))


@pytest.mark.parametrize("name", ["text.jpg", "folder", "missing.png"])
def test_what_is_no_picture_is_named(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder").mkdir()
    given = str(tmp_path / name)
    assert given in refused("predict", str(run), given, "--out", str(tmp_path / "out"))
