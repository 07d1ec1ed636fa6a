"""A damaged asset: the ladder names it, and the job builds it again before the run starts again."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.training.assets import build_asset
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.repair import Repair
from rethink_ray.training.starting import DamagedAsset
from rethink_ray.training.trial_files import RunFolders
from tests.builders import MICRO_DATA, micro_recipe, micro_trial

CONFIG = micro_recipe(init__source="upstream")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The assets' folder of a run whose classifier lost its last byte."""
    [asset] = assets_of(micro_trial(CONFIG))
    build_asset(asset, MICRO_DATA, tmp_path / "assets")
    path = tmp_path / "assets" / asset.key / "backbone.pt"
    path.write_bytes(path.read_bytes()[:-1])
    return tmp_path / "assets"


def classifier() -> AssetSpec:
    return assets_of(micro_trial(CONFIG))[0]


def test_the_ladder_names_the_damaged_asset_and_builds_nothing(damaged: Path) -> None:
    path = damaged / classifier().key / "backbone.pt"
    before = path.read_bytes()
    folders = RunFolders(trial=damaged / "trial", assets=damaged)
    with pytest.raises(DamagedAsset, match=classifier().key) as caught:
        next(train_ladder(micro_trial(CONFIG), (2.0,), folders, splits=()))
    assert caught.value.asset == classifier()
    assert pickle.loads(pickle.dumps(caught.value)).asset == classifier()
    assert path.read_bytes() == before


def test_items_that_were_passed_on_are_not_passed_on_again(damaged: Path) -> None:
    attempts = iter((True, False))

    def attempt() -> Iterator[str]:
        yield "2x"
        if next(attempts):
            raise DamagedAsset(classifier())
        yield "3x"

    assert list(Repair(data=MICRO_DATA, assets=damaged).run(attempt)) == ["2x", "3x"]


def test_an_asset_that_is_damaged_again_after_it_was_built_again_ends_the_job(
    damaged: Path,
) -> None:
    def attempt() -> Iterator[str]:
        raise DamagedAsset(classifier())
        yield ""

    with pytest.raises(DamagedAsset):
        list(Repair(data=MICRO_DATA, assets=damaged).run(attempt))
