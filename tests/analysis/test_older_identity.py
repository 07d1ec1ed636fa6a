"""A study of the first identity: everything reads it, nothing goes on with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.cli import app
from rethink_ray.cluster.run import run_study
from rethink_ray.commands.reruns import verdict_lines
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import AssetDone, RoundProposed, RungDone
from rethink_ray.session import continue_study, start_study
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.hashing import FIRST_IDENTITY, IDENTITY
from rethink_ray.spec.load import load_config
from tests.analysis.planted import Planted, build_study, written

ROWS = {("scratch", length): [9.0, 10.0, 11.0 + length] for length in (2.0, 4.0, 6.0)} | {
    ("pretrained", length): [19.0, 20.0, 21.0] for length in (2.0, 4.0, 6.0)
}
SELF_TRAINING = {
    "teacher": {"set": {"init.source": "direct"}},
    "student": {"set": {"labels.kind": "self_training"}, "teacher": "teacher"},
}
READING = ("status", "findings", "compare", "report", "export")


def planted(identity: int, **changes: Any) -> Planted:
    return Planted(build_study(**changes), written(ROWS), identity=identity)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(FIRST_IDENTITY).directory(tmp_path_factory.mktemp("older") / "s")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_directory_without_a_number_is_of_the_first_identity(older: Path, tmp_path: Path) -> None:
    assert StudyDirectory.open(older).identity == FIRST_IDENTITY
    ours = StudyDirectory.open(planted(IDENTITY).directory(tmp_path / "s"))
    assert ours.identity == IDENTITY
    ours.require_own_identity()


@pytest.mark.parametrize("command", READING)
def test_whatever_reads_a_study_reads_an_older_one(command: str, older: Path) -> None:
    more = ("published:he_2018",) if command == "compare" else ()
    told = invoke(command, str(older), *more)
    assert told.exit_code == 0, told.output


def test_a_single_trial_is_found_by_its_recorded_id(older: Path, tmp_path: Path) -> None:
    replicate = read_tables(StudyDirectory.open(older)).trials.to_pylist()[-1]["trial_id"]
    told = invoke("export", str(older), "--trial", replicate, "--out", str(tmp_path))
    assert told.exit_code == 0, told.output
    assert f"{replicate}-6x.yaml" in told.output


def test_an_older_study_is_exported_with_the_network_that_it_had(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "recipe": "faster_rcnn_r50",
        "arms": {
            "scratch": {"set": {"detector.anchor_base_px": 16}},
            "pretrained": {"set": {"init.source": "upstream"}},
        },
    }
    told = {}
    for identity in (FIRST_IDENTITY, IDENTITY):
        root = planted(identity, **changes).directory(tmp_path / f"s{identity}")
        invoke("export", str(root), "--out", str(tmp_path / f"{identity}"))
        config = load_config(tmp_path / f"{identity}" / "full-scratch-2x.yaml")
        detector = config.recipe.detector.as_published()
        told[identity] = (
            *(detector.canonical_scale_px, detector.box_loss_beta),
            *(detector.rpn_pre_nms_train, detector.rpn_pre_nms_test),
        )
    assert told == {FIRST_IDENTITY: (7 * 16, 1 / 9, 2000, 2000), IDENTITY: (224, 1.0, 2000, 1000)}


def test_the_first_stages_of_an_older_study_are_found_whatever_their_canvas(tmp_path: Path) -> None:
    canvases = {"default": {}, "square": {"direct.augment.canvas": "square"}}
    arms = {arm: {"set": {"init.source": "direct"} | more} for arm, more in canvases.items()}
    rows = {(arm, length): [9.0, 10.0, 11.0] for arm in arms for length in (2.0, 4.0, 6.0)}
    source = Planted(build_study(arms=arms), written(rows), identity=FIRST_IDENTITY)
    tables = read_tables(StudyDirectory.open(source.directory(tmp_path / "s")))
    built = {row["key"] for row in tables.assets.to_pylist()}
    used = {key for row in tables.trials.to_pylist() for key in row["assets"]}
    assert built == used != set()


def without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = [[key.partition("-")[0] for key in row.get("assets", [])] for row in rows]
    plain = [{k: v for k, v in row.items() if k not in ("trial_id", "of", "key")} for row in rows]
    return [row | {"assets": kind} for row, kind in zip(plain, kinds, strict=True)]


@pytest.mark.parametrize("arms", [{}, {"arms": SELF_TRAINING}], ids=["upstream", "self_training"])
def test_an_older_study_is_the_same_tables_under_other_names(
    arms: dict[str, Any], tmp_path: Path
) -> None:
    rows = {(arm, n): [9.0, 10.0, 11.0] for arm in SELF_TRAINING for n in (2.0, 4.0, 6.0)}
    tables = {}
    for identity in (FIRST_IDENTITY, IDENTITY):
        source = Planted(build_study(**arms), written(ROWS | rows), identity=identity)
        root = source.directory(tmp_path / str(identity))
        tables[identity] = read_tables(StudyDirectory.open(root))
        built = {row["key"] for row in tables[identity].assets.to_pylist()}
        used = {key for row in tables[identity].trials.to_pylist() for key in row["assets"]}
        assert built == used != set()  # no asset goes unbooked
    first, ours = tables[FIRST_IDENTITY], tables[IDENTITY]
    trials = [{row["trial_id"] for row in t.trials.to_pylist()} for t in (first, ours)]
    assert not trials[0] & trials[1]
    for name in ("trials", "rungs"):
        old, new = (without_ids(getattr(t, name).to_pylist()) for t in (first, ours))
        assert old == new


def test_what_a_trial_started_from_is_read_and_not_hashed_again(tmp_path: Path) -> None:
    source = planted(IDENTITY)
    root = start_study(tmp_path / "s", source.study, "", source.facts, {}).root
    key = "classifier-of another version"
    for event in source.events():
        if isinstance(event, RoundProposed):
            assets = (key,) if event.arm == "pretrained" else ()
            event = replace(event, members=tuple(replace(m, assets=assets) for m in event.members))
        elif isinstance(event, AssetDone):
            event = replace(event, key=key)
        StudyDirectory.open(root).log.append(event)
    tables = read_tables(StudyDirectory.open(root))
    used = {(row["arm"], tuple(row["assets"])) for row in tables.trials.to_pylist()}
    assert used == {("scratch", ()), ("pretrained", (key,))}


def test_nothing_goes_on_with_an_older_study(older: Path, tmp_path: Path) -> None:
    directory = StudyDirectory.open(older)
    before = (older / "resolved.json").read_bytes()
    told = (
        rf"{older}: must hold records of identity {IDENTITY} to go on.*but got 1\. "
        "Start the study anew with another --out"
    )
    with pytest.raises(RecordError, match=told):
        continue_study(directory, directory.study, directory.facts)
    with pytest.raises(RecordError, match=told):
        run_study(directory)
    for words in (("resume", str(older)), ("resume", str(older), "--replicates", "9")):
        refused = invoke(*words)
        assert isinstance(refused.exception, RecordError), refused.output
        assert f"must hold records of identity {IDENTITY}" in str(refused.exception)
    assert (older / "resolved.json").read_bytes() == before


def test_run_refuses_an_older_study_before_it_starts_anything(tmp_path: Path) -> None:
    shapes = {"train": 12, "val": 4, "test": 4, "image_px": 64}
    data = {"dataset": "shapes", "shapes": shapes}
    source = planted(FIRST_IDENTITY, data=data)
    root = source.directory(tmp_path / "s")
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(source.study.model_dump(mode="json", exclude_unset=True)))
    refused = invoke("run", str(file), "--out", str(root))
    assert isinstance(refused.exception, RecordError), refused.output
    assert "with the program version that made it" in str(refused.exception)


def test_status_offers_no_resume_that_would_be_refused(tmp_path: Path) -> None:
    shorter = planted(FIRST_IDENTITY)
    shorter.replicates = 1
    told = invoke("status", str(shorter.directory(tmp_path / "s"))).output
    assert "recorded under identity 1" in told
    assert "rethink-ray resume" not in told


@pytest.mark.parametrize("identity", [FIRST_IDENTITY, IDENTITY])
def test_train_holds_no_run_against_a_number_of_another_identity(
    identity: int, tmp_path: Path
) -> None:
    root = planted(identity).directory(tmp_path / "s")
    invoke("export", str(root), "--out", str(tmp_path))
    path = tmp_path / "full-pretrained-2x.yaml"
    config = load_config(path)
    assert config.identity == identity
    rung = RungDone(
        trial_id="t",
        length=2.0,
        steps=1,
        metrics={"val/ap": 21.0},
        seconds_train=1.0,
        seconds_score=1.0,
        steps_new=1,
    )
    [_, told] = verdict_lines(config, [rung], exact=True)
    if identity == IDENTITY:
        assert told == "the study had val/ap 20.0000: off by +1.0000"
    else:
        assert told.startswith("the study had val/ap 20.0000: +1.00 (it was recorded under ident")


def test_a_file_of_before_identities_were_written_is_of_the_first(tmp_path: Path) -> None:
    root = planted(FIRST_IDENTITY).directory(tmp_path / "s")
    invoke("export", str(root), "--out", str(tmp_path))
    path = tmp_path / "full-pretrained-2x.yaml"
    tree = yaml.safe_load(path.read_text())
    del tree["source"]["identity"]
    path.write_text(json.dumps(tree))
    assert load_config(path).identity == FIRST_IDENTITY
    del tree["source"]  # written by hand: this program's own
    path.write_text(json.dumps(tree))
    assert load_config(path).identity == IDENTITY
