"""Ends the driver, with a message, when the head of the cluster no longer answers.

Without this, Ray's client waits a minute for a head that died and then ends the process without
telling the user how to continue.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEAD_POLL_SECONDS = 5.0
MOST_MISSES = 8
"""A head that refuses this often in a row is gone; one that restarts answers before that."""
INCOMPLETE = 3
"""Exit code of a failure of the machine."""


@contextmanager
def exit_if_head_is_gone(address: str, remedy: str) -> Iterator[None]:
    """Inside, this process ends when nothing listens at ``address`` (host:port) any more.

    ``remedy`` tells the user how to continue the study.
    """
    is_over = threading.Event()

    def watch() -> None:
        misses = 0
        while not is_over.wait(HEAD_POLL_SECONDS):
            misses = 0 if answers(address) else misses + 1
            if misses == MOST_MISSES:
                sys.stderr.write(f"incomplete: the head of the Ray cluster is gone. {remedy}\n")
                sys.stderr.flush()
                os._exit(INCOMPLETE)

    threading.Thread(target=watch, daemon=True, name="watched head").start()
    try:
        yield
    finally:
        is_over.set()


def answers(address: str) -> bool:
    """Whether something listens at ``host:port``; an unknown name or a failing network is a no."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=HEAD_POLL_SECONDS):
            return True
    except OSError:
        return False
