"""Training on a machine whose backbone is other code than the one the study was started with."""

from pathlib import Path

import pytest

from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.backbone_code import code_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.trial_files import RunFolders
from tests.builders import micro_recipe, micro_trial

NAME = "our_own_nets:build"
TOLD = f"detector.backbone {NAME}: must be the code that its numbers were made with"


def trial(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> TrialConfig:
    """A run on a machine where the module has changed since."""
    module = folder / "our_own_nets.py"
    monkeypatch.syspath_prepend(str(folder))
    module.write_text("then = 1\n")
    recipe = micro_recipe(detector__backbone=NAME, detector__width=64, **settings)
    config = micro_trial(recipe).model_copy(update={"backbone_code": code_of(NAME, "test")})
    module.write_text("now = 1\n")
    return config


def test_a_trial_is_refused_before_its_first_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trial(tmp_path, monkeypatch)
    folders = RunFolders(trial=tmp_path, assets=tmp_path / "assets")
    with pytest.raises(SpecError, match=TOLD):
        list(train_ladder(config, (2.0,), folders, splits=("val",)))


def test_so_is_an_upstream_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = trial(tmp_path, monkeypatch, init__source="upstream")
    [asset] = assets_of(config)
    with pytest.raises(SpecError, match=TOLD):
        build_asset(asset, config.data, tmp_path / "assets")
