"""What a driver sees of its running jobs, on this machine and through a store."""

import time
from pathlib import Path

import pytest
from micro_study import micro_study

from rethink_ray.cluster.run_watch import RunWatch
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.losses import LOSS_FILE, LossRow, append_losses
from rethink_ray.records.run_progress import JobProgress, read_progress
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import JobStarted
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.session import start_study
from tests.builders import made_up_facts
from tests.object_store import object_store
from tests.search.search_builders import ap_of

FACTS = made_up_facts({"full": 12})
ALONE = {"regimes": {"full": {"images": "all"}}, "arms": {"scratch": {}}}


def start(where: Path | str) -> tuple[StudyDirectory, StudyState, Job]:
    """A study whose first job has just started."""
    directory = start_study(where, micro_study(**ALONE), "", FACTS, {})
    state = StudyState()
    decider = Decider(directory.study, FACTS)
    for proposed in decider.next_jobs(state).rounds:
        state.add(proposed)
    job = decider.next_jobs(state).jobs[0]
    started = time.time() - 60.0
    state.add(
        JobStarted(job_id=job.job_id, trial_id=job.trial_id, asset=None, host="h", at=started)
    )
    return directory, state, job


def note(root: Path, job: Job, step: int, at: float) -> None:
    row = LossRow(length=2.0, on_branch=False, step=step, total_steps=8, loss=0.5, at=at)
    path = root / job.folder / LOSS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    append_losses(path, [row])


def seen_by(watch: RunWatch, state: StudyState, job: Job) -> JobProgress:
    seen = watch.look(state, {job.job_id: job}, 2, now=True)
    assert seen is not None
    (progress,) = seen.jobs
    return progress


def test_a_driver_sees_the_updates_of_a_job_and_not_those_of_an_earlier_one(tmp_path: Path) -> None:
    directory, state, job = start(tmp_path / "s")
    watch = RunWatch(directory)
    assert watch.look(state, {}, 2) is not None
    assert watch.look(state, {}, 2) is None, "not yet time to look again"
    assert seen_by(watch, state, job).length is None
    note(directory.root, job, 4, time.time() - 120.0)
    assert seen_by(watch, state, job).length is None, "an earlier job of this trial noted that"
    note(directory.root, job, 5, time.time())
    progress = seen_by(watch, state, job)
    assert (progress.length, progress.updates_done, progress.updates) == (2.0, 6, 8)
    assert progress.loss == 0.5
    read = read_progress(directory)
    assert read is not None
    assert read.jobs == (progress,)
    assert read.left is None, "no rung is finished, so no pace is known"


def test_the_hours_that_are_left_are_known_after_the_first_rung(tmp_path: Path) -> None:
    directory, state, _ = start(tmp_path / "s")
    cluster = SimulatedCluster(directory.study, FACTS, ap_of, slots=1, state=state)
    cluster.records_seconds = True
    cluster.run(max_events=1)
    seen = RunWatch(directory).look(state, {}, 2, now=True)
    assert seen is not None
    assert seen.left is not None
    assert 0.0 < seen.left.low < seen.left.expected < seen.left.high


def test_the_notes_of_another_machine_come_through_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path / "a")
    with object_store() as pattern:
        uri = pattern.format("watched")
        directory, state, job = start(uri)
        watch = RunWatch(directory)
        assert seen_by(watch, state, job).length is None
        note(tmp_path / "elsewhere", job, 5, time.time())
        WorkingCopy(uri, tmp_path / "elsewhere").push(job.folder)
        assert seen_by(watch, state, job).updates_done == 6
        monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path / "b")
        read = read_progress(StudyDirectory.open(uri))
        assert read is not None
        assert read.jobs[0].updates_done == 6
