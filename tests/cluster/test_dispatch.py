"""Jobs that the dispatcher hands out and records, without a cluster: answered by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from micro_study import micro_study

from rethink_ray.cluster.dispatch import Dispatcher, NoJob
from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.resume import resume_lines
from rethink_ray.cluster.work import decode_job, encode_job
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.log import RecordLog
from rethink_ray.records.types import AssetDone, JobFailed, Resumed, RunCut, RungDone, TrialEnded
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.search.time_limit import JobGate, TimeLimit
from rethink_ray.session import extend_study, start_study
from rethink_ray.spec.errors import RecordError
from tests.builders import made_up_facts

FACTS = made_up_facts({"full": 12, "small": 6})


@dataclass
class Hand:
    """A dispatcher and the levers of its surroundings."""

    directory: StudyDirectory
    slots: int = 2
    stop: bool = False
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        recorder = Recorder(self.directory)
        recorder.continue_study()
        self.dispatcher = Dispatcher(
            recorder=recorder,
            decider=Decider(self.directory.study, self.directory.facts),
            has_room=lambda running, job: len(running) < self.slots,
            is_stopping=lambda: self.stop,
        )

    def take(self) -> Job:
        job = self.dispatcher.next_job()
        assert isinstance(job, Job)
        return job

    def finish(self, job: Job) -> None:
        """Answer a job: every rung's AP is its length, so ties go to the smaller trial id."""
        if job.asset is not None:
            metrics = {"accuracy": 0.9, "chance": 0.25}
            done = AssetDone(key=job.asset.key, kind="classifier", metrics=metrics, seconds=1.0)
            self.dispatcher.record(done)
        for length in job.lengths:
            self.dispatcher.record(rung(job, length))
        self.dispatcher.end_job(job.job_id)

    def run(self) -> list[str]:
        """Job ids in the order they were finished, until there is nothing to take."""
        order = []
        while isinstance(job := self.dispatcher.next_job(), Job):
            self.finish(job)
            order.append(job.job_id)
        return order


def rung(job: Job, length: float) -> RungDone:
    assert job.trial_id is not None
    return RungDone(
        trial_id=job.trial_id,
        length=length,
        steps=round(4 * length),
        metrics={f"{split}/ap": length for split in job.splits},
        seconds_train=1.0,
        seconds_score=0.0,
        steps_new=4,
    )


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Hand]:
    def start(**changes: object) -> Hand:
        study = micro_study(**changes)
        return Hand(start_study(tmp_path / "study", study, "", FACTS, {}))

    return start


def test_no_more_jobs_run_than_the_cluster_has_slots(start: Callable[..., Hand]) -> None:
    hand = start()
    first, second = hand.take(), hand.take()
    assert first.job_id != second.job_id
    assert hand.dispatcher.next_job() is NoJob.WAIT
    hand.slots = 3
    third = hand.take()
    assert third.job_id not in (first.job_id, second.job_id)
    hand.slots = 1
    hand.finish(first)
    assert hand.dispatcher.next_job() is NoJob.WAIT


def test_one_job_is_handed_out_even_without_room_so_that_a_growing_cluster_starts_it(
    start: Callable[..., Hand],
) -> None:
    hand = start()
    hand.slots = 0
    hand.take()
    assert hand.dispatcher.next_job() is NoJob.WAIT


def test_a_round_is_in_the_log_before_its_first_job_is_handed_out(
    start: Callable[..., Hand],
) -> None:
    hand = start()
    job = next(j for j in iter(hand.take, None) if j.trial_id is not None)
    recorded = RecordLog(hand.directory.log.path).read()
    assert any(job.trial_id in {m.trial_id for m in e.members} for e in recorded)  # type: ignore[union-attr]


def test_a_study_runs_to_its_end_and_a_second_run_finds_nothing_to_do(
    start: Callable[..., Hand],
) -> None:
    hand = start()
    order = hand.run()
    # a classifier; 4 cells of 2 + 1 search jobs and 1 or more replicates
    assert len(order) >= 1 + 4 * (2 + 1 + 1)
    assert len(set(order)) == len(order)
    again = Hand(StudyDirectory.open(hand.directory.root))
    assert again.dispatcher.next_job() is NoJob.OVER
    again.dispatcher.update_status()
    assert again.dispatcher.done


