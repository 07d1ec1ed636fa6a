"""A driver notices that the head of its cluster is gone, without Ray."""

import socket
import subprocess
import sys

from rethink_ray.cluster.head import answers

LOST = """
import sys, threading
from rethink_ray.cluster import head

head.HEAD_POLL_SECONDS, head.MOST_MISSES = 0.05, 2
with head.exit_if_head_is_gone(sys.argv[1], "Go on with: rethink-ray resume here"):
    threading.Event().wait()  # as a client waits for its head
"""


def test_what_listens_answers_and_a_closed_port_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)


def test_a_driver_without_a_head_ends_as_incomplete_and_says_how_to_go_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    ended = subprocess.run([sys.executable, "-c", LOST, closed], capture_output=True, text=True)
    assert ended.returncode == 3
    assert ended.stderr == (
        "incomplete: the head of the Ray cluster is gone. Go on with: rethink-ray resume here\n"
    )
