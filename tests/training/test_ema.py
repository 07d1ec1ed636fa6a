"""The average of the weights: what it is, that it is what counts, and that training ignores it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from rethink_ray.spec.ema import EmaSpec
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.ema import WeightAverage, decay_at
from rethink_ray.training.live import Live
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import climb

ALONE = WorkerContext(device=torch.device("cpu"))
EMA = {"half_life": 0.5}


def average_of(value: float) -> tuple[nn.Linear, WeightAverage]:
    """One weight, whose average begins at ``value``; the half-life is 10 updates."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer, WeightAverage(layer, EmaSpec(half_life=0.1), unit=100)


def averaged(average: WeightAverage) -> float:
    return float(average.state()["weight"])


def updated(ctx: WorkerContext = ALONE, steps: int = 3, **settings: Any) -> Live:
    """A detector after some updates on noise with one object."""
    live = Live(micro_recipe(**settings), 6, 1, ctx)
    for step in range(steps):
        noise = torch.Generator().manual_seed(10 * step + ctx.rank)
        images = [torch.rand(3, 64, 64, generator=noise) for _ in range(2)]
        boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
        target = {"boxes": boxes, "labels": torch.tensor([1]), "image_id": step}
        live.update(images, [dict(target), dict(target)], rate=0.01, step=step)
    return live


def copied(live: Live) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in live.detector.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_after_its_half_life_the_average_is_half_way() -> None:
    layer, average = average_of(0.0)
    nn.init.constant_(layer.weight, 8.0)
    for step in range(1000, 1010):
        average.update(step)
    assert averaged(average) == pytest.approx(4.0)


def test_the_first_updates_forget_the_start_sooner() -> None:
    assert [decay_at(1e9, step) for step in (0, 1, 10)] == [1 / 10, 2 / 11, 11 / 20]
    assert decay_at(1.0, 1000) == 0.5
    layer, average = average_of(10.0)
    nn.init.constant_(layer.weight, 20.0)
    average.update(0)
    assert averaged(average) == pytest.approx(19.0)


def test_a_weight_that_begins_to_train_later_has_its_average_from_then_on() -> None:
    layers = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    layers[0].requires_grad_(False)
    average = WeightAverage(layers, EmaSpec(), unit=100)
    assert [*average.state()] == ["1.weight"]
    layers[0].requires_grad_(True)
    average.track(layers)
    assert [*average.state()] == ["0.weight", "1.weight"]
    layers[1].requires_grad_(False)
    average.track(layers)
    assert [*average.state()] == ["0.weight"]


def test_a_checkpoint_from_before_a_weight_trained_has_the_weight_as_its_average() -> None:
    layer, average = average_of(3.0)
    nn.init.constant_(layer.weight, 7.0)
    average.load({})
    assert averaged(average) == 7.0
    average.load({"weight": torch.tensor([[5.0]])})
    assert averaged(average) == 5.0


def test_training_ignores_the_average() -> None:
    plain, averaged = updated(detector__norm="bn"), updated(detector__norm="bn", optimizer__ema=EMA)
    assert are_equal(plain.detector.state_dict(), averaged.detector.state_dict())


def test_what_is_scored_are_the_averages_with_the_statistics_of_the_live_network() -> None:
    live = updated(detector__norm="bn", init__frozen="layer1", optimizer__ema=EMA)
    before, averages = copied(live), live.state()["average"]
    trained = {name for name, p in live.detector.named_parameters() if p.requires_grad}
    assert averages.keys() == trained < before.keys()
    with live.scored_weights():
        scored = copied(live)
    for name, value in scored.items():
        assert torch.equal(value, averages[name] if name in trained else before[name])
    assert any(not torch.equal(scored[name], before[name]) for name in trained)
    assert are_equal(copied(live), before)


def test_scoring_that_fails_leaves_the_live_weights() -> None:
    live = updated(optimizer__ema=EMA)
    before = copied(live)
    with pytest.raises(RuntimeError), live.scored_weights():
        raise RuntimeError("a stop")
    assert are_equal(copied(live), before)


def test_drift_is_that_of_the_averages() -> None:
    plain, averaged = updated(), updated(optimizer__ema=EMA)
    average = averaged.state()["average"]
    name_of = {id(p): name for name, p in averaged.detector.named_parameters()}
    weights = dict(averaged.detector.backbone.named_parameters())
    moved = total = 0.0
    for name, start in averaged.origin.moving.items():
        now = average[name_of[id(weights[name])]]
        moved += float((now - start).double().square().sum())
        total += float(start.double().square().sum())
    assert averaged.drift() == pytest.approx((moved / total) ** 0.5)
    assert averaged.drift() < plain.drift()


def test_an_average_that_is_no_number_is_noticed() -> None:
    live = updated(optimizer__ema=EMA)
    assert live.is_finite()
    next(iter(live.state()["average"].values())).fill_(torch.nan)
    assert not live.is_finite()


def test_the_kept_weights_are_the_averages_that_stand_in_the_trunk(tmp_path: Path) -> None:
    recipe = micro_recipe(optimizer__ema=EMA, schedule__decay__kind="constant")
    climb(micro_trial(recipe), tmp_path, (2.0,))
    trunk = load_checkpoint(tmp_path / "trunk-000000008.pt")
    kept = load_checkpoint(tmp_path / "models" / "2x.pt")["model"]
    assert all(torch.equal(kept[name], value) for name, value in trunk["average"].items())
    assert not are_equal(kept, trunk["model"])


def averages_of_one_rank(folder: Path, rank: int) -> dict[str, Tensor]:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=dist.get_world_size())
    live = updated(ctx, detector__norm="bn", optimizer__ema=EMA)
    return dict(live.state()["average"])


def test_all_ranks_hold_the_same_averages(tmp_path: Path) -> None:
    first, second = in_a_group(averages_of_one_rank, tmp_path, 2)
    assert first
    assert are_equal(first, second)
