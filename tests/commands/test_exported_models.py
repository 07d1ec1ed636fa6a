"""``export --format`` and ``--final``: models for others, of a study and of one run."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.recommended import choose_recommended
from rethink_ray.cli import app
from rethink_ray.data.facts import gather_facts
from rethink_ray.detection.detectors import build_detector
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.load import load_config, load_study
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.trial_files import model_path
from tests.analysis.planted import Planted, written
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.refusals import timeless

STUDY = """
study: micro
question: Does pre-training pay?
data: {dataset: shapes, shapes: {train: 10, val: 4, test: 4, image_px: 64}}
regimes: {few: {images: 5}, full: {images: all}}
recipe: tiny_retinanet
settings:
  detector: {width: 16, neck_channels: 16, head_convs: 1}
  detector.min_side_px: 64
  detector.max_side_px: 64
  detector.score_threshold: 0.0
  batch_size: 2
arms: {scratch: {}, slow: {set: {optimizer.momentum: 0.5}}}
search: {optimizer.lr: {log_uniform: [0.005, 0.08]}}
schedule: {unit: 4, lengths: [2, 3], warmup: 2, decay: {before_end: [0.75, 0.25]}}
budget: {trials: 2, keep: [2, 2], replicates: 3}
"""
SCORES = {
    ("scratch", 2.0): (9.8, 10.0, 10.2),
    ("scratch", 3.0): (11.8, 12.0, 12.2),
    ("slow", 2.0): (14.8, 15.0, 15.2),
    ("slow", 3.0): (13.8, 14.0, 14.2),
}
"""AP of three replicates: ``slow`` is best, at 2x."""


class PlantedOnShapes(Planted):
    """Planted scores on pictures that exist."""

    @property
    def facts(self) -> DataFacts:
        return gather_facts(self.study.data, self.study.regimes)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def refused(*words: object) -> str:
    invocation = invoke(*words)
    assert isinstance(invocation.exception, RethinkError), invocation.output
    return str(invocation.exception)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDirectory:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "micro.yaml").write_text(STUDY)
    loaded, text = load_study(tmp_path / "micro.yaml")
    planted = PlantedOnShapes(loaded, written(SCORES))
    directory = start_study(tmp_path / "s", loaded, text, planted.facts, {"torch": "2"})
    for event in planted.events():
        directory.log.append(event)
    return directory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    trial = micro_trial(micro_recipe(schedule__lengths=[2.0]))
    (folder / "micro.yaml").write_text(yaml.safe_dump(json.loads(trial.model_dump_json())))
    invocation = invoke("train", folder / "micro.yaml", "--out", folder / "run")
    assert invocation.exit_code == 0, invocation.output
    return folder / "run"


def keep_weights(study: StudyDirectory, best: Path, name: str) -> None:
    """The weights of one exported file are there, as a study keeps them."""
    origin = export_best(study, best).made_of[best / name]
    config = load_config(best / name)
    detector = build_detector(config.recipe.detector, InitSpec(), config.num_categories, seed=1)
    models = study.trial_dir(origin.member.trial_id) / "models"
    save_checkpoint(model_path(models, origin.length), {"model": detector.state_dict()})


def test_the_model_of_a_run_is_written_with_its_card_and_predict_draws_by_its_thresholds(
    run: Path, tmp_path: Path
) -> None:
    invocation = invoke("export", run, "--format", "safetensors", "--out", tmp_path / "model")
    assert invocation.exit_code == 0, invocation.output
    assert [Path(line).name for line in invocation.output.split()] == [
        "model.safetensors",
        "card.json",
    ]
    path = tmp_path / "model" / "card.json"
    card = json.loads(path.read_text())
    assert card["thresholds_from"] == "val"
    assert sorted(score["split"] for score in card["scores"]) == ["test", "val"]
    first, second = (invoke("evaluate", folder).output for folder in (run, tmp_path / "model"))
    assert first == second
    card["score_thresholds"] = dict.fromkeys(card["classes"], 1.0) | {card["classes"][0]: 0.0}
    path.write_text(json.dumps(card))
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    words = ("predict", tmp_path / "model", tmp_path / "photo.png", "--out", tmp_path / "drawn")
    invocation = invoke(*words)
    assert invocation.exit_code == 0, invocation.output
    rows = json.loads((tmp_path / "drawn" / "detections.json").read_text())
    assert {row["category_id"] for row in rows if row["drawn"]} == {1}
    assert any(row["category_id"] > 1 for row in rows)
    assert "lowest scores that are drawn, from the model's card" in invocation.output
    assert "from the model's card" not in invoke(*words, "--score", "0.5").output


def test_formats_that_are_not_known_and_runs_without_a_format_are_refused(
    run: Path, tmp_path: Path
) -> None:
    assert_says("commands", "unknown format", refused("export", run, "--format", "tflite"))
    said = timeless(refused("export", run), run.parent)
    assert_says("commands", "export of a run without a format", said)
    assert "must hold" in refused("export", tmp_path, "--format", "safetensors")
    sized = ("export", run, "--format", "onnx", "--size")
    assert_says("commands", "a size that is none", refused(*sized, "480"))
    assert "height x width" in refused(*sized, "0x640")
    alone = refused("export", run, "--format", "safetensors", "--size", "480x640")
    assert_says("commands", "a size without ONNX", alone)


def test_a_study_writes_the_models_that_it_kept_with_their_scores(
    study: StudyDirectory, tmp_path: Path
) -> None:
    best = tmp_path / "best"
    keep_weights(study, best, "full-slow-2x.yaml")
    invocation = invoke("export", study.root, "--format", "safetensors", "--out", best)
    assert invocation.exit_code == 0, invocation.output
    for folder in ("full-slow-2x", "full-best"):
        card = json.loads((best / folder / "card.json").read_text())
        report, select = card["scores"]
        assert (report["split"], report["replicates"]) == ("test", 3)
        assert report["value"] == pytest.approx(15.0)
        assert report["interval"][0] < 15.0 < report["interval"][1]
        assert (select["split"], select["replicates"]) == ("val", 0)
        assert card["caveats"]
        assert (best / folder / "model.safetensors").is_file()
        assert (best / folder / "README.md").is_file()
    assert "no weights kept: full-scratch-2x.yaml; rethink-ray train" in invocation.output


def test_the_recommended_configuration_is_the_largest_regimes_best_by_replicates(
    study: StudyDirectory,
) -> None:
    origin = choose_recommended(study, derive_findings(read_tables(study)))
    assert (origin.cell.name, origin.length) == ("full/slow", 2.0)


def test_the_final_model_learns_from_every_labelled_picture_and_has_no_score(
    study: StudyDirectory, tmp_path: Path
) -> None:
    best = tmp_path / "best"
    invocation = invoke("export", study.root, "--final", "--out", best)
    assert invocation.exit_code == 0, invocation.output
    card = json.loads((best / "final" / "card.json").read_text())
    assert card["trained_on_all"]
    assert card["scores"] == []
    assert card["config"]["num_images"] == 10 + 4 + 4
    assert_says("commands", "the final model", card["caveats"][0])
    assert card["caveats"][0] in invocation.output
    config = load_config(best / "final.yaml")
    assert config.recipe.optimizer.momentum == 0.5
    assert config.recipe.schedule.lengths == (2.0,)
    again = tmp_path / "again"
    invocation = invoke(
        "train", best / "final.yaml", "--out", again
    )  # the same run, without a study
    assert invocation.exit_code == 0, invocation.output
    first, second = (load_checkpoint(path / "model.pt") for path in (best / "final", again))
    assert all(torch.equal(first["model"][k], v) for k, v in second["model"].items())
    invocation = invoke("evaluate", best / "final")
    assert "from which it learned" in invocation.output
