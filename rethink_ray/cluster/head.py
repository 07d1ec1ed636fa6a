"""Whether the head of the cluster still answers.

Ray's client waits a minute for a head that died and then ends its process without a word of ours; a
driver that has lost its head says so first, and how to go on.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_SECONDS = 5.0
LOOKS = 8
"""A head that refuses so often in a row is gone; one that is restarted comes back before that."""
INCOMPLETE = 3
"""Exit code: the machine's fault, run again."""


@contextmanager
def watched_head(address: str, remedy: str) -> Iterator[None]:
    """Inside the block this process ends if nothing listens at ``address`` (host:port) any more."""
    over = threading.Event()

    def watch() -> None:
        silent = 0
        while not over.wait(LOOK_SECONDS):
            silent = 0 if answers(address) else silent + 1
            if silent == LOOKS:
                sys.stderr.write(f"incomplete: the head of the Ray cluster is gone. {remedy}\n")
                sys.stderr.flush()
                os._exit(INCOMPLETE)

    threading.Thread(target=watch, daemon=True, name="watched head").start()
    try:
        yield
    finally:
        over.set()


def answers(address: str) -> bool:
    """Whether something listens there; a name or network that fails counts as silence."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS):
            return True
    except OSError:
        return False
