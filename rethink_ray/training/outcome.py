"""How a run ends: a library's error becomes an outcome, the same on all workers.

A worker that fails leaves the others waiting for a message that never comes. So it first writes its
outcome into the store that all workers share, and then closes its connections.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from rethink_ray.data.loader import explain_death
from rethink_ray.spec.errors import Diverged, Infeasible, Misconfigured, RethinkError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.memory import is_out_of_memory, too_large
from rethink_ray.training.starting import DamagedAsset
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext

OUTCOMES: dict[str, type[RethinkError]] = {
    kind.__name__: kind for kind in (Diverged, Infeasible, Misconfigured)
}
"""Failures of the method. They are results; such a trial is not tried again."""
LONE_VALUE = "Expected more than 1 value per channel when training"

_log = logging.getLogger(__name__)


@contextmanager
def one_outcome(config: TrialConfig, ctx: WorkerContext) -> Iterator[None]:
    """Inside, an error of the method ends all workers with the same outcome.

    Raises:
        Diverged, Infeasible, Misconfigured: this worker's, or the one that another met first.
        LoaderDied: the machine's fault, like every other exception that leaves.
    """
    key = f"outcome of {config.trial_id}"
    try:
        yield
    except (Stopped, DamagedAsset):  # all workers raise these together
        raise
    except Exception as error:
        outcome = _interpret(config, error)
        if ctx.world_size > 1:
            outcome = _agree_on_outcome(key, outcome)
            _close_connections(ctx)
        if outcome is error:
            raise
        raise outcome from error


def _interpret(config: TrialConfig, error: Exception) -> Exception:
    """The outcome that a library's error means; other errors as they are."""
    if is_out_of_memory(error):
        return too_large(config, error)
    if isinstance(error, ValueError) and str(error).startswith(LONE_VALUE):
        must = "needs two values or more in each channel to normalise by"
        remedy = "Use norm gn, or a larger batch_size, fewer workers or larger images."
        norm = f"detector.norm {config.recipe.detector.norm}"
        return Infeasible(explain(norm, must, str(error), remedy))
    if isinstance(error, RuntimeError):
        return explain_death(error) or error
    return error


def _agree_on_outcome(key: str, error: Exception) -> Exception:
    """The outcome of the worker that failed first; ``error`` if no worker has one."""
    try:
        store = dist.distributed_c10d._get_default_store()
        _open_stores[:] = [store]
        if type(error).__name__ in OUTCOMES:
            outcome = {"kind": type(error).__name__, "message": str(error)}
            outcome["step"] = str(getattr(error, "step", -1))
            return _decode(store.compare_set(key, "", json.dumps(outcome)))
        return _decode(store.get(key)) if store.check([key]) else error
    except Exception as failure:
        _log.info("the workers' shared store does not answer: %s", failure)
        return error


_open_stores: list[Any] = []
"""Keeps the store open after the connections are closed: rank 0 serves it, others still read."""


def _decode(text: bytes) -> RethinkError:
    outcome = json.loads(text)
    if outcome["kind"] == Diverged.__name__:
        return Diverged(outcome["message"], int(outcome["step"]))
    return OUTCOMES[outcome["kind"]](outcome["message"])


def _close_connections(ctx: WorkerContext) -> None:
    """Workers that wait for this one get an error instead of waiting on.

    Under NCCL they get it only when their own timeout is over, or when the caller ends them.
    """
    with suppress(Exception):
        if ctx.device.type == "cuda":
            dist.distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()
