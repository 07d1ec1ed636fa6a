from collections.abc import Iterator
from pathlib import Path

import pytest

from rethink_ray.records.log import RecordLog
from rethink_ray.records.segments import SegmentLog
from rethink_ray.records.store import Store, is_uri, without_secrets
from rethink_ray.records.types import Event, JobFailed
from rethink_ray.spec.errors import RecordError
from tests.object_store import object_store
from tests.refusals import refused


@pytest.fixture(scope="module")
def pattern() -> Iterator[str]:
    with object_store() as uri:
        yield uri


@pytest.fixture
def store(pattern: str, request: pytest.FixtureRequest) -> Store:
    return Store(pattern.format(request.node.name))


def failure(number: int) -> Event:
    return JobFailed(job_id=f"job-{number}", reason="lost", at=float(number))


def test_an_object_is_what_was_written_last_and_nothing_before(store: Store) -> None:
    assert store.read("a/b.txt") is None
    assert not store.exists("a/b.txt")
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"three")
    assert store.read("a/b.txt") == b"three"
    assert [(name, stamp.size) for name, stamp in store.list("a").items()] == [("a/b.txt", 5)]
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert store.list("a") == {}


def test_a_store_that_does_not_answer_names_object_and_remedy_but_no_secret() -> None:
    store = Store("s3://key:word@studies/x?endpoint_override=127.0.0.1:9&scheme=http&region=a")
    with pytest.raises(RecordError, match="s3://studies/x/a: ") as caught:
        store.write("a", b"")
    assert "word" not in str(caught.value)


def test_a_foreign_kind_of_uri_is_refused() -> None:
    assert is_uri("s3://bucket/study")
    assert not is_uri(Path("studies/quickstart"))
    assert without_secrets("s3://k:s@b/study?region=x") == "s3://b/study"
    with pytest.raises(RecordError, match="carrier://pigeon.*s3://bucket/folder"):
        Store("carrier://pigeon")


def test_what_one_machine_appends_another_reads(store: Store, tmp_path: Path) -> None:
    written = SegmentLog(tmp_path / "here.jsonl", store, "records/log")
    read = SegmentLog(tmp_path / "there.jsonl", store, "records/log")
    assert read.read() == []
    for number in range(3):
        written.append(failure(number))
        assert read.read() == [failure(n) for n in range(number + 1)]
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
    assert RecordLog(tmp_path / "there.jsonl").read() == written.read()


def test_a_lost_local_copy_is_made_again_and_the_log_goes_on(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    SegmentLog(path, store, "log").append(failure(0))
    path.write_text("anything else\n")
    again = SegmentLog(path, store, "log")
    again.append(failure(1))
    assert again.read() == [failure(0), failure(1)]


def test_two_writers_never_write_the_same_line(store: Store, tmp_path: Path) -> None:
    one = SegmentLog(tmp_path / "one.jsonl", store, "log")
    two = SegmentLog(tmp_path / "two.jsonl", store, "log")
    one.append(failure(0))
    two.append(failure(1))
    with refused(RecordError, "records", "another writer's event"):
        one.append(failure(2))
    assert two.read() == [failure(0), failure(1)]


def test_many_segments_are_joined_and_a_crash_in_between_loses_nothing(
    store: Store, tmp_path: Path
) -> None:
    log = SegmentLog(tmp_path / "a.jsonl", store, "log")
    for number in range(5):
        log.append(failure(number))
    SegmentLog(tmp_path / "b.jsonl", store, "log", join_at=5).append(failure(5))
    names = list(store.list("log"))
    assert names == ["log/000000001-000000005.jsonl", "log/000000006-000000006.jsonl"]
    store.write("log/000000001-000000001.jsonl", b"a left-over\n")  # joined, not yet deleted
    fresh = SegmentLog(tmp_path / "c.jsonl", store, "log")
    assert fresh.read() == [failure(number) for number in range(6)]


def test_a_missing_segment_is_an_error_that_names_its_line(store: Store, tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "a.jsonl", store, "log")
    for number in range(3):
        log.append(failure(number))
    store.delete("log/000000002-000000002.jsonl")
    with pytest.raises(RecordError, match="line 2.*line 3"):
        SegmentLog(tmp_path / "b.jsonl", store, "log").read()
