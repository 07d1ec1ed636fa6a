"""Process groups for tests: real processes, real messages, no Ray."""

import gc
import multiprocessing
import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.training.runs import in_another_process

HANGS = timedelta(minutes=2)
"""Whoever waits so long waits for ever: the test fails then."""


def in_a_group(
    target: Callable[..., Any], folder: Path, world_size: int, *arguments: Any
) -> list[Any]:
    """``target(folder, rank, *arguments)`` in each of so many processes; what each one gave back.

    One that raised gives back the exception, one that was killed ``None``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache = os.environ["RETHINK_RAY_CACHE"]
    others_ended = multiprocessing.get_context("forkserver").Event()
    processes = [
        in_another_process(
            _run_as, cache, target, folder, rank, world_size, others_ended, arguments
        )
        for rank in range(world_size)
    ]
    for process in reversed(processes):
        if process is processes[0]:
            others_ended.set()
        process.join(HANGS.total_seconds() + 30)
        assert process.exitcode is not None, "a worker hangs"
    return [_result_of(folder, rank) for rank in range(world_size)]


def _run_as(
    cache: str,
    target: Callable[..., Any],
    folder: Path,
    rank: int,
    world_size: int,
    others_ended: Any,
    arguments: tuple[Any, ...],
) -> None:
    """Rank 0 stays to the end, as Ray Train's workers do: it serves the store."""
    os.environ["RETHINK_RAY_CACHE"] = cache
    torch.set_num_threads(1)
    store = _store_served_by_rank_zero(folder, rank, world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=HANGS)
    del store
    try:
        result = target(folder, rank, *arguments)
    except Exception as error:
        traceback.print_exc()
        result = _without_its_frames(error)
    torch.save(result, folder / f"result{rank}.pt")
    if rank == 0:
        others_ended.wait()
    if dist.is_initialized():
        dist.destroy_process_group()


def _without_its_frames(error: Exception) -> Exception:
    """They hold the model, and so the connections: who fails in earnest lets go of them."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    gc.collect()
    return error


def _store_served_by_rank_zero(folder: Path, rank: int, world_size: int) -> dist.Store:
    """As Ray Train and torchrun have it: it ends with rank 0's hold on it."""
    meeting = dist.FileStore(str(folder / "meeting"), world_size)
    if rank == 0:
        store = dist.TCPStore("127.0.0.1", 0, world_size, is_master=True, wait_for_workers=False)
        meeting.set("port", str(store.port))
        return store
    port = int(meeting.get("port"))
    return dist.TCPStore("127.0.0.1", port, world_size, is_master=False, wait_for_workers=False)


def _result_of(folder: Path, rank: int) -> Any:
    path = folder / f"result{rank}.pt"
    return torch.load(path, weights_only=False) if path.exists() else None
