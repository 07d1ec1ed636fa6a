"""The command line as a user meets it: help at once, errors as sentences, files that run."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from rethink_ray.cli import app
from rethink_ray.cluster.doctor.study_checks import examine_study
from rethink_ray.commands.datasets import data_block
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.paces import MeasuredPaces, Pace, write_paces
from rethink_ray.session import load_study_input, start_or_continue, start_study
from rethink_ray.spec.errors import DataError, RethinkError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import load_study
from rethink_ray.spec.shipped import shipped_studies
from tests.golden_words import assert_says
from tests.object_store import object_store
from tests.refusals import timeless

HEAVY = ("torch", "ray", "optuna", "pyarrow", "matplotlib", "pydantic", "scipy", "rich")


@pytest.fixture(autouse=True)
def _empty_working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`plan` takes paces from ``studies/NAME`` below the working folder, if that study has run."""
    with contextlib.chdir(tmp_path_factory.mktemp("working")):
        yield


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def imported_by(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in told.stdout.split()}


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    told = invoke("--help").output
    for command in ("run", "resume", "status", "plan", "doctor", "findings", "report", "export"):
        assert command in told
    assert "Tunes every contender" in told
    assert not imported_by("import rethink_ray.cli") & set(HEAVY)


def test_a_run_names_the_studies_that_ship_and_the_program_its_version() -> None:
    told = " ".join(invoke("run", "--help").output.split())
    assert "quickstart, shapes_demo" in told
    assert re.fullmatch(r"rethink-ray \d[\w.]*\n", invoke("--version").output)


def write_steady_pace(folder: Path) -> Path:
    """A file of paces: half a second an update in any arm."""
    pace = Pace(seconds_per_update=0.5, seconds_per_scored_image=0, seconds_to_start=0, spread=0)
    write_paces(folder / "p.json", MeasuredPaces(machine="node7", slots=2, arms={"": pace}))
    return folder / "p.json"


def test_plan_shows_what_shared_trunks_save(tmp_path: Path) -> None:
    told = invoke("plan", "quickstart", "--slots", "2", "--pace", str(write_steady_pace(tmp_path)))
    assert told.exit_code == 0, told.output
    assert "full/scratch" in told.output
    assert "full: 2x = 72 updates = " in told.output
    assert "hours: about " in told.output
    # trunk to 6x less its decay, and three branches: about (5.6 + 3 x 0.4) x 36 instead of 12 x 36
    ladder = "one ladder of 2x, 4x, 6x: 244 updates instead of 432 (full, small)"
    assert ladder in told.output
    plan, _, free = told.output.partition("free: ")
    assert re.fullmatch(r"[0-9.]+ GB, enough\n", free)
    assert_says("commands", "plan of the quickstart", plan)


def test_plan_of_one_length_does_not_speak_of_sharing() -> None:
    told = invoke("plan", "quickstart", "--set", "schedule.lengths=[2]", "--set", "budget.keep=[3]")
    # six cells, each 3 trials and 3 replicates of 2 x 36 updates
    assert "updates: 2,592\n" in told.output
    assert_says("commands", "plan of one length", told.output.partition("free: ")[0])


def test_plan_says_that_search_and_findings_look_at_the_same_split() -> None:
    apart = invoke("plan", "quickstart").stdout
    same = invoke("plan", "quickstart", "--set", "data.report_on=val").stdout
    assert "same split (val)" in same
    assert "same split" not in apart


def test_plan_refuses_what_cannot_be_run(tmp_path: Path) -> None:
    refused = invoke("plan", "quickstart", "--set", "budget.trails=3")
    assert isinstance(refused.exception, RethinkError)
    assert "budget.trails" in str(refused.exception)
    assert "trials" in str(refused.exception)
    refused = invoke("plan", str(tmp_path / "missing.yaml"))
    assert isinstance(refused.exception, RethinkError)


def test_a_foreseen_error_is_one_sentence_and_exit_code_2() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "rethink_ray.cli", "run", "quickstrt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert told.stderr.startswith("error: study:")
    assert "Traceback" not in told.stderr


