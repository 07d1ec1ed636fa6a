"""Joint training: classification beside detection, on one backbone, as state of the run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.live import Live
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.groups import in_a_group
from tests.training.runs import climb, climb_with_stops, digests, numbers, stop_after

LENGTHS = (2.0, 3.0)
ALONE = WorkerContext(device=torch.device("cpu"))


def joint(weight: float = 1.0, **settings: Any) -> TrialConfig:
    return micro_trial(micro_recipe(joint__weight=weight, joint__batch_size=4, **settings))


def test_upstream_images_move_the_backbone_and_their_own_layer() -> None:
    config = joint()
    data = open_trial_data(config)
    live = Live(config.recipe, 6, 1, ALONE)
    images, targets = next(data.batches(0, ALONE))
    classified = data.classification_batch(0, ALONE)
    assert classified is not None
    assert classified[0].shape == (4, 3, 32, 32)
    losses = live.model(images, targets, seed=1, step=0, classified=classified)
    plain = live.detector(images, targets, seed=1, step=0)
    assert losses.keys() - plain.keys() == {"upstream"}
    losses["upstream"].backward()
    moved = {name for name, p in live.detector.named_parameters() if p.grad is not None}
    assert moved
    assert all(name.startswith("network.backbone.body.") for name in moved)
    assert live.joint is not None
    assert live.joint.head.weight.grad is not None


def test_the_weight_scales_the_classification_loss() -> None:
    found = []
    for weight in (1.0, 2.5):
        config = joint(weight)
        data = open_trial_data(config)
        live = Live(config.recipe, 6, 1, ALONE)
        images, targets = next(data.batches(0, ALONE))
        classified = data.classification_batch(0, ALONE)
        losses = live.model(images, targets, seed=1, step=0, classified=classified)
        found.append(losses["upstream"].item())
    assert found[1] == pytest.approx(2.5 * found[0])


def test_a_stopped_joint_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = climb(joint(), tmp_path / "whole", LENGTHS)
    parts, stops = climb_with_stops(joint(), tmp_path / "parts", LENGTHS, every=4)
    assert stops >= 3
    assert numbers(parts) == numbers(whole)
    assert digests(tmp_path / "parts", LENGTHS) == digests(tmp_path / "whole", LENGTHS)
    plain = climb(micro_trial(), tmp_path / "plain", LENGTHS)
    assert plain[0].trial_id != whole[0].trial_id


def test_the_classifiers_layer_stands_in_the_checkpoint_and_not_in_the_model(
    tmp_path: Path,
) -> None:
    with pytest.raises(Stopped):
        climb(joint(), tmp_path, LENGTHS, stop=stop_after(4))
    [trunk] = tmp_path.glob("trunk-*.pt")
    content = load_checkpoint(trunk)
    assert content["head"]["weight"].shape == (4, 16)
    assert not any(name == "head.weight" for name in content["model"])


def update_once(ctx: WorkerContext) -> dict[str, Any]:
    config = joint(batch_size=4)
    data = open_trial_data(config)
    live = Live(config.recipe, 6, 1, ctx)
    images, targets = next(data.batches(0, ctx))
    classified = data.classification_batch(0, ctx)
    loss = live.update(images, targets, rate=0.01, step=0, classified=classified)
    gradient = torch.cat([p.grad.flatten() for p in live.trainable if p.grad is not None])
    return {"loss": ctx.mean(loss).item(), "gradient": gradient}


def update_in_a_group(folder: Path, rank: int, world_size: int) -> dict[str, Any]:
    return update_once(WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size))


def test_two_workers_share_the_upstream_batch(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = update_once(ALONE)
    for found in in_a_group(update_in_a_group, tmp_path, 2, 2):
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        apart = (found["gradient"] - alone["gradient"]).norm() / alone["gradient"].norm()
        assert float(apart) <= 1e-5


def test_what_cannot_learn_to_classify_is_refused() -> None:
    frozen = micro_recipe(joint__weight=1.0, init__source="upstream", init__frozen="backbone")
    with pytest.raises(SpecError) as caught:
        check_recipe(frozen, "here")
    assert_says("training", "joint training of a frozen backbone", str(caught.value))
    with pytest.raises(SpecError, match="3 workers") as caught:
        check_recipe(micro_recipe(joint__weight=1.0, batch_size=3), "here", ResourceSpec(workers=3))
    assert_says("training", "joint batch that does not divide", str(caught.value))
