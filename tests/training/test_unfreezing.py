"""Runs that start frozen and train whole later: the four invariants, and the momentum of each part.

In units of the micro recipe (1x is 4 updates, 2x leaves the trunk at update 5): the switch at 1.25x
is the last that a ladder from 2x on may have, the one at 0.5x lies in the middle of the trunk.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import Misconfigured
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.effective import require_recipe_values
from rethink_ray.training.effective_optimizer import read_freezing, read_optimizer
from rethink_ray.training.live import Live
from rethink_ray.training.schedule import schedule_of
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import climb, climb_with_stops, digest, digests, numbers, stop_after

LENGTHS = (2.0, 3.0)
ALONE = WorkerContext(device=torch.device("cpu"))
START: dict[str, Any] = {
    "init__source": "direct",
    "direct__passes": 1.0,
    "direct__batch_size": 4,
    "direct__warmup": 1,
    "direct__norm": "gn",
}
GENTLE = {"optimizer__backbone_rate": 0.5, "optimizer__layer_decay": 0.5}
AVERAGED = {"optimizer__ema": {"half_life": 0.5}}


def trial(after: float | None = 0.5, frozen: str = "heads", **settings: Any) -> TrialConfig:
    unfreeze = None if after is None else {"after": after}
    freezing = {"init__frozen": frozen, "init__unfreeze": unfreeze}
    recipe = micro_recipe(**(START | freezing | settings))
    return micro_trial(recipe).model_copy(update={"asset_seed": 7})


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first stage that every run here starts from."""
    folder = tmp_path_factory.mktemp("assets")
    [stage] = assets_of(trial())
    build_asset(stage, MICRO_DATA, folder)
    return folder


@pytest.mark.parametrize(
    ("after", "settings"), [(0.5, GENTLE), (1.25, GENTLE), (1.25, AVERAGED)], ids=str
)
def test_a_branch_equals_a_stand_alone_run_however_late_the_switch(
    tmp_path: Path, assets: Path, after: float, settings: dict[str, Any]
) -> None:
    config = trial(after, **settings)
    ladder = climb(config, tmp_path / "ladder", LENGTHS, assets=assets)
    for rung in ladder[1:]:
        folder = tmp_path / f"{rung.length:g}"
        alone = climb(config, folder, (rung.length,), assets=assets)
        assert digest(folder, rung.length) == digest(tmp_path / "ladder", rung.length)
        assert numbers(alone) == numbers([rung])


def test_a_stop_before_at_or_after_the_switch_changes_nothing(tmp_path: Path, assets: Path) -> None:
    """With AdamW, whose moments and counts differ between the parts."""
    config = trial(0.5, optimizer__name="adamw", optimizer__lr=0.002, **AVERAGED)
    whole = climb(config, tmp_path / "whole", (2.0,), assets=assets)
    for asked in (1, 2, 3):  # the switch is update 2
        folder = tmp_path / f"stop at {asked}"
        with pytest.raises(Stopped):
            climb(config, folder, (2.0,), stop=stop_after(asked), assets=assets)
        [kept] = [load_checkpoint(p)["is_unfrozen"] for p in folder.glob("trunk-*.pt")]
        assert kept == (asked > 2)
        assert numbers(climb(config, folder, (2.0,), assets=assets)) == numbers(whole)
        assert digest(folder, 2.0) == digest(tmp_path / "whole", 2.0)


def test_many_stops_on_a_ladder_whose_trunk_ends_at_the_switch_change_nothing(
    tmp_path: Path, assets: Path
) -> None:
    """Its trunk file is frozen and its branch is not, so going back to the trunk freezes again."""
    config = trial(1.25, **AVERAGED)
    whole = climb(config, tmp_path / "whole", LENGTHS, assets=assets)
    parts, stops = climb_with_stops(config, tmp_path / "parts", LENGTHS, every=3, assets=assets)
    assert stops >= 4
    assert numbers(parts) == numbers(whole)
    assert digests(tmp_path / "parts", LENGTHS) == digests(tmp_path / "whole", LENGTHS)


