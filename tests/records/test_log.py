"""The log keeps every whole event, loses a torn one, and refuses a damaged one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from rethink_ray.records.log import EVENT_KINDS, RecordLog, decode, encode
from rethink_ray.records.types import (
    AssetDone,
    ComparisonState,
    Event,
    JobFailed,
    JobStarted,
    LookTaken,
    Member,
    Resumed,
    RoundProposed,
    RunCut,
    RungDone,
    TrialEnded,
)
from rethink_ray.spec.errors import RecordError
from tests.full_disk import file_size_limit
from tests.refusals import refused

MEMBER = Member(
    trial_id="abc", params={"optimizer.lr": 0.0123456, "detector.norm": "gn", "x": None}, seed=7
)
STARTED_FROM = replace(MEMBER, trial_id="abd", assets=("direct-1", "teacher-2"))
EVENTS: list[Event] = [
    RoundProposed(
        regime="full",
        arm="scratch",
        number=0,
        purpose="search",
        members=(MEMBER, STARTED_FROM, replace(MEMBER, trial_id="abe", assets=())),
        at=1.5,
    ),
    JobStarted(job_id="abc-2x", trial_id="abc", asset=None, host="h", at=2.0),
    RungDone(
        trial_id="abc",
        length=2.0,
        steps=120,
        metrics={"val/ap": 0.1 + 0.2, "val/ap_l": math.inf},
        seconds_train=1.0,
        seconds_score=0.5,
        steps_new=120,
        data_faults={"clamped": 3},
    ),
    TrialEnded(trial_id="abc", outcome="diverged", reason="loss was nan", step=3),
    AssetDone(key="k", kind="classifier", metrics={"accuracy": 0.5, "chance": 0.05}, seconds=9.0),
    JobFailed(job_id="abc-2x", reason="killed ✗"),
    Resumed(trials=8, replicates=3, lengths=(2.0, 4.0)),
    RunCut(hours=1.5, waiting=("abc-4x", "abd-4x")),
    LookTaken(
        number=1,
        replicates=5,
        comparisons=(
            ComparisonState(
                key="full: a",
                cells=("full/scratch", "full/pretrained"),
                verdict="supported",
                stopped_at=3,
                p_value=0.001,
            ),
            ComparisonState(key="full: b", cells=(), verdict="open", more=2),
        ),
        running=("full/scratch", "full/frozen"),
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_every_kind_of_event_is_read_back_as_it_was_written(tmp_path: Path, event: Event) -> None:
    log = RecordLog(tmp_path / "records" / "log.jsonl")
    log.append(event)
    assert RecordLog(log.path).read() == [event]


def test_every_kind_of_event_is_tried_above() -> None:
    assert {type(event) for event in EVENTS} == set(EVENT_KINDS.values())


def test_a_line_is_ascii_json_that_names_its_event() -> None:
    line = encode(EVENTS[5])
    assert line.isascii()
    assert json.loads(line)["event"] == "job_failed"


def test_a_metric_that_is_not_a_number_survives() -> None:
    rung = RungDone(
        trial_id="a",
        length=2.0,
        steps=1,
        metrics={"val/ap_s": math.nan},
        seconds_train=0.0,
        seconds_score=0.0,
        steps_new=1,
    )
    back = decode(json.loads(encode(rung)))
    assert isinstance(back, RungDone)
    assert math.isnan(back.metrics["val/ap_s"])


@pytest.mark.parametrize("left", [1, 10, 40])
def test_a_torn_last_line_is_dropped_and_the_next_event_follows_the_whole_ones(
    tmp_path: Path, left: int
) -> None:
    path = tmp_path / "log.jsonl"
    log = RecordLog(path)
    log.append(EVENTS[0])
    log.append(EVENTS[3])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + left])
    again = RecordLog(path)
    assert again.read() == [EVENTS[0]]
    again.append(EVENTS[4])
    assert RecordLog(path).read() == [EVENTS[0], EVENTS[4]]


@pytest.mark.parametrize(
    "damage",
    [b"not json\n", b'{"event": "unknown"}\n', b'{"event": "job_failed"}\n', b"\0\0\0\n", b"[1]\n"],
)
def test_a_damaged_line_is_an_error_that_names_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "log.jsonl"
    RecordLog(path).append(EVENTS[0])
    path.write_bytes(path.read_bytes() + damage + encode(EVENTS[3]).encode() + b"\n")
    with pytest.raises(RecordError, match=r"log\.jsonl, line 2: "):
        RecordLog(path).read()


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert RecordLog(tmp_path / "none.jsonl").read() == []


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RecordLog(path)
    log.append(EVENTS[0])
    before = path.read_bytes()
    with (
        refused(RecordError, "records", "a log on a full disk", tmp_path),
        file_size_limit(len(before) + 20),
    ):
        log.append(EVENTS[0])
    assert path.read_bytes() == before


@pytest.mark.parametrize("torn", [b"", b"{", b"x" * 10_000, b"\0" * 5000])
def test_the_size_is_that_of_whole_lines(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    log = RecordLog(path)
    assert log.size() == 0
    for event in EVENTS:
        log.append(event)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + torn)
    assert log.size() == whole
    path.write_bytes(torn)
    assert log.size() == 0


def test_a_log_that_failed_to_take_a_line_takes_the_next_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RecordLog(path)
    log.append(EVENTS[0])
    whole = path.read_bytes()
    with file_size_limit(len(whole)), pytest.raises(RecordError, match=r"log\.jsonl"):
        log.append(EVENTS[3])
    path.write_bytes(path.read_bytes() + b'{"event": "torn')  # as if cutting back had failed too
    log.append(EVENTS[4])
    assert RecordLog(path).read() == [EVENTS[0], EVENTS[4]]


def test_a_log_that_is_read_again_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writer, reader = RecordLog(path), RecordLog(path)
    assert reader.read() == []
    for number, event in enumerate(EVENTS, start=1):
        writer.append(event)
        assert reader.read() == EVENTS[:number]
    line = encode(EVENTS[3]).encode() + b"\n"
    with path.open("ab") as file:
        file.write(line[:10])
    assert reader.read() == EVENTS
    with path.open("ab") as file:
        file.write(line[10:])
    assert reader.read() == [*EVENTS, EVENTS[3]]


@pytest.mark.parametrize("rename", [True, False])
def test_a_log_that_was_replaced_is_read_from_its_beginning(tmp_path: Path, rename: bool) -> None:
    path = tmp_path / "log.jsonl"
    log = RecordLog(path)
    for event in EVENTS:
        log.append(event)
    assert log.read() == EVENTS
    restored = tmp_path / "copy.jsonl"
    restored.write_text(encode(EVENTS[4]) + "\n" + "".join(encode(e) + "\n" for e in EVENTS))
    if rename:
        restored.replace(path)
        assert log.read() == [EVENTS[4], *EVENTS]
    else:  # written over in place by a shorter one
        path.write_text(encode(EVENTS[4]) + "\n")
        assert log.read() == [EVENTS[4]]
