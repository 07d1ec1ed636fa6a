"""A study whose students learn from a model that was trained before it, to an exported file."""

from pathlib import Path

from test_learned_study import TREE, run_here

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.protocol.tables import build_tables
from rethink_ray.session import gather_study_facts, start_study
from rethink_ray.spec.load import load_config, validate
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from rethink_ray.training.run import MODEL_FILE, scored_splits, train_config
from tests.builders import micro_recipe, micro_trial


def test_one_file_teaches_every_replicate_and_an_exported_student_repeats_its_number(
    tmp_path: Path,
) -> None:
    data = validate(DataSpec, TREE["data"], "data")
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0]), data=data), tmp_path / "before")
    file = {"file": str(tmp_path / "before" / MODEL_FILE)}
    arms = {
        "scratch": {},
        "student": {"set": {"labels.kind": "self_training"}, "teacher": file},
        "continued": {"set": {"labels.kind": "continued"}, "teacher": file},
    }
    study = validate(Study, TREE | {"arms": arms}, "files.yaml")
    directory = start_study(
        str(tmp_path / "study"), study, "", gather_study_facts(study, "files.yaml"), {}
    )
    state = run_here(study, directory)
    assert not state.ended
    kinds = sorted(asset.kind for asset in state.assets.values())
    assert kinds == ["pseudo_labels", "teacher"]
    for arm in arms:
        assert len(state.members(Cell("full", arm), "replicate")) >= 2
    found = derive_findings(build_tables(study, state, directory.facts))
    keys = [caveat.key for caveat in found.caveats if caveat.key.startswith("shared-teacher")]
    assert len(keys) == 2
    assert not export_best(directory, tmp_path / "best").missing
    for arm in ("student", "continued"):
        config = load_config(tmp_path / "best" / f"full-{arm}-3x.yaml")
        [rung] = train_config(config.plain(), tmp_path / arm, splits=scored_splits(config)[:1])
        assert rung.metrics["val/ap"] == config.expected["val/ap"]
        recorded = state.rungs[config.source["trial_id"], 3.0].metrics
        assert rung.metrics["train/loss"] == recorded["train/loss"]
