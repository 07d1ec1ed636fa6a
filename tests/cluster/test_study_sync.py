"""A study at a URI, run job by job on two machines that share nothing but the store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, SHORT_SCHEDULE, micro_study, results, run_inline, start_micro

from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.sweeping import Sweeper
from rethink_ray.cluster.sync import StopObject, download_inputs, sync_events
from rethink_ray.cluster.work import run_job
from rethink_ray.data.facts import gather_facts
from rethink_ray.records.detections import detections_folder, read_detections
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.store import Store
from rethink_ray.records.types import Event
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.session import start_study
from rethink_ray.training.stopping import never_stop
from tests.object_store import object_store

SHORT: dict[str, Any] = {**ONE_REGIME, "schedule": SHORT_SCHEDULE}


def run_on(machine: Path, uri: str, num_jobs: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The study's next jobs, on a machine whose folders begin empty; how many there were."""
    monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: machine)
    directory = StudyDirectory.open(uri)
    copy = WorkingCopy(uri)
    recorder = Recorder(directory)
    dispatcher = Dispatcher(
        recorder=recorder,
        decider=Decider(directory.study, directory.facts),
        has_room=lambda running, job: not running,
        is_stopping=never_stop,
    )
    done = 0
    while done < num_jobs and isinstance(job := dispatcher.next_job(), Job):
        download_inputs(job, copy)
        for event in sync_events(job, copy, _running(job, directory, copy)):
            dispatcher.record(event)
        dispatcher.end_job(job.job_id)
        done += 1
    recorder.refresh_views(now=True)
    return done


def _running(
    job: Job, directory: StudyDirectory, copy: WorkingCopy
) -> Callable[[], Iterator[Event]]:
    return lambda: run_job(job, directory.study.data, copy.root, never_stop)


def test_machines_that_share_only_a_store_make_the_tables_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = start_micro(tmp_path / "alone", **SHORT)
    run_inline(alone)
    with object_store() as pattern:
        uri = pattern.format("micro")
        monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path / "0")
        study = micro_study(**SHORT)
        facts = gather_facts(study.data, study.regimes)
        start_study(uri, study, "study: micro\n", facts, {"torch": "any"})
        for machine in range(1, 40):
            if run_on(tmp_path / str(machine), uri, 4, monkeypatch) < 4:
                break
        monkeypatch.setattr(
            "rethink_ray.records.working_copy.cache_folder", lambda: tmp_path / "reader"
        )
        assert results(StudyDirectory.open(uri)) == results(alone)
        names = list(Store(uri).list("trials"))
        assert any(name.endswith(".pt") for name in names)
        assert machine > 2
        _has_what_replicates_found(StudyDirectory.open(uri), names)


def _has_what_replicates_found(reader: StudyDirectory, stored: list[str]) -> None:
    """A machine that ran nothing fetches it from the store, to draw images anew."""
    there = {name for name in stored if "/detections/" in name}
    rounds = [r for found in reader.load_state().rounds.values() for r in found.values()]
    replicates = {m.trial_id for r in rounds for m in r.members if m.of}
    assert {name.split("/")[1] for name in there} == replicates
    for trial_id in replicates:
        reader.fetch(detections_folder(trial_id))
    assert all(read_detections(reader.root / name).num_rows for name in there)


def test_a_request_to_stop_is_seen_through_the_store() -> None:
    with object_store() as pattern:
        store = Store(pattern.format("s"))
        assert not StopObject(store, "records/stop")()
        store.write("records/stop", b"")
        assert StopObject(store, "records/stop")()


def test_a_store_that_does_not_answer_requests_no_stop() -> None:
    gone = Store("s3://k:w@b/s?endpoint_override=127.0.0.1:9&scheme=http&region=a")
    assert not StopObject(gone, "records/stop")()


def test_checkpoints_that_no_job_needs_are_deleted_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path)
    study = micro_study(**SHORT, arms={"scratch": {}})
    facts = gather_facts(study.data, study.regimes)
    with object_store() as pattern:
        uri = pattern.format("micro")
        directory = start_study(uri, study, "study: micro\n", facts, {})
        run_on(tmp_path, uri, 40, monkeypatch)
        before = [n for n in Store(uri).list("trials") if "/trunk-" in n]
        Sweeper(directory).sweep(StudyDirectory.open(uri).load_state(), (), now=True)
        after = [n for n in Store(uri).list("trials") if "/trunk-" in n]
    assert 0 < len(after) < len(before)


def test_a_damaged_asset_is_built_again_once_and_goes_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretrained = {"pretrained": {"set": {"init.source": "upstream"}}}
    study = micro_study(**SHORT, arms=pretrained)
    facts = gather_facts(study.data, study.regimes)
    with object_store() as pattern:
        uri = pattern.format("micro")
        monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path / "0")
        start_study(uri, study, "study: micro\n", facts, {})
        run_on(tmp_path / "1", uri, 1, monkeypatch)
        store = Store(uri)
        [name] = [n for n in store.list("assets") if n.endswith("backbone.pt")]
        whole = store.read(name)
        assert whole is not None
        store.write(name, whole[:-1])
        rebuilt = []
        for machine in ("2", "3"):
            caplog.clear()
            assert run_on(tmp_path / machine, uri, 1, monkeypatch) == 1
            rebuilt.append("built again" in caplog.text)
            assert store.read(name) == whole
    assert rebuilt == [True, False]


def test_what_a_trial_starts_from_is_not_sent_home_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = {"pretrained": {"set": {"init.source": "upstream"}}}
    study = micro_study(**SHORT, arms=pretrained)
    facts = gather_facts(study.data, study.regimes)
    with object_store() as pattern:
        uri = pattern.format("micro")
        monkeypatch.setattr("rethink_ray.records.working_copy.cache_folder", lambda: tmp_path)
        start_study(uri, study, "study: micro\n", facts, {})
        run_on(tmp_path, uri, 1, monkeypatch)
        before = Store(uri).list("assets")
        run_on(tmp_path, uri, 2, monkeypatch)
        assert Store(uri).list("assets") == before
