"""Runs of a plain ViT from a hub's cache: the invariants, and the digest on every node."""

from pathlib import Path

import pytest

from rethink_ray.detection.hub_weights import find_hub_weights
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.published_starts import require_same_download
from tests.builders import micro_recipe, micro_trial
from tests.hub_cache import put_repository, use_cache, vit_files
from tests.training.runs import climb, climb_with_stops, digest, numbers

pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
OURS = "our-lab/vit"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = use_cache(tmp_path, monkeypatch)
    put_repository(folder, OURS, vit_files())
    return folder


def trial(**settings: object) -> TrialConfig:
    """A run as a study resolves it, with the digest of the weights that are here now."""
    recipe = micro_recipe(
        detector__backbone="timm:test_vit",
        detector__neck="simple",
        init__source="hub",
        init__weights=OURS,
        **settings,
    )
    weights = find_hub_weights(recipe.detector.backbone, recipe.init)
    return micro_trial(recipe).model_copy(update={"weights_digest": weights.compute_digest("test")})


def test_branches_and_stops_of_a_vit_change_nothing(cache: Path, tmp_path: Path) -> None:
    config = trial(init__frozen="layer2")
    ladder = climb(config, tmp_path / "ladder", (2.0, 3.0))
    alone = climb(config, tmp_path / "alone", (3.0,))
    stopped, stops = climb_with_stops(config, tmp_path / "stopped", (2.0,), every=6)

    assert repr(dict(alone[0].metrics)) == repr(dict(ladder[1].metrics))
    assert digest(tmp_path / "alone", 3.0) == digest(tmp_path / "ladder", 3.0)
    assert digest(tmp_path / "stopped", 2.0) == digest(tmp_path / "ladder", 2.0)
    assert numbers(stopped) == numbers(ladder[:1])
    assert stops > 0


def test_a_node_with_other_weights_under_the_same_name_is_refused(cache: Path) -> None:
    config = trial()
    require_same_download(config)

    put_repository(cache, OURS, vit_files(seed=6))
    with pytest.raises(DataError, match=f"started with \\({config.weights_digest}\\)"):
        require_same_download(config)


def test_a_node_without_the_weights_and_a_connection_names_the_command(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trial()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "another node"))
    with pytest.raises(SpecError, match=f"hf download {OURS}"):
        climb(config, tmp_path / "run", (2.0,))


def test_the_id_follows_the_content_and_not_the_name(cache: Path) -> None:
    first = trial()
    renamed = first.recipe.init.model_copy(update={"weights": f"{OURS}@main"})
    same = first.model_copy(update={"recipe": first.recipe.model_copy(update={"init": renamed})})
    put_repository(cache, OURS, vit_files(seed=6))

    assert same.trial_id == first.trial_id
    assert trial().trial_id != first.trial_id