def test_the_tables_do_not_depend_on_slots_or_on_where_the_driver_died(
    tmp_path: Path,
) -> None:
    from micro_study import results

    whole = Hand(start_study(tmp_path / "a", micro_study(), "", FACTS, {}), slots=1)
    whole.run()
    whole.dispatcher.recorder.refresh_views(now=True)
    broken = start_study(tmp_path / "b", micro_study(), "", FACTS, {})
    for _ in range(40):
        hand = Hand(StudyDirectory.open(broken.root), slots=3)
        jobs = [j for j in (hand.dispatcher.next_job() for _ in range(3)) if isinstance(j, Job)]
        if not jobs:
            break
        hand.finish(jobs[-1])  # the newest is finished, the others die with the driver
    hand.dispatcher.recorder.refresh_views(now=True)
    assert results(broken) == results(whole.directory)


def test_a_lost_job_is_handed_out_again_until_the_limit_and_then_blocks(
    start: Callable[..., Hand],
) -> None:
    hand = start(resources={"retries": 2}, arms={"scratch": {}}, regimes={"full": {"images": 6}})
    lost = hand.take()
    other = hand.take()
    hand.finish(other)
    for _ in range(3):
        hand.dispatcher.lose_job(lost.job_id, "killed")
        hand.dispatcher.lose_job(lost.job_id, "killed")  # told twice, counts once
        taken = hand.dispatcher.next_job()
        if isinstance(taken, Job):
            assert taken.job_id == lost.job_id
    assert taken is NoJob.OVER
    hand.dispatcher.update_status()
    assert not hand.dispatcher.done
    assert hand.dispatcher.blocked == (lost.job_id,)
    failures = [e for e in hand.directory.log.read() if isinstance(e, JobFailed)]
    assert len(failures) == 3


def test_a_job_that_is_lost_after_its_last_word_has_not_failed(start: Callable[..., Hand]) -> None:
    hand = start(resources={"retries": 0}, arms={"scratch": {}}, regimes={"full": {"images": 6}})
    job = hand.take()
    assert job.trial_id is not None
    reason = "too large for one worker's images"
    hand.dispatcher.record(TrialEnded(trial_id=job.trial_id, outcome="infeasible", reason=reason))
    hand.dispatcher.lose_job(job.job_id, "workers that wait for one that ended")
    assert not [e for e in hand.directory.log.read() if isinstance(e, JobFailed)]
    hand.run()
    hand.dispatcher.update_status()
    assert hand.dispatcher.done


ON_SHARED_GPUS = {"gpus_per_worker": 0.25, "retries": 0}


def end_infeasible(hand: Hand, job: Job) -> None:
    assert job.trial_id is not None
    end = TrialEnded(trial_id=job.trial_id, outcome="infeasible", reason="out of memory")
    hand.dispatcher.record(end)
    hand.dispatcher.end_job(job.job_id)


def test_a_trial_that_does_not_fit_a_shared_gpu_is_tried_again_alone_before_it_counts(
    start: Callable[..., Hand],
) -> None:
    hand = start(resources=ON_SHARED_GPUS, arms={"scratch": {}}, regimes={"full": {"images": 6}})
    fits_alone, never_fits = hand.take(), hand.take()
    assert not fits_alone.alone
    end_infeasible(hand, fits_alone)
    end_infeasible(hand, never_fits)
    state = hand.dispatcher.recorder.state
    assert not state.ended
    again, last = hand.take(), hand.take()
    assert (again.job_id, again.alone) == (fits_alone.job_id, True)
    assert (last.job_id, last.alone) == (never_fits.job_id, True)
    hand.finish(again)
    end_infeasible(hand, last)
    assert set(state.ended) == {never_fits.trial_id}
    assert not [e for e in hand.directory.log.read() if isinstance(e, JobFailed)]
    hand.run()
    hand.dispatcher.update_status()
    assert hand.dispatcher.done


def test_an_asset_has_a_gpu_for_itself(start: Callable[..., Hand]) -> None:
    hand = start(resources=ON_SHARED_GPUS)
    hand.slots = 20
    jobs = [job for _ in range(20) if isinstance(job := hand.dispatcher.next_job(), Job)]
    assert {job.asset is not None for job in jobs} == {True, False}
    assert all(job.alone == (job.asset is not None) for job in jobs)
    assert decode_job(encode_job(jobs[0])).alone == jobs[0].alone


