"""Writes files in a thread, while training goes on. One file is written at a time, in order."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import Any

from torch import Tensor

_log = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one write after another in a thread. An error of the thread is raised in the run."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._unfinished: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Start a write; the one before has finished then.

        Raises:
            Exception: the one before failed.
        """
        self.finish()
        self._unfinished = self._thread.submit(write)

    def raise_error(self) -> None:
        """Raise the error of a write that has failed; it never waits."""
        if self._unfinished is not None and self._unfinished.done():
            self.finish()

    def finish(self) -> None:
        """Wait until nothing is being written.

        Raises:
            Exception: the newest write failed.
        """
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            unfinished.result()

    def close(self) -> None:
        """Wait until nothing is being written, and end the thread.

        An error is logged, because the run may be ending by another one.
        """
        try:
            self.finish()
        except Exception:
            _log.exception("a checkpoint could not be written")
        self._thread.shutdown()


def copy_to_host(value: Any) -> Any:
    """A copy of a checkpoint's content, whose tensors lie on the CPU and change no more."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copied = copy(value)  # a state dict carries the versions of its modules
        copied.update({key: copy_to_host(part) for key, part in value.items()})
        return copied
    if isinstance(value, list):
        return [copy_to_host(part) for part in value]
    if type(value) is tuple:
        return tuple(copy_to_host(part) for part in value)
    return value
