"""Exported files: one for each incumbent that has come so far, complete and honest."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.model_card import model_card
from rethink_ray.cli import app
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import Event, RoundProposed, RungDone
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RecordError, SpecError
from rethink_ray.spec.load import load_config
from rethink_ray.training.checkpoint import save_checkpoint
from tests.analysis.planted import Planted, build_study, noisy, written
from tests.golden_words import assert_says

ROWS = {("scratch", length): [9.0, 10.0, 11.0 + length] for length in (2.0, 4.0, 6.0)} | {
    ("pretrained", length): [19.0, 20.0, 21.0] for length in (2.0, 4.0, 6.0)
}


def _directory(planted: Planted, root: Path, events: list[Event]) -> StudyDirectory:
    made = start_study(root, planted.study, "study: planted\n", planted.facts, {})
    for event in events:
        made.log.append(event)
    return made


def test_every_cell_and_length_has_a_file_that_runs_and_carries_its_number(tmp_path: Path) -> None:
    planted = Planted(build_study(), written(ROWS))
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    written_files = export_best(directory, tmp_path / "best")
    paths = [*written_files.files]
    assert set(written_files.files.values()) == {3}  # replicates behind each
    assert written_files.missing == ()
    assert [p.name for p in paths][:3] == [f"full-scratch-{n}x.yaml" for n in (2, 4, 6)]
    config = load_config(paths[2])
    assert config.recipe.schedule.lengths == (6.0,)
    assert config.expected == {"val/ap": pytest.approx((9.0 + 10.0 + 17.0) / 3)}
    assert "over 3 new seeds" in paths[2].read_text()


def test_each_regime_has_its_best_file_and_headers_carry_data_and_versions(tmp_path: Path) -> None:
    planted = Planted(build_study(), written(ROWS))
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    out = export_best(directory, tmp_path / "best")
    best = tmp_path / "best" / "full-best.yaml"
    assert out.made_of[best].cell.arm == "pretrained"
    assert out.made_of[best].length == 2.0  # all its lengths score 20: the shortest
    text = best.read_text()
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    assert "val/ap 20.00" in header
    assert_says("analysis", "header of a regime's best file", header)
    assert f"# data:        {planted.facts.fingerprint}\n" in text
    assert "# versions:    not recorded\n" in text
    assert load_config(best).expected == {"val/ap": pytest.approx(20.0)}


def test_a_model_card_says_what_it_is_how_well_it_does_and_what_to_beware_of(
    tmp_path: Path,
) -> None:
    planted = Planted(build_study(), written(ROWS))
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    out = export_best(directory, tmp_path / "best")
    path = tmp_path / "best" / "full-pretrained-6x.yaml"
    findings = derive_findings(planted.tables())
    card = model_card(findings, path.name, load_config(path), out.made_of[path])
    for fact in ("disc, square", "20.00", "[17.5, 22.5]", "400 images", "full-pretrained-6x"):
        assert fact in card
    assert "full/scratch:" not in card
    assert_says("analysis", "model card", card)


def test_models_of_a_single_trial_are_refused_not_passed_over(tmp_path: Path) -> None:
    root = Planted(build_study(), written(ROWS)).directory(tmp_path / "s")
    words = ["export", str(root), "--trial", "any", "--weights", "--out", str(tmp_path / "b")]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, SpecError)
    assert "must come without --weights" in str(refused.exception)


def test_weights_that_were_not_kept_are_named_with_the_command_that_makes_them(
    tmp_path: Path,
) -> None:
    planted = Planted(build_study(), written(ROWS))
    root = planted.directory(tmp_path / "s")
    told = CliRunner().invoke(app, ["export", str(root), "--weights", "--out", str(tmp_path / "b")])
    assert told.exit_code == 0, told.output
    assert "no weights kept: full-scratch-2x.yaml; rethink-ray train" in told.output


def test_kept_weights_are_written_with_a_card_and_both_files_are_named(tmp_path: Path) -> None:
    planted = Planted(build_study(), written(ROWS))
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    out = tmp_path / "b"
    path = out / "full-scratch-2x.yaml"
    trial_id = export_best(directory, out).made_of[path].member.trial_id
    save_checkpoint(directory.trial_dir(trial_id) / "models" / "2x.pt", {"model": {}})
    told = CliRunner().invoke(app, ["export", str(directory.root), "--weights", "--out", str(out)])
    assert told.exit_code == 0, told.output
    named = told.output.splitlines()
    for file in ("model.pt", "README.md"):
        assert str(out / "full-scratch-2x" / file) in named
        assert (out / "full-scratch-2x" / file).is_file()


def test_a_study_without_a_finished_rung_says_so(tmp_path: Path) -> None:
    planted = Planted(build_study(), written(ROWS))
    with pytest.raises(RecordError, match="must have a finished rung"):
        export_best(_directory(planted, tmp_path / "s", []), tmp_path / "best")


def test_an_arm_that_copies_its_values_is_exported_as_far_as_it_has_come(tmp_path: Path) -> None:
    study = build_study(tuning={"copy_from": "scratch"})
    planted = Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3))
    events = planted.events()
    source = next(e for e in events if isinstance(e, RoundProposed) and e.arm == "scratch")
    copied = next(
        e
        for e in events
        if isinstance(e, RoundProposed) and e.arm == "pretrained" and e.purpose == "search"
    )
    # what copying records: one trial for each incumbent of the source, pointing at it
    pointing = tuple(
        type(m)(trial_id=m.trial_id, params=m.params, seed=m.seed, of=s.trial_id)
        for m, s in zip(copied.members, source.members, strict=True)
    )
    ids = {m.trial_id for m in pointing}
    halfway: list[Event] = []
    for event in events:
        if event is copied:
            halfway.append(
                RoundProposed(
                    regime="full", arm="pretrained", number=0, purpose="search", members=pointing
                )
            )
        elif isinstance(event, RungDone) and event.trial_id in ids and event.length > 2:
            continue
        elif not (isinstance(event, RoundProposed) and event.purpose == "replicate"):
            halfway.append(event)
    directory = _directory(planted, tmp_path / "s", halfway)
    done = export_best(directory, tmp_path / "best")
    names = [p.name for p in done.files]
    assert set(done.files.values()) == {0}
    assert done.missing == ("full/pretrained 4x", "full/pretrained 6x")
    (line,) = (
        text for text in next(iter(done.files)).read_text().splitlines() if "replicates:" in text
    )
    assert_says("analysis", "header of a file without replicates", line)
    assert [n for n in names if "pretrained" in n] == ["full-pretrained-2x.yaml"]
    assert len([n for n in names if "scratch" in n]) == 3


def test_an_exported_file_is_yaml_whatever_the_arm_is_called(tmp_path: Path) -> None:
    arms = {"a: #b|'c'": {}}
    rows = {("a: #b|'c'", n): [9.0, 10.0, 11.0] for n in (2.0, 4.0, 6.0)}
    planted = Planted(build_study(arms=arms), written(rows))
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    for path in export_best(directory, tmp_path / "best").files:
        assert yaml.safe_load(path.read_text())["arm"] == "a: #b|'c'"