@pytest.mark.parametrize("gpus", [0.0, 1.0])
def test_without_shared_gpus_a_trial_that_does_not_fit_has_ended(
    start: Callable[..., Hand], gpus: float
) -> None:
    hand = start(resources={"gpus_per_worker": gpus})
    job = next(j for j in iter(hand.take, None) if j.trial_id is not None)
    end_infeasible(hand, job)
    assert set(hand.dispatcher.recorder.state.ended) == {job.trial_id}


def test_resume_tries_a_blocked_job_again(start: Callable[..., Hand]) -> None:
    hand = start(resources={"retries": 0}, arms={"scratch": {}}, regimes={"full": {"images": 6}})
    hand.dispatcher.lose_job(hand.take().job_id, "killed")
    hand.run()
    hand.dispatcher.update_status()
    assert not hand.dispatcher.done
    again = Hand(StudyDirectory.open(hand.directory.root))
    again.run()
    again.dispatcher.update_status()
    assert again.dispatcher.done
    resumed = [e for e in hand.directory.log.read() if isinstance(e, Resumed)]
    assert [e.trials for e in resumed] == [2]


def test_a_trial_that_diverged_is_a_result_and_never_runs_again(
    start: Callable[..., Hand],
) -> None:
    hand = start(arms={"scratch": {}}, regimes={"full": {"images": 6}})
    job = hand.take()
    assert job.trial_id is not None
    ended = TrialEnded(trial_id=job.trial_id, outcome="diverged", reason="nan at 3", step=3)
    hand.dispatcher.record(ended)
    hand.dispatcher.end_job(job.job_id)
    assert all(job.trial_id not in job_id for job_id in hand.run())
    hand.dispatcher.update_status()
    assert hand.dispatcher.done


def test_a_rung_told_twice_is_recorded_once(start: Callable[..., Hand]) -> None:
    hand = start(arms={"scratch": {}})
    job = hand.take()
    hand.dispatcher.record(rung(job, 2.0))
    hand.dispatcher.record(rung(job, 2.0))
    rungs = [e for e in hand.directory.log.read() if isinstance(e, RungDone)]
    assert len(rungs) == 1
    assert rungs[0].at > 0


def test_a_stopping_study_hands_out_no_job_and_counts_no_failure(
    start: Callable[..., Hand],
) -> None:
    hand = start()
    job = hand.take()
    hand.stop = True
    assert hand.dispatcher.next_job() is NoJob.OVER
    hand.dispatcher.lose_job(job.job_id, "killed while stopping")
    assert not any(isinstance(e, JobFailed) for e in hand.directory.log.read())


def limit_to(hand: Hand, seconds: float) -> list[float]:
    """Give the hand's run so many seconds, on a clock that the returned list holds."""
    now, directory = [0.0], hand.directory
    limit = TimeLimit(hours=seconds / 0.95 / 3600, clock=lambda: now[0], began=0.0)
    study, facts = directory.study, directory.facts
    hand.dispatcher.gate = JobGate(study=study, facts=facts, limit=limit)
    return now


def test_a_run_whose_hours_end_starts_nothing_more_and_records_the_cut(
    start: Callable[..., Hand],
) -> None:
    # by the records each rung takes 1 s for 4 updates, so 3x takes about as long: 3.5 s hold some
    hand = start(arms={"scratch": {}}, regimes={"full": {"images": 6}})
    now = limit_to(hand, 3.5)
    first, second = hand.take(), hand.take()
    hand.finish(first)
    hand.finish(second)
    now[0] = 2.9
    assert hand.dispatcher.next_job() is NoJob.OVER
    now[0] = 0.0
    assert hand.dispatcher.next_job() is NoJob.OVER, "a cut is final for this run"
    cuts = [e for e in hand.directory.log.read() if isinstance(e, RunCut)]
    assert [round(cut.hours * 3600 * 0.95, 6) for cut in cuts] == [3.5]
    assert cuts[0].waiting[0].endswith("-3x")


def test_a_cut_study_goes_on_to_the_tables_of_an_uncut_one(tmp_path: Path) -> None:
    from micro_study import results

    whole = Hand(start_study(tmp_path / "a", micro_study(), "", FACTS, {}))
    whole.run()
    whole.dispatcher.recorder.refresh_views(now=True)
    cut = Hand(start_study(tmp_path / "b", micro_study(), "", FACTS, {}))
    now = limit_to(cut, 10.0)
    for _ in range(7):
        cut.finish(cut.take())
    now[0] = 9.9
    assert not cut.run()
    assert cut.dispatcher.is_cut
    again = Hand(StudyDirectory.open(cut.directory.root))
    assert again.run()
    again.dispatcher.recorder.refresh_views(now=True)
    assert results(again.directory) == results(whole.directory)


