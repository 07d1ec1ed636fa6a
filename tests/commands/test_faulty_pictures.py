"""Files of pictures at fault: what ``plan``, ``run``, ``doctor`` and ``data check`` say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from rethink_ray.cli import app
from rethink_ray.cluster.doctor.study_checks import examine_study
from rethink_ray.commands.datasets import data_block
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.load import load_study
from tests.golden_words import assert_says
from tests.refusals import timeless


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Drawn scenes and a study on them; its index was built, as the guide says."""
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))
    size = ["--train", "4", "--val", "3", "--test", "3", "--image-px", "48"]
    invoke("data", "make-shapes", str(tmp_path / "s"), *size)
    write_study(tmp_path)
    assert invoke("data", "index", str(tmp_path / "own.yaml")).exit_code == 0
    return tmp_path


def write_study(folder: Path, **data: object) -> None:
    tree = yaml.safe_load(data_block(folder / "s"))
    tree["data"] |= data
    tree |= {
        "study": "own",
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"a": {}},
        "budget": {"trials": 1, "replicates": 1},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(tree))


def resize(folder: Path) -> None:
    for path in (folder / "s" / "val").glob("*.png"):
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((24, 24))
        small.save(path)


def damage_upstream(folder: Path) -> None:
    for name in ("cat", "dog"):
        shutil.copytree(folder / "s" / "test", folder / "classes" / name)
    path = folder / "classes" / "dog" / "000002.png"
    path.write_bytes(path.read_bytes()[:-40])
    write_study(folder, upstream=str(folder / "classes"))


def damage_all_of_val(folder: Path) -> None:
    for path in (folder / "s" / "val").glob("*.png"):
        path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("spoil", [resize, damage_upstream, damage_all_of_val])
def test_what_run_refuses_plan_and_doctor_and_the_strict_check_refuse(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    study, out = str(folder / "own.yaml"), folder / "out"
    plan, run = invoke("plan", study), invoke("run", study, "--out", str(out))
    assert isinstance(plan.exception, DataError)
    assert str(run.exception) == str(plan.exception)
    assert not out.exists()
    checks = examine_study(load_study(Path(study))[0], address=None, folder=folder)
    assert "data set" in [check.name for check in checks if not check.ok]
    check = invoke("data", "check", study, "--strict")
    assert check.exit_code == 1 or isinstance(check.exception, DataError)
    said = timeless(str(plan.exception), folder)
    assert_says("commands", f"{spoil.__name__}: refused", said)


def test_the_check_counts_shows_and_says_what_is_refused(folder: Path) -> None:
    resize(folder)
    told = invoke("data", "check", str(folder / "own.yaml"), "--strict")
    assert told.exit_code == 1
    assert "size_disagrees                 3   val/000001.png: 48x48, is 24x24, " in told.output
    assert "run, plan and doctor refuse this data set: split val: must show most" in told.output
    rows = json.loads(invoke("data", "check", str(folder / "own.yaml"), "--json").stdout)[
        "findings"
    ]
    assert [len(row["examples"]) for row in rows["val"] if row["kind"] == "size_disagrees"] == [3]


def test_a_split_of_damaged_pictures_alone_still_has_its_table(folder: Path) -> None:
    for path in (folder / "s" / "train").glob("*.png"):
        path.write_bytes(b"no picture")
    told = invoke("data", "check", str(folder / "own.yaml"), "--strict")
    assert told.exit_code == 1
    assert "fault unreadable_image               4   train/000001.png, " in told.output
    splits = {line[:5]: line for line in told.output.splitlines() if line[:1] != " "}
    assert splits["train"] == "train:"  # nothing that an older index held
    assert splits["test:"].endswith("; no faults, no notes")
    assert "must have at least one image that can be read" in told.output


def test_a_damaged_picture_is_told_by_doctor_before_anything_is_trained(folder: Path) -> None:
    path = folder / "s" / "val" / "000002.png"
    path.write_bytes(path.read_bytes()[:-40])
    study = load_study(folder / "own.yaml")[0]
    checks = {c.name: c for c in examine_study(study, address=None, folder=folder)}
    assert not checks["data faults"].ok
    assert checks["data faults"].detail.startswith("1 unreadable_image")
    told = invoke("plan", str(folder / "own.yaml"))
    assert told.exit_code == 0
    assert "images: train 4, val 2, test 3" in told.output


def test_a_share_that_leaves_no_image_is_refused_by_plan(folder: Path) -> None:
    for share, said in {"0%": "must be more than no image", "10%": "at least one of the 4"}.items():
        refused = invoke("plan", str(folder / "own.yaml"), "--set", f"regimes.full.images={share}")
        assert said in str(refused.exception), share
        assert "regimes.full.images" in str(refused.exception)
