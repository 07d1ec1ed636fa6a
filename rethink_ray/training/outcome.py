"""How a run ends: what a library's error means for it, and that all workers end alike.

A worker that meets the method's failure leaves the others waiting for a message that will never
come. It tells them first, through the store that brought them together, and then hangs up.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from rethink_ray.data.loader import died
from rethink_ray.spec.errors import Diverged, Infeasible, Misconfigured, RethinkError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.memory import is_out_of_memory, too_large
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext

OUTCOMES: dict[str, type[RethinkError]] = {
    kind.__name__: kind for kind in (Diverged, Infeasible, Misconfigured)
}
"""What the method does to itself: results, never tried again."""
LONE_VALUE = "Expected more than 1 value per channel when training"

_log = logging.getLogger(__name__)


@contextmanager
def one_outcome(config: TrialConfig, ctx: WorkerContext) -> Iterator[None]:
    """Inside, errors are told apart (method or machine), and one worker's outcome is everyone's.

    Raises:
        Diverged, Infeasible, Misconfigured: this worker's, or the one that another met first.
        LoaderDied: the machine's fault, like everything else that gets out.
    """
    key = f"outcome of {config.trial_id}"
    try:
        yield
    except Stopped:  # agreed by all
        raise
    except Exception as error:
        own = _meaning_of(config, error)
        if ctx.world_size > 1:
            own = _agreed(key, own)
            _hang_up(ctx)
        if own is error:
            raise
        raise own from error


def _meaning_of(config: TrialConfig, error: Exception) -> Exception:
    if is_out_of_memory(error):
        return too_large(config, error)
    if isinstance(error, ValueError) and str(error).startswith(LONE_VALUE):
        must = "needs two values or more in each channel to normalise by"
        remedy = "Use norm gn, or a larger batch_size, fewer workers or larger images."
        norm = f"detector.norm {config.recipe.detector.norm}"
        return Infeasible(explain(norm, must, str(error), remedy))
    if isinstance(error, RuntimeError):
        return died(error) or error
    return error


def _agreed(key: str, own: Exception) -> Exception:
    """The outcome that a worker met first; this one's own error if none met any."""
    try:
        store = dist.distributed_c10d._get_default_store()
        _held[:] = [store]
        if type(own).__name__ in OUTCOMES:
            told = {"kind": type(own).__name__, "message": str(own)}
            told["step"] = str(getattr(own, "step", -1))
            return _decoded(store.compare_set(key, "", json.dumps(told)))
        return _decoded(store.get(key)) if store.check([key]) else own
    except Exception as error:
        _log.info("nothing can be told to or learnt from the other workers: %s", error)
        return own


_held: list[Any] = []
"""One worker's process serves the store: it must outlive the connection, others still read it."""


def _decoded(text: bytes) -> RethinkError:
    told = json.loads(text)
    if told["kind"] == Diverged.__name__:
        return Diverged(told["message"], int(told["step"]))
    return OUTCOMES[told["kind"]](told["message"])


def _hang_up(ctx: WorkerContext) -> None:
    """Whoever waits for this worker learns at once that it will not come.

    NCCL's messages are cut off; the others notice when their own time is up, or when the caller
    ends them.
    """
    with suppress(Exception):
        if ctx.device.type == "cuda":
            dist.distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()