def test_a_job_survives_its_way_to_the_slot(start: Callable[..., Hand]) -> None:
    hand = start()
    for _ in range(2):
        job = hand.take()
        assert decode_job(encode_job(job)) == job


def test_more_trials_and_a_longer_ladder_repeat_no_job(start: Callable[..., Hand]) -> None:
    hand = start()
    first = hand.run()
    directory = StudyDirectory.open(hand.directory.root)
    assert extend_study(directory, trials=4, replicates=2, lengths=[5.0])
    again = Hand(StudyDirectory.open(hand.directory.root))
    second = again.run()
    again.dispatcher.update_status()
    assert again.dispatcher.done
    assert second
    assert not set(first) & set(second)
    assert again.dispatcher.recorder.state.resumed[-1].lengths == (2.0, 3.0, 5.0)


def test_continuing_says_what_is_finished_what_goes_on_and_what_is_tried_again(
    start: Callable[..., Hand],
) -> None:
    hand = start(arms={"scratch": {}}, regimes={"full": {"images": 6}})
    lost, done = hand.take(), hand.take()
    hand.finish(done)
    hand.dispatcher.lose_job(lost.job_id, "killed")
    assert lost.trial_id is not None
    folder = hand.directory.trial_dir(lost.trial_id)
    folder.mkdir(parents=True)
    (folder / "trunk-000000005.pt").touch()
    directory = StudyDirectory.open(hand.directory.root)
    before = directory.study
    assert extend_study(directory, replicates=3)
    assert resume_lines(directory, before) == [
        "finished: 1 rung, 0 assets; trials: no trial yet",
        "waiting: 2 trials",
        "budget per cell: 2 -> 2 trials, 1 -> 3 replicates; ladder 2x, 3x",
        f"re-queued: {lost.job_id} (killed) from update 5",
    ]


def test_a_running_study_cannot_be_extended_by_another_process(start: Callable[..., Hand]) -> None:
    hand = start()
    directory = StudyDirectory.open(hand.directory.root)
    with writing(directory.lock_path), pytest.raises(RecordError, match="one writer at a time"):
        extend_study(directory, trials=9)
    assert StudyDirectory.open(directory.root).study.budget.trials == 2


def test_a_job_that_ends_without_its_results_is_lost_like_a_killed_one(
    start: Callable[..., Hand],
) -> None:
    hand = start(resources={"retries": 1}, arms={"scratch": {}}, regimes={"full": {"images": 6}})
    for _ in range(2):
        job = hand.take()
        hand.dispatcher.end_job(job.job_id)
    failures = [e for e in hand.directory.log.read() if isinstance(e, JobFailed)]
    assert [e.reason for e in failures] == ["it ended without its results"] * 2
    assert hand.take().job_id != job.job_id  # past its limit


def test_jobs_that_tune_left_behind_are_all_lost_and_handed_out_again(
    start: Callable[..., Hand],
) -> None:
    hand = start()
    lost = {hand.take().job_id, hand.take().job_id}
    hand.dispatcher.lose_all_jobs("Ray Tune gave up")
    assert {e.job_id for e in hand.directory.log.read() if isinstance(e, JobFailed)} == lost
    assert {hand.take().job_id, hand.take().job_id} == lost


def test_a_listener_that_fails_stops_neither_the_study_nor_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: object) -> None:
        raise BrokenPipeError("nobody reads")

    heard: list[object] = []
    directory = start_study(tmp_path / "study", micro_study(), "", FACTS, {})
    recorder = Recorder(directory, [broken, heard.append])
    for number in (1, 2):
        recorder.record(JobFailed(job_id=f"job {number}", reason="killed"))
    assert len(heard) == len(directory.log.read()) == 2
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_nothing_is_recorded_once_another_process_has_taken_the_study_over(
    start: Callable[..., Hand],
) -> None:
    directory = start().directory
    with writing(directory.lock_path) as lock:
        recorder = Recorder(directory, lock=lock)
        assert recorder.record(JobFailed(job_id="a-2x", reason="killed"))
        before = directory.log.size()
        directory.lock_path.write_bytes(b"{}")
        lock.beat()
        with pytest.raises(RecordError, match="must still name process"):
            recorder.record(JobFailed(job_id="a-2x", reason="killed"))
    assert directory.log.size() == before
