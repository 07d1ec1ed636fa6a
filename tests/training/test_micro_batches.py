"""A batch worked off in parts has the gradient of the whole batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.spec.check import check_batch
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.live import Live
from rethink_ray.training.micro_batches import split_into_micro_batches
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.groups import in_a_group
from tests.training.runs import climb, digests, numbers
from tests.training.test_group_gradients import (
    SIZES,
    TOLERANCE,
    distance,
    global_batch,
    recipe_of,
)
from tests.training.test_mixed import batch as mixed_batch
from tests.training.test_mixed import gradient_of, student

ALONE = WorkerContext(device=torch.device("cpu"))
FAMILIES = (
    "tiny_retinanet",
    "tiny_fcos",
    "tiny_faster_rcnn",
    "tiny_mask_rcnn",
    "tiny_cascade_rcnn",
    "tiny_cascade_mask_rcnn",
    "tiny_keypoint_rcnn",
)


def updated(
    family: str, norm: str, sizes: str, images_per_step: int | None, ctx: WorkerContext = ALONE
) -> tuple[Live, float]:
    """After one update on this worker's share, and the update's loss."""
    live = Live(recipe_of(family, norm), 6, 0, ctx, images_per_step=images_per_step)
    share = 4 // ctx.world_size
    mine = slice(ctx.rank * share, (ctx.rank + 1) * share)
    images, targets = global_batch(SIZES[sizes])
    return live, float(live.update(images[mine], targets[mine], rate=0.01, step=5))


@pytest.mark.parametrize(
    ("norm", "family"),
    [("gn", family) for family in FAMILIES]
    + [("frozen_bn", family) for family in ("tiny_retinanet", "tiny_faster_rcnn")],
)
def test_micro_batches_have_the_gradient_of_the_whole_batch(family: str, norm: str) -> None:
    for sizes in SIZES:
        (whole, whole_loss), (parts, parts_loss) = (
            updated(family, norm, sizes, images_per_step) for images_per_step in (None, 2)
        )
        assert distance(gradient_of(parts), gradient_of(whole)) <= TOLERANCE, sizes
        assert parts_loss == pytest.approx(whole_loss, rel=TOLERANCE)


def workers_with_micro_batches(folder: Path, rank: int, world_size: int) -> dict[str, Tensor]:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size)
    return {
        family: gradient_of(updated(family, "gn", "one size", 1, ctx)[0])
        for family in ("tiny_retinanet", "tiny_faster_rcnn")
    }


def test_workers_with_micro_batches_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    for family, gradients in zip_by_key(in_a_group(workers_with_micro_batches, tmp_path, 2, 2)):
        whole = gradient_of(updated(family, "gn", "one size", None)[0])
        for gradient in gradients:
            assert distance(gradient, whole) <= TOLERANCE, family


def zip_by_key(ranks: list[dict[str, Tensor]]) -> list[tuple[str, list[Tensor]]]:
    return [(key, [rank[key] for rank in ranks]) for key in ranks[0]]


@pytest.mark.parametrize("family", ["tiny_retinanet", "tiny_faster_rcnn"])
def test_both_kinds_of_label_are_weighed_by_the_losses_of_the_whole_batch(family: str) -> None:
    images, targets = mixed_batch("hhhhpppp")
    lives: list[Live] = []
    for images_per_step in (None, 2):
        live = student(family, ALONE)
        live.images_per_step = images_per_step
        for step in range(2):
            live.update(images, targets, rate=0.01, step=step)
        lives.append(live)
    whole, parts = lives
    assert distance(gradient_of(parts), gradient_of(whole)) <= TOLERANCE
    means = [live.state()["balance"]["means"] for live in lives]
    assert torch.allclose(*means, rtol=TOLERANCE)


def test_statistics_of_batch_norm_move_once_an_update() -> None:
    """Two micro-batches of one size: the running mean follows each of them once."""
    live, _ = updated("tiny_retinanet", "bn", "one size", 2)
    counts = [b for n, b in live.detector.named_buffers() if n.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {2}


def test_micro_batches_are_neighbours_of_one_kind_of_label() -> None:
    targets = [{"is_pseudo": torch.tensor(number >= 4)} for number in range(8)]
    assert split_into_micro_batches(targets, 2) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    plain: list[dict[str, Tensor]] = [{} for _ in range(6)]
    assert split_into_micro_batches(plain, 4) == [[0, 1, 2, 3], [4, 5]]


def test_a_run_in_micro_batches_is_the_same_after_a_stop_and_says_what_it_did(
    tmp_path: Path,
) -> None:
    config = micro_trial(micro_recipe(batch_size=4), images_per_step=2)
    whole = climb(config, tmp_path / "whole", (2.0, 3.0))
    again = climb(config, tmp_path / "again", (2.0,)) + climb(config, tmp_path / "again", (3.0,))
    assert numbers(again) == numbers(whole)
    assert digests(tmp_path / "again", (2.0, 3.0)) == digests(tmp_path / "whole", (2.0, 3.0))
    assert '"images_per_step": 2' in (tmp_path / "whole" / "effective.json").read_text()


def refused(resources: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(SpecError) as caught:
        check_batch(micro_recipe(**settings), "study.yaml", ResourceSpec(**resources))
    return str(caught.value)


def test_a_split_that_cuts_a_padding_group_is_refused() -> None:
    told = refused({"images_per_step": 3}, batch_size=12)
    assert "2, 4, 6, 12" in told
    assert_says("training", "images per step that split a padding group", told)


def test_a_split_that_does_not_come_out_even_is_refused() -> None:
    told = refused({"images_per_step": 6, "workers": 2}, batch_size=16)
    assert_says("training", "images per step that do not divide", told)
    told = refused({"images_per_step": 4}, batch_size=12, labels__kind="self_training")
    assert_says("training", "images per step that do not divide one kind of label", told)


def test_statistics_of_another_number_of_images_than_asked_for_are_refused() -> None:
    told = refused(
        {"images_per_step": 4}, batch_size=8, detector__norm="bn", detector__norm_batch=8
    )
    assert_says("training", "norm_batch other than images per step", told)
    kept = micro_recipe(batch_size=8, detector__norm="bn", detector__norm_batch=4)
    check_batch(kept, "study.yaml", ResourceSpec(images_per_step=4))
