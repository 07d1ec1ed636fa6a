"""Workers of one run: scored together, stopped together, ended together."""

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from rethink_ray.spec.errors import Diverged, Infeasible, RecordError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.live import Live
from rethink_ray.training.stopping import Stopped, never_stop
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.groups import in_a_group
from tests.training.runs import climb, digests, numbers, stop_after

ALONE = WorkerContext(device=torch.device("cpu"))
LENGTHS = (2.0, 3.0)


def trial(family: str = "tiny_retinanet", workers: int = 2, **settings: Any) -> TrialConfig:
    return micro_trial(micro_recipe(family, batch_size=4, **settings), workers=workers)


def averaged_trial(workers: int) -> TrialConfig:
    ema = {"half_life": 0.5}
    return trial("tiny_faster_rcnn", workers, detector__norm="sync_bn", optimizer__ema=ema)


def ctx_of(rank: int) -> WorkerContext:
    return WorkerContext(device=torch.device("cpu"), rank=rank, world_size=dist.get_world_size())


def at(rank: int, mine: int, call: Callable[[], bool]) -> Callable[[], bool]:
    """The call on one worker; the others never request a stop."""
    return call if rank == mine else never_stop


def scores(ctx: WorkerContext, stop: Callable[[], bool] = never_stop) -> dict[str, str]:
    """Of detectors fresh from their seed, whose batches differ in size; text, as NaN occurs."""
    found = {}
    for family in ("tiny_retinanet", "tiny_faster_rcnn"):
        recipe = micro_recipe(
            family, batch_size=3, detector__min_side_px=48, detector__max_side_px=90
        )
        live = Live(recipe, 6, 0, ctx)
        told = score_split(live.detector, micro_trial(recipe), "val", ctx, stop=stop)
        found |= {f"{family} {name}": f"{value:.6f}" for name, value in told.items()}
    return found


def score_in_a_group(folder: Path, rank: int) -> dict[str, str]:
    return scores(ctx_of(rank))


@pytest.mark.parametrize("world_size", [2, 5])
def test_any_number_of_workers_scores_like_one(tmp_path: Path, world_size: int) -> None:
    micro_trial()  # four images to score: the fifth worker has none
    assert in_a_group(score_in_a_group, tmp_path, world_size) == [scores(ALONE)] * world_size


def stop_in_the_second_batch(folder: Path, rank: int) -> list[str]:
    recipe = micro_recipe(batch_size=2)
    ctx = ctx_of(rank)
    live = Live(recipe, 6, 0, ctx)
    told = []
    for stop in (at(rank, 1, stop_after(1)), never_stop):
        try:
            score_split(live.detector, micro_trial(recipe), "val", ctx, stop=stop)
            told.append("scored")
        except Stopped:
            told.append("stopped")
    return told


def test_one_workers_request_to_stop_ends_the_scoring_of_all(tmp_path: Path) -> None:
    micro_trial()
    first, second = in_a_group(stop_in_the_second_batch, tmp_path, 2)
    assert first == second == ["stopped", "scored"]


def climb_with_a_stop(folder: Path, rank: int, workers: int) -> list[Any]:
    """Stopped again and again at the last worker's request, then to the end."""
    config = averaged_trial(workers)
    told: list[Any] = []
    for asked in (1, 2, 10_000):
        stop = at(rank, workers - 1, stop_after(asked))
        try:
            told.append(numbers(climb(config, folder, LENGTHS, ctx=ctx_of(rank), stop=stop)))
        except Stopped as stopped:
            told.append(str(stopped))
    return told


def test_a_group_that_is_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    micro_trial()
    stopped = in_a_group(climb_with_a_stop, tmp_path / "stopped", 2, 2)
    assert stopped[0] == stopped[1]
    assert all(isinstance(told, str) for told in stopped[0][:2])
    [whole, _] = in_a_group(climb_whole, tmp_path / "whole", 2, 2)
    assert stopped[0][2] == whole
    assert digests(tmp_path / "stopped", LENGTHS) == digests(tmp_path / "whole", LENGTHS)


