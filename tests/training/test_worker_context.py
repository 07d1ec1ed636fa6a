import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.training.runs import climb, in_another_process, numbers

WORKERS = 2
LENGTHS = (2.0, 3.0)


def climb_as_one_of_two(cache: str, folder: Path, rank: int) -> None:
    os.environ["RETHINK_RAY_CACHE"] = cache
    store = dist.FileStore(str(folder / "store"), WORKERS)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=WORKERS, timeout=timedelta(minutes=2)
    )
    config = micro_trial(workers=WORKERS)
    ctx = WorkerContext.distributed(config)
    rungs = climb(config, folder, LENGTHS, ctx=ctx)
    told = {"numbers": numbers(rungs), "loss": rungs[0].metrics["train/loss"]}
    (folder / f"rank{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def test_two_workers_train_one_model_and_agree_on_its_numbers(tmp_path: Path) -> None:
    cache = os.environ["RETHINK_RAY_CACHE"]
    micro_trial()
    workers = [
        in_another_process(climb_as_one_of_two, cache, tmp_path, rank) for rank in range(WORKERS)
    ]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    first, second = (
        json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(WORKERS)
    )
    assert first == second
    assert [rung[1] for rung in first["numbers"]] == [2.0, 3.0]
    alone = climb(micro_trial(), tmp_path / "alone", (2.0,))
    assert first["loss"] == pytest.approx(alone[0].metrics["train/loss"], rel=1e-4)


def test_a_lone_place_agrees_with_itself() -> None:
    ctx = WorkerContext(device=torch.device("cpu"))
    assert ctx.is_main
    assert ctx.any_of((False, True)) == (False, True)
    assert ctx.gather(["a", "b"]) == ["a", "b"]
    assert ctx.mean(torch.tensor([2.0])).item() == 2.0


@pytest.mark.parametrize("cpus", [2, 1])
def test_the_thread_count_belongs_to_the_trial(cpus: int) -> None:
    WorkerContext.local(micro_trial(micro_recipe(), cpus_per_worker=cpus))
    assert torch.get_num_threads() == cpus
