"""A disk that takes no more: the run ends as incomplete, and what was recorded stays."""

import errno
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from micro_study import start_micro

from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.run import is_disk_failure, run_study
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import is_running
from rethink_ray.records.types import JobFailed
from rethink_ray.spec.errors import RecordError
from tests.golden_words import assert_says


@contextmanager
def files_at_most(num_bytes: int) -> Iterator[None]:
    """Inside the block the kernel refuses to let any file of this process grow beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def with_records(root: Path) -> StudyDirectory:
    """A study whose log is longer than the small files beside it, and shorter than its views."""
    directory = start_micro(root)
    recorder = Recorder(directory)
    for number in range(20):
        recorder.record(JobFailed(job_id=f"{number}-2x", reason="killed" * 5))
    return directory


def test_a_log_that_cannot_grow_ends_the_run_before_ray_starts_and_says_why(
    tmp_path: Path,
) -> None:
    directory = with_records(tmp_path / "study")
    before = directory.log.read()
    with files_at_most(directory.log.size() + 10):
        outcome = run_study(directory)
    assert outcome.status == "incomplete"
    assert "log.jsonl" in outcome.fault
    assert StudyDirectory.open(directory.root).log.read() == before
    assert not is_running(directory.lock_path)


def test_only_a_disk_that_takes_no_more_makes_an_error_the_machines() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    record = RecordError("log.jsonl: must take one more line")
    record.__cause__ = full
    assert is_disk_failure(full)
    assert is_disk_failure(record)
    assert not is_disk_failure(FileNotFoundError(errno.ENOENT, "No such file"))
    assert not is_disk_failure(RecordError("log.jsonl, line 3: must be an event"))


def test_views_that_cannot_be_written_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = with_records(tmp_path / "study")
    recorder = Recorder(directory)
    with files_at_most(1000):
        recorder.refresh_views(now=True)
    [text] = caplog.messages
    text = re.sub(r"\(.*\)", "(ERROR)", text)
    assert_says("cluster", "views that cannot be written", text)
    assert not (directory.root / "rungs.parquet").exists()
    recorder.refresh_views(now=True)
    assert (directory.root / "rungs.parquet").exists()