def test_until_the_switch_a_run_is_the_frozen_run(tmp_path: Path, assets: Path) -> None:
    """Stopped at update 4: one has just switched there, the other never does."""
    models: list[Mapping[str, Tensor]] = []
    for after in (1.0, None):
        folder = tmp_path / str(after)
        with pytest.raises(Stopped):
            climb(trial(after), folder, (2.0,), stop=stop_after(4), assets=assets)
        [file] = folder.glob("trunk-*.pt")
        models.append(load_checkpoint(file)["model"])
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_run_reads_back_both_phases_and_prices_each(tmp_path: Path, assets: Path) -> None:
    config = trial(0.5, frozen="neck", **GENTLE)
    [short, long] = climb(config, tmp_path, LENGTHS, assets=assets)
    effective = json.loads((tmp_path / "effective.json").read_text())
    assert effective["effective"]["init.frozen"] == "neck"
    assert effective["effective"]["init.unfreeze"] == {"after": 0.5}
    assert effective["effective"]["optimizer.backbone_rate"] == 0.5
    assert effective["effective"]["optimizer.layer_decay"] == 0.5
    assert effective["model"]["frozen_parts"] == []
    factors = {g["part"]: g["rate_factor"] for g in effective["model"]["parameter_groups"]}
    assert factors["weights"] == factors["norms"] == 1.0
    assert factors["backbone weights 1"] == 0.25
    assert factors["backbone norms 5"] == 0.5**6

    frozen, free = (
        2 * step_flops_per_image(config.recipe.detector, upto, config.num_categories, ALONE.device)
        for upto in ("neck", "none")
    )
    assert short.step_flops == (2 * frozen + 6 * free) / 8
    assert long.step_flops == (2 * frozen + 10 * free) / 12
    assert short.trained_share == 1.0
    assert short.metrics["train/backbone_drift"] > 0.0


def started(**settings: Any) -> Live:
    return Live(trial(**settings).recipe.model_copy(), 6, 0, ALONE)


def updated(live: Live, *steps: int) -> Live:
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(n)) for n in (1, 2)]
    boxes = torch.tensor([[4.0, 4.0, 30.0, 34.0], [20.0, 10.0, 60.0, 50.0]])
    targets = [
        {"boxes": boxes, "labels": torch.tensor([1, 2]), "image_id": torch.tensor(70 + n)}
        for n in range(2)
    ]
    share = slice(live.ctx.rank, None, live.ctx.world_size)
    for step in steps:
        live.unfreeze_if_due(step)
        live.update(images[share], targets[share], rate=0.01, step=step)
    return live


def test_what_trained_keeps_its_momentum_and_what_was_frozen_has_none() -> None:
    live = updated(started(optimizer__name="adamw"), 0, 1)
    trained = set(live.trainable)
    before = {p: live.optimizer.state[p]["exp_avg"].clone() for p in trained}

    live.unfreeze_if_due(2)

    assert set(live.trainable) == set(live.detector.parameters())
    for parameter in live.trainable:
        state = live.optimizer.state.get(parameter)
        if parameter in trained:
            assert state is not None
            assert torch.equal(state["exp_avg"], before[parameter])
        else:
            assert not state
    updated(live, 2)
    counts = {float(live.optimizer.state[p]["step"]) for p in trained}
    fresh = {float(live.optimizer.state[p]["step"]) for p in set(live.trainable) - trained}
    assert (counts, fresh) == ({3.0}, {1.0})


def test_a_factor_that_never_reaches_the_optimizer_is_a_fault() -> None:
    live = started(frozen="none", after=None, **GENTLE)
    schedule = schedule_of(live.recipe.schedule, 2.0)
    assert read_optimizer(live, schedule)["optimizer.layer_decay"] == 0.5
    require_recipe_values(live.recipe, read_optimizer(live, schedule))

    live.optimizer.param_groups[-1]["rate_factor"] = 1.0

    with pytest.raises(Misconfigured, match=r"optimizer\.backbone_rate"):
        require_recipe_values(live.recipe, read_optimizer(live, schedule))


def test_a_part_that_trains_although_it_is_frozen_is_a_fault() -> None:
    live = started()
    require_recipe_values(live.recipe, read_freezing(live))
    live.detector.network.get_submodule("backbone.fpn").requires_grad_(True)
    with pytest.raises(Misconfigured, match=r"init\.frozen"):
        require_recipe_values(live.recipe, read_freezing(live))


def weights_of(ctx: WorkerContext) -> dict[str, Tensor]:
    """After two updates frozen and two whole, with batch statistics of all workers."""
    recipe = trial(0.5, detector__norm="sync_bn", direct__norm="bn", **GENTLE).recipe
    live = updated(Live(recipe, 6, 0, ctx), 0, 1, 2, 3)
    state = copy.deepcopy(live.state())  # as a file has it: it shares no tensor with the optimizer
    again = Live(recipe, 6, 0, ctx)
    again.load(state)
    after_resume = updated(again, 4).detector.state_dict()
    straight = updated(live, 4).detector.state_dict()
    assert all(torch.equal(straight[name], after_resume[name]) for name in straight)
    return {name: value.clone() for name, value in straight.items()}


def weights_in_a_group(folder: Path, rank: int) -> dict[str, Tensor]:
    return weights_of(WorkerContext(device=torch.device("cpu"), rank=rank, world_size=2))


def test_workers_unfreeze_together_and_train_as_one_process(tmp_path: Path) -> None:
    first, second = in_a_group(weights_in_a_group, tmp_path, 2)
    alone = weights_of(ALONE)
    assert not isinstance(first, Exception), first
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
