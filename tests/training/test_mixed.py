"""Human and pseudo labels in one update, checked with a pencil and against separate updates."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.spec.recipe import LabelsSpec
from rethink_ray.training.live import Live, combine_losses
from rethink_ray.training.mixed import LossBalance
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe
from tests.training.groups import in_a_group

ALONE = WorkerContext(device=torch.device("cpu"))
FAMILIES = ("tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn")
TOLERANCE = 1e-5
"""Relative L2 of a gradient against one process, as for plain batches."""


def combined(balance: LossBalance, human: float, pseudo: float) -> float:
    losses = {"human/a": torch.tensor(human), "pseudo/a": torch.tensor(pseudo)}
    return float(combine_losses(losses, balance.weights(losses)))


def test_the_ratio_of_averages_makes_a_small_loss_as_large_as_the_human_one() -> None:
    balance = LossBalance(LabelsSpec(alpha=1.0, average=0.5), ALONE)
    assert combined(balance, 2.0, 0.5) == pytest.approx(2.0)  # (2 + 4 x 0.5) / 2
    # averages: human 0.5 x 1 + 0.5 x 4 = 2.5, pseudo 0.5 x 0.25 + 0.5 x 1 = 0.625; their ratio is 4
    assert combined(balance, 4.0, 1.0) == pytest.approx(4.0)  # (4 + 4 x 1) / 2
    # human 0.5 x 2.5 + 0.5 x 1 = 1.75, pseudo 0.5 x 0.625 + 0.5 x 1 = 0.8125; 28 / 13
    assert combined(balance, 1.0, 1.0) == pytest.approx((1 + 28 / 13) / 2)


def test_alpha_weighs_the_pseudo_labels() -> None:
    normalised = LossBalance(LabelsSpec(alpha=3.0), ALONE)
    assert combined(normalised, 2.0, 0.5) == pytest.approx((2 + 3 * 4 * 0.5) / 4)
    plain = LossBalance(LabelsSpec(alpha=3.0, normalise=False), ALONE)
    assert combined(plain, 2.0, 0.5) == pytest.approx((2 + 3 * 0.5) / 4)


def test_a_pseudo_loss_of_nothing_divides_by_nothing() -> None:
    assert combined(LossBalance(LabelsSpec(), ALONE), 2.0, 0.0) == pytest.approx(1.0)


def test_averages_go_on_from_a_checkpoint() -> None:
    first, second = (LossBalance(LabelsSpec(), ALONE) for _ in range(2))
    combined(first, 3.0, 0.25)
    second.load(first.state())
    assert combined(first, 1.0, 2.0) == combined(second, 1.0, 2.0)


def batch(kinds: str) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """One picture a letter, ``h`` or ``p``; every second holds nothing."""
    generator = torch.Generator().manual_seed(3)
    images, targets = [], []
    for number, kind in enumerate(kinds):
        found = torch.tensor([[4.0, 4.0, 30.0, 34.0]] if number % 2 == 0 else []).reshape(-1, 4)
        images.append(torch.rand(3, 64, 64 if number < 2 else 90, generator=generator))
        targets.append(
            {
                "boxes": found,
                "labels": torch.arange(1, len(found) + 1),
                "image_id": torch.tensor(70 + number),
                "is_pseudo": torch.tensor(kind == "p"),
            }
        )
    return images, targets


def student(family: str, ctx: WorkerContext, **settings: Any) -> Live:
    mixed = {"labels__kind": "self_training", "detector__norm": "gn", "batch_size": 8, **settings}
    recipe = micro_recipe(family, detector__max_side_px=128, **mixed)
    return Live(recipe, 6, 0, ctx)


def gradient_of(live: Live) -> Tensor:
    return torch.cat([p.grad.flatten() for p in live.trainable if p.grad is not None])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_update_is_the_weighted_sum_of_both_losses(family: str) -> None:
    images, targets = batch("hhpp")
    live = student(family, ALONE, labels__normalise=False, labels__alpha=3.0)
    parts = live.model(images, targets, seed=0, step=5)
    human = sum(v.item() for k, v in parts.items() if k.startswith("human/"))
    pseudo = sum(v.item() for k, v in parts.items() if k.startswith("pseudo/"))
    loss = live.update(images, targets, rate=0.01, step=5)
    assert min(human, pseudo) > 0
    assert float(loss) == pytest.approx((human + 3 * pseudo) / 4, rel=1e-6)


def update_twice(ctx: WorkerContext, family: str) -> dict[str, Any]:
    """This worker's share of a batch of four human and four pseudo labels, twice."""
    images, targets = batch("hhhhpppp")
    share = 4 // ctx.world_size
    mine = [4 * kind + ctx.rank * share + i for kind in range(2) for i in range(share)]
    live = student(family, ctx)
    for step in range(2):
        loss = live.update(
            [images[i] for i in mine], [targets[i] for i in mine], rate=0.01, step=step
        )
    means = live.state()["balance"]["means"]
    return {"loss": ctx.mean(loss).item(), "gradient": gradient_of(live), "means": means}


def updates_in_a_group(folder: Path, rank: int, world_size: int) -> dict[str, dict[str, Any]]:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size)
    return {family: update_twice(ctx, family) for family in FAMILIES}


def test_workers_share_averages_and_have_the_gradient_of_one_process(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    ranks = in_a_group(updates_in_a_group, tmp_path, 2, 2)
    for family in FAMILIES:
        expected = update_twice(ALONE, family)
        first, second = (rank[family] for rank in ranks)
        assert torch.equal(first["means"], second["means"])
        assert torch.equal(first["gradient"], second["gradient"])
        assert torch.allclose(first["means"], expected["means"], rtol=TOLERANCE)
        assert first["loss"] == pytest.approx(expected["loss"], rel=TOLERANCE)
        apart = (first["gradient"] - expected["gradient"]).norm() / expected["gradient"].norm()
        assert float(apart) <= TOLERANCE, family
