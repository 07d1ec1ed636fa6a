"""Trackers get every point once, whatever happened before, and can stop nothing."""

import importlib.util
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rethink_ray.cluster.trackers.factory import tracker_names
from rethink_ray.cluster.trackers.feed import Feed
from rethink_ray.cluster.trackers.points import Point
from rethink_ray.cluster.trackers.tensorboard_files import EVENT_FILE_PREFIX, TensorBoardFiles
from rethink_ray.records.losses import LossRow
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, Member, Resumed, RoundProposed, RungDone, TrialEnded
from rethink_ray.spec.errors import SpecError
from tests.golden_words import assert_says

PARAMS = {"optimizer.lr": 0.0125, "detector.norm": "gn", "optimizer.clip": None}
MEMBERS = tuple(Member(trial_id=t, params=PARAMS, seed=7) for t in ("aaa", "bbb"))
ROUND = RoundProposed(regime="full", arm="scratch", number=0, purpose="search", members=MEMBERS)
ENDED = TrialEnded(trial_id="bbb", outcome="diverged", reason="loss", step=3, at=5.0)


def rung(length: float, trial_id: str = "aaa") -> RungDone:
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=int(10 * length),
        metrics={"val/ap": length + 0.5, "val/ap_l": float("nan"), "train/loss": 1.0 / length},
        seconds_train=1.0,
        seconds_score=1.0,
        steps_new=10,
        at=1000.0 + length,
    )


def told(feed: Feed, *events: Event) -> None:
    """The events of a run that goes on, after the one that says so."""
    for event in (Resumed(trials=2, replicates=1, lengths=()), *events):
        feed(event)
    assert feed.close(120.0)


def feed_events(folder: Path, before: list[Event], new: list[Event]) -> None:
    told(Feed("s", lambda: StudyState(before), [TensorBoardFiles(folder)]), *new)


def records_in(path: Path) -> Iterator[bytes]:
    """A TFRecord file: length, its checksum, the bytes, their checksum."""
    from tensorboardX.record_writer import masked_crc32c

    raw, at = path.read_bytes(), 0
    while at < len(raw):
        (size,) = struct.unpack_from("<Q", raw, at)
        content = raw[at + 12 : at + 12 + size]
        (checksum,) = struct.unpack_from("<I", raw, at + 12 + size)
        assert checksum == masked_crc32c(content)
        yield content
        at += 16 + size


def scalars_in(folder: Path) -> list[tuple[str, int, float, float]]:
    """(tag, step, value, time) of every scalar, in the order TensorBoard reads the files."""
    from tensorboardX.proto.event_pb2 import Event as TensorBoardEvent

    found = []
    for path in sorted(folder.glob("*tfevents*")):
        for content in records_in(path):
            event = TensorBoardEvent.FromString(content)
            for value in event.summary.value:
                if not value.HasField("metadata"):
                    found.append((value.tag, event.step, value.simple_value, event.wall_time))
    return found


def test_a_rung_brings_the_losses_of_its_updates(tmp_path: Path) -> None:
    def row(length: float, step: int, loss: float, *, on_branch: bool) -> LossRow:
        steps = int(10 * length)
        return LossRow(
            length=length, on_branch=on_branch, step=step, total_steps=steps, loss=loss, at=7.0
        )

    rows = [
        row(2.0, 0, 4.0, on_branch=False),
        row(2.0, 15, 2.0, on_branch=True),
        row(4.0, 15, 3.0, on_branch=False),
        row(4.0, 16, float("nan"), on_branch=False),
    ]
    tracker = TensorBoardFiles(tmp_path, lambda trial_id: rows if trial_id == "aaa" else [])
    told(Feed("s", lambda: StudyState([ROUND]), [tracker]), rung(2), rung(4))
    curves = [s for s in scalars_in(tmp_path / "full/scratch/aaa") if "loss_curve" in s[0]]
    assert curves == [
        ("train/loss_curve/trunk", 0, 4.0, 7.0),
        ("train/loss_curve/2x", 15, 2.0, 7.0),
        ("train/loss_curve/trunk", 15, 3.0, 7.0),
    ]


def test_a_trial_has_a_folder_with_its_scalars_at_its_updates_and_its_values(
    tmp_path: Path,
) -> None:
    feed_events(tmp_path, [], [ROUND, rung(2), rung(4), ENDED])
    mine = tmp_path / "full" / "scratch" / "aaa"
    assert scalars_in(mine) == [
        ("train/loss", 20, 0.5, 1002.0),
        ("val/ap", 20, 2.5, 1002.0),
        ("train/loss", 40, 0.25, 1004.0),
        ("val/ap", 40, 4.5, 1004.0),
    ]
    start = (mine / f"{EVENT_FILE_PREFIX}.0000000000.start").read_bytes()
    assert b"optimizer.lr" in start
    assert b"optimizer.clip" not in start
    ended = scalars_in(tmp_path / "full" / "scratch" / "bbb")
    assert ended == [("ended/diverged", 3, 1.0, 5.0)]


