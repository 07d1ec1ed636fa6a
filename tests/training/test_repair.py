"""A damaged asset: the ladder names it, and the job builds it again before the run starts again."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import Damaged, load_checkpoint
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.repair import Repair
from rethink_ray.training.starting import DamagedAsset
from rethink_ray.training.trial_files import RunFolders
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import climb, numbers

CONFIG = micro_recipe(init__source="upstream", batch_size=4)


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


def climb_on_damaged_files(folder: Path, rank: int, shared: Path, apart: Path) -> list[Any]:
    """Rungs: where the one file is damaged; where only rank 1's copy of it is."""
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=dist.get_world_size())
    config = micro_trial(CONFIG, workers=2)
    copies = apart if rank else shared
    return [
        numbers(climb(config, folder / name, (2.0,), assets=assets, ctx=ctx))
        for name, assets in (("shared", shared), ("apart", copies))
    ]


def test_workers_build_again_together_or_take_rank_zeros_weights(
    tmp_path: Path, damaged: Path
) -> None:
    apart = shutil.copytree(damaged, tmp_path / "apart")
    first, second = in_a_group(climb_on_damaged_files, tmp_path / "runs", 2, damaged, apart)
    assert first[0] == first[1] == second[0] == second[1]
    weights = Path(classifier().key) / "backbone.pt"
    assert load_checkpoint(damaged / weights)
    with pytest.raises(Damaged):  # rank 1 neither builds nor writes
        load_checkpoint(apart / weights)
