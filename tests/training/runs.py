"""What tests of the ladder ask for again and again: run it, stop it, and look at what it left."""

import hashlib
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rethink_ray.records.types import RungDone
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.repair import Repair
from rethink_ray.training.stopping import SAVE_SECONDS, Interrupts, Stopped, never_stop
from rethink_ray.training.trial_files import RunFolders, model_path


def climb(
    config: TrialConfig,
    folder: Path,
    lengths: Sequence[float],
    *,
    stop: Callable[[], bool] = never_stop,
    **options: Any,
) -> list[RungDone]:
    """The rungs of a run in ``folder``; damaged assets are built again as in a job.

    ``options``: of ``RunFolders``, ``Interrupts`` and ``train_ladder``.
    """
    folders = RunFolders(
        trial=folder,
        assets=options.pop("assets", folder / "assets"),
        models=options.pop("models", folder / "models"),
        detections=options.pop("detections", None),
    )
    interrupts = Interrupts(stop=stop, save_seconds=options.pop("save_seconds", SAVE_SECONDS))
    options = {"splits": ("val",), "interrupts": interrupts, **options}
    repair = Repair(data=config.data, assets=folders.assets, ctx=options.get("ctx"))
    return list(repair.run(lambda: train_ladder(config, lengths, folders, **options)))


def digest(folder: Path, length: float) -> str:
    """SHA-256 over every number of a rung's model."""
    state = load_checkpoint(model_path(folder / "models", length))["model"]
    whole = hashlib.sha256()
    for name in sorted(state):
        whole.update(name.encode())
        whole.update(state[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


def digests(folder: Path, lengths: Sequence[float]) -> list[str]:
    return [digest(folder, length) for length in lengths]


def numbers(rungs: Sequence[RungDone]) -> list[tuple[Any, ...]]:
    """What must not depend on how a rung came about; text makes NaN equal to itself."""
    return [(r.trial_id, r.length, r.steps, r.steps_new, repr(dict(r.metrics))) for r in rungs]


def stop_after(asked: int) -> Callable[[], bool]:
    """Says yes from the question number ``asked`` (from zero) on."""
    questions = iter(range(1_000_000))
    return lambda: next(questions) >= asked


def climb_with_stops(
    config: TrialConfig, folder: Path, lengths: Sequence[float], every: int, **options: Any
) -> tuple[list[RungDone], int]:
    """Climbs, stopped after each ``every`` questions, until it gets through; counts the stops."""
    for stops in range(100):
        try:
            return climb(config, folder, lengths, stop=stop_after(every), **options), stops
        except Stopped:
            continue
    raise AssertionError("it never gets through")


def in_another_process(target: Callable[..., None], *arguments: Any) -> Any:
    """A started process that shares nothing with this one; torch is imported for all but once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rethink_ray.training.run"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