def test_a_typo_is_told_before_anything_heavy_is_imported() -> None:
    code = (
        "from rethink_ray.session import load_study_input\n"
        "try:\n    load_study_input('quickstart', ['budget.trails=3'])\n"
        "except Exception as error:\n    assert 'budget.trails' in str(error)"
    )
    assert not imported_by(code) & {"torch", "ray", "optuna", "scipy", "pyarrow"}


def test_a_regime_larger_than_the_data_set_is_refused_before_anything_starts() -> None:
    refused = invoke(
        "plan", "quickstart", "--set", "regimes.small.images=5000", "--set", "data.shapes.train=40"
    )
    assert isinstance(refused.exception, RethinkError)
    said = str(refused.exception)
    assert re.search(r"quickstart.yaml: regimes.small.images: .*40.*5000", said)


def test_a_test_picture_in_train_is_refused_before_anything_starts(tmp_path: Path) -> None:
    size = ["--train", "6", "--val", "2", "--test", "2", "--image-px", "48"]
    invoke("data", "make-shapes", str(tmp_path / "s"), *size)
    tree = {
        **yaml.safe_load(data_block(tmp_path / "s")),
        "study": "leaky",
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"a": {}},
        "budget": {"trials": 1, "replicates": 1},
    }
    path, out = tmp_path / "leaky.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(tree))
    shutil.copy(tmp_path / "s/test/000001.png", tmp_path / "s/train/000004.png")
    for words in (("run", str(path), "--out", str(out)), ("plan", str(path))):
        refused = invoke(*words)
        assert isinstance(refused.exception, DataError)
        said = timeless(str(refused.exception), tmp_path)
        assert "1 of train in test: DIR/s/train/000004.png = DIR/s/test/000001.png" in said
        assert_says("commands", "a picture in two splits", said)
    assert not out.exists()
    checks = examine_study(load_study(path)[0], address=None, folder=tmp_path)
    assert [check.name for check in checks if not check.ok] == ["data set"]
    told = invoke("data", "check", str(path), "--strict")
    assert told.exit_code == 1
    shared = r"fault picture_in_two_splits +1 +train/000004.png = test/000001.png of test"
    assert re.search(shared, told.output)
    told = invoke("plan", str(path), "--set", "data.duplicates=drop")
    assert told.exit_code == 0, told.output
    assert "images: train 5, val 2, test 2 (regimes: full 5)" in told.output
    assert "images: 1 of train left out" in told.output


def test_the_schema_names_every_key_of_a_study() -> None:
    schema = json.loads(invoke("schema").output)
    assert {"study", "data", "regimes", "arms", "search", "budget"} <= set(schema["properties"])


def test_what_a_study_at_a_uri_means_is_read_there_and_no_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path))
    study, text = load_study(shipped_studies()["quickstart"])
    digests = dict.fromkeys(study.regimes, "a")
    facts = DataFacts(
        fingerprint="f",
        categories=("disk", "box"),
        regime_sizes=dict.fromkeys(study.regimes, 60),
        regime_digests=digests,
        split_sizes={"train": 400, "val": 80, "test": 200},
        upstream_fingerprint="u",
    )
    with object_store() as pattern:
        uri = pattern.format("quick")
        start_study(uri, study, text, facts, {})
        for words in (("findings", uri), ("compare", uri, "published:he_2018")):
            told = invoke(*words)
            assert told.exit_code == 0, told.output
            assert "word" not in told.output.replace("words", "")


@pytest.mark.parametrize("command", ["findings", "report", "export", "status", "resume"])
def test_a_folder_without_a_study_is_named(command: str, tmp_path: Path) -> None:
    refused = invoke(command, str(tmp_path))
    assert isinstance(refused.exception, RethinkError), refused.output
    assert_says("commands", "a folder without a study", timeless(str(refused.exception), tmp_path))
    refused = invoke(command, str(tmp_path / "missing"))
    assert_says("commands", "a missing folder", timeless(str(refused.exception), tmp_path))


