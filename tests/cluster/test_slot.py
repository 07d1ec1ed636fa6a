"""A slot's steps, called by hand: what reaches the driver, and what ends the process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from micro_study import start_micro

from rethink_ray.cluster.slot import EVENT, USER_ERROR, JobFault, Slot
from rethink_ray.cluster.work import StopFile, decode_error, decode_job, encode_job
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.log import decode_line
from rethink_ray.records.types import JobStarted, RungDone, TrialEnded
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.study import ResourceSpec


def first_job(directory: StudyDirectory) -> Job:
    state = directory.load_state()
    decider = Decider(directory.study, directory.facts)
    for proposed in decider.next_jobs(state).rounds:
        state.add(proposed)
    return decider.next_jobs(state).jobs[0]


def slot_with(directory: StudyDirectory, job: Job) -> Slot:
    slot = Slot.__new__(Slot)
    slot.setup(
        {
            "job": encode_job(job),
            "root": str(directory.root),
            "uri": "",
            "data": directory.study.data.model_dump_json(),
            "stop": str(directory.stop_path),
            "folder": str(Path.cwd()),
        }
    )
    return slot


def steps(slot: Slot) -> list[dict[str, Any]]:
    found = [slot.step()]
    while not found[-1].get("done"):
        found.append(slot.step())
    return found


def scratch_only(tmp_path: Path, **settings: Any) -> StudyDirectory:
    return start_micro(
        tmp_path / "study",
        arms={"scratch": {"set": settings}},
        regimes={"full": {"images": "all"}},
    )


def test_a_job_tells_its_start_and_each_rung_and_then_that_it_is_done(tmp_path: Path) -> None:
    directory = scratch_only(tmp_path)
    job = first_job(directory)
    told = steps(slot_with(directory, job))
    events = [decode_line(step[EVENT]) for step in told[:-1]]
    assert [type(event) for event in events] == [JobStarted, RungDone]
    assert told[-1] == {"done": True}


def test_a_job_that_diverges_tells_how_it_ended(tmp_path: Path) -> None:
    directory = scratch_only(
        tmp_path, **{"optimizer.lr": 1e30, "optimizer.clip_norm": None, "schedule.warmup": 0}
    )
    job = first_job(directory)
    told = steps(slot_with(directory, job))
    ended = decode_line(told[1][EVENT])
    assert isinstance(ended, TrialEnded)
    assert ended.outcome == "diverged"
    assert ended.step >= 0
    story = (directory.trial_dir(str(job.trial_id)) / "failure.txt").read_text()
    assert story.startswith(job.job_id)
    assert ended.reason in story


def test_a_job_that_is_asked_to_stop_ends_without_a_word(tmp_path: Path) -> None:
    directory = scratch_only(tmp_path)
    directory.stop_path.touch()
    told = steps(slot_with(directory, first_job(directory)))
    assert [sorted(step) for step in told] == [[EVENT], ["done"]]


def test_the_users_mistake_is_told_and_not_raised(tmp_path: Path) -> None:
    directory = scratch_only(
        tmp_path,
        **{"init.source": "file", "init.weights": "gone.pt", "init.weights_norm": "gn"},
    )
    told = steps(slot_with(directory, first_job(directory)))
    error = decode_error(told[-1][USER_ERROR])
    assert isinstance(error, SpecError | DataError)
    assert "gone.pt" in str(error)


def test_an_unforeseen_error_leaves_its_whole_story_in_the_trials_folder(tmp_path: Path) -> None:
    directory = scratch_only(tmp_path)
    job = first_job(directory)
    assert job.trial_id is not None
    folder = directory.trial_dir(job.trial_id)
    (folder / "effective.json").mkdir(parents=True)  # a folder where a file must go
    slot = slot_with(directory, job)
    slot.step()
    with pytest.raises(JobFault, match="IsADirectoryError|OSError"):
        slot.step()
    story = (folder / "failure.txt").read_text()
    assert story.startswith(job.job_id)
    assert "Traceback" in story


def test_a_stop_file_is_seen_once_it_is_there(tmp_path: Path) -> None:
    asked = StopFile(tmp_path / "stop")
    assert not asked()
    (tmp_path / "stop").touch()
    fresh = StopFile(tmp_path / "stop")
    assert fresh()


def test_a_job_of_several_workers_leaves_the_cpus_to_them(tmp_path: Path) -> None:
    job = encode_job(first_job(scratch_only(tmp_path)))

    def asks(job: str = job, safe_nodes: bool = False, **resources: Any) -> list[dict[str, float]]:
        config = {
            "job": job,
            "resources": ResourceSpec(**resources).model_dump_json(),
            "safe_nodes": safe_nodes,
        }
        return list(Slot.default_resource_request(config).bundles)

    assert asks(cpus_per_worker=2) == [{"CPU": 2.0}]
    assert asks(gpus_per_worker=0.5) == [{"CPU": 1.0, "GPU": 0.5}]
    alone = encode_job(replace(decode_job(job), alone=True))
    assert asks(alone, gpus_per_worker=0.5) == [{"CPU": 1.0, "GPU": 1.0}]
    assert asks(workers=2) == [{"memory": 1}]
    assert asks(safe_nodes=True, workers=2) == [{"memory": 1, "rethink_driver": 0.001}]
    assert asks(safe_nodes=True) == [{"CPU": 1.0}]
