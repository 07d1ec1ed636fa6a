"""Direct pre-training: the first stage is a run like any other, and the second starts from it."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rethink_ray.data.placing import plan_size
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.assets import DetectorAsset, assets_of
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.live import Live
from rethink_ray.training.repair import Repair
from rethink_ray.training.run import train_config
from rethink_ray.training.starting import load_start, weights_file
from rethink_ray.training.stopping import Interrupts, Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import climb, numbers, stop_after

DIRECT = {
    "init__source": "direct",
    "direct__passes": 2.0,  # of 12 images in batches of 4: 6 updates
    "direct__batch_size": 4,
    "direct__warmup": 2,
    "direct__norm": "gn",
}
FROZEN = DIRECT | {
    "direct__norm": "bn",
    "detector__norm": "frozen_bn",
    "init__frozen": "layer1",
}
"""Li et al.'s second stage: batch normalisation stands still, and so does the first stage."""


def direct(seed: int = 1, asset_seed: int | None = 7, **settings: object) -> TrialConfig:
    config = micro_trial(micro_recipe(**(DIRECT | settings)), seed=seed)
    return config.model_copy(update={"asset_seed": asset_seed})


def asset(config: TrialConfig) -> DetectorAsset:
    [found] = assets_of(config)
    assert isinstance(found, DetectorAsset)
    return found


def weights(config: TrialConfig, assets: Path) -> dict[str, Tensor]:
    found = asset(config)
    model: dict[str, Tensor] = load_checkpoint(weights_file(found, assets / found.key))["model"]
    return model


def test_a_first_stage_crops_and_pads_to_squares_as_the_authors_do() -> None:
    """An image of 640 x 480 px becomes 448 x 336 px times 0.8 to 1.2, on 448 x 448 px."""
    first = direct_recipe(build_recipe("mask_rcnn_r50"), 118_287)
    planned = [plan_size((480, 640), first.augment, first.detector, n) for n in (0.0, 0.5, 1.0)]
    scaled = [(269, 358), (336, 448), (403, 538)]
    assert planned == [(size, (448, 448)) for size in scaled]


def test_the_first_stage_is_built_once_and_holds_the_whole_detector(tmp_path: Path) -> None:
    found = asset(direct())
    done = build_asset(found, MICRO_DATA, tmp_path)
    assert done.kind == "direct"
    assert done.metrics["updates"] == 6
    assert not done.refused
    names = sorted(path.name for path in (tmp_path / found.key).iterdir())
    assert names == ["DONE", "effective.json", "models", "rungs.json", "spec.json"]
    assert any(name.startswith("network.head.") for name in weights(direct(), tmp_path))
    assert build_asset(found, MICRO_DATA, tmp_path) == done


def test_a_stopped_first_stage_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    found = asset(direct())
    build_asset(found, MICRO_DATA, tmp_path / "whole")
    with pytest.raises(Stopped, match="update 3"):
        build_asset(
            found, MICRO_DATA, tmp_path / "parts", interrupts=Interrupts(stop=stop_after(3))
        )
    build_asset(found, MICRO_DATA, tmp_path / "parts")
    whole, parts = weights(direct(), tmp_path / "whole"), weights(direct(), tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_second_stage_begins_with_every_number_of_the_first(tmp_path: Path) -> None:
    config = direct(**FROZEN)
    assets = tmp_path / "assets"
    build_asset(asset(config), MICRO_DATA, assets)
    given = weights(config, assets)
    ctx = WorkerContext.local(config)
    live = Live(config.recipe, config.num_categories, 1, ctx, load_start(config, assets, ctx))
    state = live.detector.state_dict()
    assert {k for k in given if not k.endswith("num_batches_tracked")} == set(state)
    assert all(torch.equal(state[name], given[name]) for name in state)
    assert not live.optimizer.state  # it is fresh
    before = {name: value.clone() for name, value in state.items()}
    climb(config, tmp_path, (2.0,))
    after = load_checkpoint(tmp_path / "models" / "2x.pt")["model"]
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    still = ("network.backbone.body.stem.", "network.backbone.body.layer1.")
    assert moved
    assert not any(name.startswith(still) or "running_" in name for name in moved)


def test_a_damaged_first_stage_is_built_again_before_the_run_starts(tmp_path: Path) -> None:
    config = direct()
    whole = climb_from_own(config, tmp_path / "whole")
    found = asset(config)
    build_asset(found, MICRO_DATA, tmp_path / "damaged" / "assets")
    path = weights_file(found, tmp_path / "damaged" / "assets" / found.key)
    path.write_bytes(path.read_bytes()[:-1])
    assert numbers(climb(config, tmp_path / "damaged", (2.0,))) == whole


def climb_from_own(config: TrialConfig, folder: Path) -> list[tuple[object, ...]]:
    build_asset(asset(config), MICRO_DATA, folder / "assets")
    return numbers(climb(config, folder, (2.0,)))


def test_a_run_of_one_configuration_builds_its_own_first_stage(tmp_path: Path) -> None:
    config = direct()
    rungs = train_config(config, tmp_path / "run", lengths=(2.0,), splits=("val",))
    assert numbers(rungs) == climb_from_own(config, tmp_path / "other")


def test_a_first_stage_that_diverges_is_refused(tmp_path: Path) -> None:
    found = asset(direct(direct__optimizer__lr=1.0e30))
    assert build_asset(found, MICRO_DATA, tmp_path).refused.startswith("diverged: ")


def test_weights_of_another_head_are_refused_by_name() -> None:
    first, second = (
        Live(micro_recipe(detector__head_convs=n), 6, 1, WorkerContext.alone(1, 0)).detector
        for n in (1, 2)
    )
    with pytest.raises(SpecError, match=r"missing: .*head\.[a-z_.]*conv\.1"):
        load_whole_detector(second, first.state_dict(), "init.source: direct")


def build_in_a_group(folder: Path, rank: int) -> str:
    config = direct()
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=2)
    done = build_asset(asset(config), MICRO_DATA, folder / "assets", ctx=ctx)
    path = weights_file(asset(config), folder / "assets" / done.key)
    ctx.barrier()
    if rank == 0:
        path.write_bytes(path.read_bytes()[:-1])
    ctx.barrier()
    repair = Repair(data=MICRO_DATA, assets=folder / "assets", ctx=ctx)
    [start] = repair.run(lambda: iter((load_start(config, folder / "assets", ctx),)))
    assert start.whole is not None
    whole = hashlib.sha256(b"".join(v.numpy().tobytes() for v in start.whole.values()))
    return f"{done.refused} {done.metrics['updates']} {whole.hexdigest()}"


def test_workers_build_a_first_stage_together_and_again_if_it_is_damaged(tmp_path: Path) -> None:
    one, other = in_a_group(build_in_a_group, tmp_path / "group", 2)
    assert one == other
    assert one.startswith(" 6.0 ")
    build_asset(asset(direct()), MICRO_DATA, tmp_path / "alone")
    alone, shared = (
        weights(direct(), tmp_path / "alone"),
        weights(direct(), tmp_path / "group/assets"),
    )
    for name in alone:
        assert torch.allclose(alone[name], shared[name], rtol=1e-3, atol=1e-4), name