def climb_whole(folder: Path, rank: int, workers: int) -> list[Any]:
    config = averaged_trial(workers)
    return numbers(climb(config, folder, LENGTHS, ctx=ctx_of(rank)))


def climb_in_a_group_of_one(folder: Path, rank: int) -> list[Any]:
    return [climb_whole(folder, rank, 1), WorkerContext.distributed(trial(workers=1)).world_size]


def test_one_worker_is_no_worker_to_the_last_bit(tmp_path: Path) -> None:
    config = averaged_trial(0)
    none = climb(config, tmp_path / "none", LENGTHS)
    [(one, world_size)] = in_a_group(climb_in_a_group_of_one, tmp_path / "one", 1)
    assert world_size == 1
    assert one == numbers(none)
    assert digests(tmp_path / "one", LENGTHS) == digests(tmp_path / "none", LENGTHS)


def starve(megabytes: int) -> None:
    """This process may take so much more memory and not a byte beyond."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = taken + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def climb_starving(folder: Path, rank: int, hungry: int) -> None:
    config = trial(detector__min_side_px=1024, detector__max_side_px=1024)
    ctx = ctx_of(rank)
    if rank == hungry:
        starve(20)
    climb(config, folder, LENGTHS, ctx=ctx)


@pytest.mark.parametrize("hungry", [0, 1])
def test_too_little_memory_for_one_worker_is_the_outcome_of_all(
    tmp_path: Path, hungry: int
) -> None:
    micro_trial()
    first, second = in_a_group(climb_starving, tmp_path, 2, hungry)
    assert isinstance(first, Infeasible)
    assert str(first) == str(second)
    assert "2 images at once (batch_size 4) of 1024 to 1024 px" in str(first)
    assert "Try batch_size: 2, or detector.min_side_px: 512 and detector.max_side_px: 512" in str(
        first
    )


def diverge(folder: Path, rank: int) -> None:
    config = trial("tiny_faster_rcnn", optimizer__lr=1.0e12)
    climb(config, folder, LENGTHS, ctx=ctx_of(rank))


def test_a_group_diverges_together_at_one_update(tmp_path: Path) -> None:
    micro_trial()
    outcomes = in_a_group(diverge, tmp_path, 2)
    assert all(isinstance(outcome, Diverged) for outcome in outcomes)
    assert outcomes[0].step == outcomes[1].step >= 1


def climb_until_one_dies(folder: Path, rank: int) -> None:
    def die() -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    stop = at(rank, 1, lambda: die() if (folder / "trunk-000000005.pt").exists() else False)
    climb(trial(), folder, LENGTHS, ctx=ctx_of(rank), stop=stop)


def test_a_killed_worker_ends_the_others_with_an_error_that_is_no_outcome(tmp_path: Path) -> None:
    micro_trial()
    left, killed = in_a_group(climb_until_one_dies, tmp_path, 2)
    assert killed is None
    assert type(left) is RuntimeError
    whole = in_a_group(climb_plain, tmp_path / "whole", 2)
    again = in_a_group(climb_plain, tmp_path, 2)
    assert again[0] == again[1] == whole[0]
    assert digests(tmp_path, LENGTHS) == digests(tmp_path / "whole", LENGTHS)


def climb_plain(folder: Path, rank: int) -> list[Any]:
    return numbers(climb(trial(), folder, LENGTHS, ctx=ctx_of(rank)))


def climb_in_own_folder(folder: Path, rank: int) -> None:
    climb(trial(), folder / str(rank), (3.0,), ctx=ctx_of(rank))


def test_workers_that_see_different_checkpoints_say_so(tmp_path: Path) -> None:
    climb(trial(), tmp_path / "0", (2.0,))
    assert load_checkpoint(tmp_path / "0" / "trunk-000000005.pt")["step"] == 5
    found = in_a_group(climb_in_own_folder, tmp_path, 2)
    for error in found:
        assert isinstance(error, RecordError)
        text = re.sub(r"^.*?: must", "FOLDER: must", str(error))
        assert_says("training", "workers with different checkpoints", text)
