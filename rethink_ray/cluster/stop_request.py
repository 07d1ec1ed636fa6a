"""A request to stop the study: from a signal, from the caller, or because of a fault.

The request is also a file, so that jobs in other processes and on other machines see it. A file
that was put there by hand stops the study, too.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PATIENCE_SECONDS = 14.0
"""From the first signal until this process ends, even if Ray hangs. A signal to the whole process
group also kills Ray's own processes, and its client then waits a minute for them."""
EXIT_POLL_SECONDS = 0.2


@dataclass(slots=True)
class StopRequest:
    """Whether the study should stop, and how urgently."""

    path: Path
    """Jobs look for this file, write a checkpoint and end."""
    is_requested_by_caller: Callable[[], bool]
    signal: int | None = None
    """The first signal that arrived."""
    times: int = 0
    """How often a stop was requested."""
    exit_at: float = math.inf
    """On the monotonic clock: a process that got a signal ends at this time at the latest."""

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        if self.times == 0 and (self.is_requested_by_caller() or self.path.exists()):
            self.request()
        return self.times > 0

    @property
    def is_urgent(self) -> bool:
        """Whether a stop was requested twice: then the study does not wait for checkpoints."""
        return self.times > 1

    def request(self, signal_number: int | None = None) -> None:
        """Every job can see the request from here on. Takes no lock: signal handlers call it."""
        self.times += 1
        self.signal = self.signal or signal_number
        if signal_number is not None:
            self.exit_at = min(self.exit_at, time.monotonic() + PATIENCE_SECONDS)
        with suppress(OSError):  # a full disk: jobs then end with this process
            self.path.touch()


def exit_now(signal_number: int, remedy: str) -> None:
    """End this process as the signal would. Nothing recorded is lost; jobs end with Ray."""
    sys.stderr.write(f"stopped without waiting for Ray; nothing recorded is lost. {remedy}\n")
    sys.stderr.flush()
    os._exit(128 + signal_number)


@contextmanager
def exit_in_time(stop_request: StopRequest, remedy: str) -> Iterator[None]:
    """Inside, this process ends soon after a signal even if its main thread hangs in Ray.

    ``remedy`` tells the user how to continue the study.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(EXIT_POLL_SECONDS):
            if time.monotonic() >= stop_request.exit_at:
                exit_now(stop_request.signal or signal.SIGTERM, remedy)

    threading.Thread(target=watch, daemon=True, name="exit in time").start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def stop_on_signals(stop_request: StopRequest) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM request a stop; afterwards the old handlers are back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(signal_number: int, frame: FrameType | None) -> None:
        stop_request.request(signal_number)

    signals = (signal.SIGINT, signal.SIGTERM)
    old_handlers = {number: signal.signal(number, request) for number in signals}
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