def test_a_path_that_cannot_be_written_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "shapes")
    told = subprocess.run(
        [sys.executable, "-m", "rethink_ray.cli", "data", "make-shapes", out, "--train", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert "Not a directory" in told.stderr
    assert "Traceback" not in told.stderr


def test_numbers_that_mean_nothing_are_refused_by_name(tmp_path: Path) -> None:
    for words in (
        ("data", "make-shapes", str(tmp_path), "--train", "0"),
        ("train", "x.yaml", "--out", str(tmp_path), "--workers", "-1"),
    ):
        told = invoke(*words)
        assert told.exit_code == 2
        assert words[-2] in told.output


def test_shapes_can_be_drawn_and_checked(tmp_path: Path) -> None:
    size = ["--train", "4", "--val", "2", "--test", "2", "--image-px", "48"]
    assert invoke("data", "make-shapes", str(tmp_path / "s"), *size).exit_code == 0
    assert (tmp_path / "s" / "annotations" / "instances_train.json").is_file()
    study = (Path(__file__).parent.parent / "search_spaces/quickstart.yaml").read_text()
    own = yaml.safe_load(study) | yaml.safe_load(data_block(tmp_path / "s"))
    own["regimes"] = {"full": {"images": "all"}}  # four images make no regime of 60
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    told = invoke("data", "check", str(tmp_path / "own.yaml"), "--strict")
    assert told.exit_code == 0, told.output
    parts = [line.partition(":")[0] for line in told.output.splitlines() if line[:1] != " "]
    assert parts == ["train", "val", "test", "classes, with their objects"]
    refused = invoke("data", "check", "coco", "--set", f"data.root={tmp_path / 's'}")
    assert "data.dataset: {train: {images" in str(refused.exception)
    refused = invoke("data", "check", "coco", "--set", "root=/data/coco")
    assert "--set data.root=/data/coco" in str(refused.exception)
    (tmp_path / "empty").mkdir()
    assert invoke("data", "make-shapes", str(tmp_path / "empty"), *size).exit_code == 0
    assert (tmp_path / "empty" / "train").is_dir()
    refused = invoke("data", "make-shapes", str(tmp_path / "empty"), *size)
    said = timeless(str(refused.exception), tmp_path)
    assert_says("commands", "shapes into a folder with files", said)
    small = ["--set=data.shapes={train: 4, val: 2, test: 2, image_px: 48}"]
    told = invoke("data", "check", "shapes", *small, "--strict")
    assert told.exit_code == 0, told.output
    told = invoke("data", "check", "shapes", *small, "--json")
    assert set(json.loads(told.output)["findings"]) == {"train", "val", "test"}
    assert "4 images" in invoke("data", "index", "shapes", *small).output


def test_an_edited_range_is_refused_by_resume_and_a_new_arm_by_run(tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "study": "small",
        "data": {
            "dataset": "shapes",
            "shapes": {"train": 4, "val": 2, "test": 2, "image_px": 48},
        },
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}},
        "search": {"optimizer.lr": {"log_uniform": [0.002, 0.1]}},
        "schedule": {"unit": 20, "lengths": [2, 4], "warmup": 2, "decay": {"before_end": [0.5]}},
    }
    file, root = tmp_path / "small.yaml", str(tmp_path / "s")
    file.write_text(yaml.safe_dump(tree))
    start_or_continue(root, load_study_input(str(file)))
    arms = {**tree["arms"], "bn": {"set": {"detector.norm": "bn"}}}
    file.write_text(yaml.safe_dump({**tree, "arms": arms}))
    refused = invoke("run", str(file), "--out", root)
    assert f"To add them: rethink-ray resume {root} --study {file}" in str(refused.exception)
    wide = {"optimizer.lr": {"log_uniform": [0.002, 0.2]}}
    file.write_text(yaml.safe_dump({**tree, "search": wide}))
    refused = invoke("resume", root, "--study", str(file))
    assert "[0.002, 0.2] (started with [0.002, 0.1])" in str(refused.exception)
    assert "add an arm" in str(refused.exception)
    assert [*StudyDirectory.open(root).study.arms] == ["scratch"]