def test_a_resumed_study_goes_on_in_the_same_folder_without_a_doubled_point(tmp_path: Path) -> None:
    feed_events(tmp_path, [], [ROUND, rung(2)])
    feed_events(tmp_path, [ROUND, rung(2)], [rung(2), rung(4)])
    feed_events(tmp_path, [ROUND, rung(2), rung(4), ENDED], [])
    points = scalars_in(tmp_path / "full" / "scratch" / "aaa")
    assert [(tag, step) for tag, step, _, _ in points if tag == "val/ap"] == [
        ("val/ap", 20),
        ("val/ap", 40),
    ]


def test_points_that_a_kill_kept_from_the_tracker_come_with_the_next_run(tmp_path: Path) -> None:
    feed_events(tmp_path, [ROUND, rung(2.5), rung(4), ENDED], [])
    assert TensorBoardFiles(tmp_path).logged_keys() == {"aaa-2.5x", "aaa-4x", "bbb-ended"}
    assert not list(tmp_path.rglob("*.part"))


def test_a_process_that_may_not_write_the_study_logs_no_point(tmp_path: Path) -> None:
    """Whoever is refused the study's lock never sees an event, and must not log another's."""
    feed = Feed("s", lambda: StudyState([ROUND, rung(2)]), [TensorBoardFiles(tmp_path / "tb")])
    assert feed.close()
    assert not (tmp_path / "tb").exists()


class Refusing:
    """A tracker whose server is down for its first requests."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked: list[str] = []
        self.taken: list[str] = []

    def logged_keys(self) -> set[str]:
        return set()

    def log(self, point: Point) -> None:
        self.asked.append(point.key)
        if len(self.asked) <= self.refusals:
            raise ConnectionError("no answer")
        self.taken.append(point.key)


def test_a_tracker_that_fails_stops_neither_the_study_nor_the_other_trackers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, late = Refusing(99), Refusing(1)
    feed = Feed("s", StudyState, [broken, late, TensorBoardFiles(tmp_path)])
    told(feed, ROUND, rung(2), rung(4), rung(6), rung(8), rung(10))
    assert broken.asked == ["aaa-2x", "aaa-4x", "aaa-6x"], "left alone after three in a row"
    assert late.taken == ["aaa-4x", "aaa-6x", "aaa-8x", "aaa-10x"]
    assert len(TensorBoardFiles(tmp_path).logged_keys()) == 5
    texts = "\n".join(caplog.messages)
    assert_says("cluster", "trackers that fail", texts)


def test_writing_event_files_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rethink_ray.cluster.trackers.tensorboard_files import TensorBoardFiles\n"
        f"TensorBoardFiles(Path({str(tmp_path)!r})).logged_keys()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_trackers_are_named_in_one_option() -> None:
    assert tracker_names("tensorboard, mlflow") == ("tensorboard", "mlflow")
    assert tracker_names("none") == ()
    with pytest.raises(SpecError, match="tensorbord"):
        tracker_names("tensorbord")


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="extra 'mlflow'")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_one_run_per_trial_with_each_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    from rethink_ray.cluster.trackers.mlflow_runs import TRIAL_TAG, MlflowRuns

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for before, new in (([], [ROUND, rung(2)]), ([ROUND, rung(2)], [rung(4), ENDED])):
        state = StudyState(before)
        told(Feed("s", lambda s=state: s, [MlflowRuns("s", tmp_path)]), *new)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    runs = {r.data.tags[TRIAL_TAG]: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"aaa", "bbb"}
    history = client.get_metric_history(runs["aaa"].info.run_id, "val/ap")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (20, 2.5, 1002000),
        (40, 4.5, 1004000),
    ]
    assert runs["aaa"].data.params["optimizer.lr"] == "0.0125"
    assert runs["bbb"].data.tags["rethink_ray.ended"] == "diverged: loss"
    assert (runs["aaa"].info.status, runs["bbb"].info.status) == ("FINISHED", "FAILED")


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="extra 'wandb'")
@pytest.mark.filterwarnings("ignore")
def test_wandb_is_handed_each_point_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rethink_ray.cluster.trackers.wandb_runs import WandbRuns

    monkeypatch.setenv("WANDB_MODE", "offline")
    for before, new in (([], [ROUND, rung(2)]), ([ROUND, rung(2)], [rung(4)])):
        state = StudyState(before)
        told(Feed("s", lambda s=state: s, [WandbRuns("s", tmp_path)]), *new)
    assert WandbRuns("s", tmp_path).logged_keys() == {"aaa-2x", "aaa-4x"}
    runs = sorted((tmp_path / "wandb").glob("offline-run-*-aaa"))
    assert len(runs) == 2, "one part of the run per point"
