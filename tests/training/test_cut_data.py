"""A run on splits that are cut from train, from its file as from the study."""

from pathlib import Path

import pytest

from rethink_ray.data.splits import open_split
from rethink_ray.spec.load import load_config
from rethink_ray.spec.regime import HoldoutSpec
from rethink_ray.training.run import evaluate_checkpoint, train_config
from tests.builders import micro_recipe, micro_trial
from tests.looking import cut_spec, draw, write_pictures


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))


def test_an_exported_run_finds_the_same_splits_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "set", {f"{seed}.png": draw(seed) for seed in range(20)})
    data = cut_spec(tmp_path / "set", test="20%").model_copy(
        update={"select_on": HoldoutSpec(holdout=4)}
    )
    config = micro_trial(micro_recipe(schedule__lengths=[2.0]), data=data)
    (tmp_path / "run.yaml").write_text(config.model_dump_json())
    test = open_split(data, "test").image_ids.tolist()

    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "other"))
    loaded = load_config(tmp_path / "run.yaml").plain()
    assert loaded.trial_id == config.trial_id
    [rung] = train_config(loaded, tmp_path / "run")
    assert open_split(loaded.data, "test").image_ids.tolist() == test
    scores = evaluate_checkpoint(tmp_path / "run", "test")
    assert scores["test/ap"] == rung.metrics["test/ap"]
    assert "holdout/ap" in rung.metrics


def test_a_run_is_scored_on_the_hold_out_that_reports(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", {f"{seed}.png": draw(seed) for seed in range(20)})
    data = cut_spec(tmp_path / "set", val="20%").model_copy(
        update={"report_on": HoldoutSpec(holdout=4)}
    )
    [rung] = train_config(
        micro_trial(micro_recipe(schedule__lengths=[2.0]), data=data), tmp_path / "run"
    )
    scores = evaluate_checkpoint(tmp_path / "run", "report_holdout")
    assert scores["report_holdout/ap"] == rung.metrics["report_holdout/ap"]
