"""A request to stop, without Ray: signals, the file, and the end of a process that hangs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rethink_ray.cluster.stop_request import StopRequest, stop_on_signals
from tests.golden_words import assert_says

DEAF = """
import sys, threading
from pathlib import Path
from rethink_ray.cluster import stop_request

stop_request.PATIENCE_SECONDS = 0.1
request = stop_request.StopRequest(Path(sys.argv[1]), lambda: False)
exit_in_time = stop_request.exit_in_time(request, "Go on with: rethink-ray resume here")
with exit_in_time, stop_request.stop_on_signals(request):
    print("ready", flush=True)
    threading.Event().wait()  # as a client waits for a Ray that was killed
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_hangs_ends_by_itself_after_a_signal_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF, str(tmp_path / "stop")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number
    assert said.endswith("Go on with: rethink-ray resume here\n")
    assert_says("cluster", "end of a process that hangs", said.splitlines()[-1])
    assert (tmp_path / "stop").exists()


def test_a_signal_is_a_request_that_jobs_can_see_and_a_second_one_is_urgent(tmp_path: Path) -> None:
    stop_request = StopRequest(tmp_path / "stop", lambda: False)
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals(stop_request):
        assert not stop_request()
        signal.raise_signal(signal.SIGTERM)
        assert stop_request()
        assert (stop_request.signal, stop_request.is_urgent) == (signal.SIGTERM, False)
        assert stop_request.path.exists()
        signal.raise_signal(signal.SIGINT)
        assert (stop_request.signal, stop_request.is_urgent) == (signal.SIGTERM, True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_file_that_was_put_there_by_hand_is_a_request_too(tmp_path: Path) -> None:
    stop_request = StopRequest(tmp_path / "stop", lambda: False)
    assert not stop_request()
    (tmp_path / "stop").touch()
    assert stop_request()
    assert stop_request.signal is None


def test_a_request_that_the_disk_refuses_is_still_a_request(tmp_path: Path) -> None:
    stop_request = StopRequest(tmp_path / "gone" / "stop", lambda: False)
    stop_request.request(signal.SIGTERM)
    assert stop_request()
