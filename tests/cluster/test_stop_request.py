"""A wish to stop, without Ray: signals, the file, and the end of a process that does not listen."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rethink_ray.cluster.stop_request import StopRequest, signals

DEAF = """
import sys, threading
from pathlib import Path
from rethink_ray.cluster import stop_request

stop_request.PATIENCE_SECONDS = 0.1
told = stop_request.StopRequest(Path(sys.argv[1]), lambda: False)
last_resort = stop_request.last_resort(told, "Go on with: rethink-ray resume here")
with last_resort, stop_request.signals(told):
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
    assert said.endswith("nothing recorded is lost. Go on with: rethink-ray resume here\n")
    assert (tmp_path / "stop").exists()


def test_a_signal_is_a_wish_that_jobs_can_see_and_a_second_one_is_urgent(tmp_path: Path) -> None:
    wish = StopRequest(tmp_path / "stop", lambda: False)
    before = signal.getsignal(signal.SIGTERM)
    with signals(wish):
        assert not wish()
        signal.raise_signal(signal.SIGTERM)
        assert wish()
        assert (wish.signal, wish.urgent) == (signal.SIGTERM, False)
        assert wish.path.exists()
        signal.raise_signal(signal.SIGINT)
        assert (wish.signal, wish.urgent) == (signal.SIGTERM, True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_file_that_somebody_put_there_is_a_wish_too(tmp_path: Path) -> None:
    wish = StopRequest(tmp_path / "stop", lambda: False)
    assert not wish()
    (tmp_path / "stop").touch()
    assert wish()
    assert wish.signal is None


def test_a_wish_that_the_disk_refuses_is_still_a_wish(tmp_path: Path) -> None:
    wish = StopRequest(tmp_path / "gone" / "stop", lambda: False)
    wish.say(signal.SIGTERM)
    assert wish()
