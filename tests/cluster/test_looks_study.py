"""A study that ends once it has decided, trained for real: killed, looked at, reported.

Once in a plain loop, and once on a Ray cluster of two slots.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, SHORT_SCHEDULE, results, run_inline, start_micro
from processes import after_lines, kill_all, resumed, slots_of

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.cluster.run import run_study
from rethink_ray.cluster.work import run_job
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import LookTaken
from rethink_ray.search.decide import Decider
from rethink_ray.session import extend_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.training.stopping import never_stop

LOOKS: dict[str, Any] = {
    **ONE_REGIME,
    "arms": {"scratch": {}, "late": {"set": {"optimizer.momentum": 0.8}}},
    "schedule": {**SHORT_SCHEDULE, "lengths": [2.0]},
    "budget": {
        "trials": 1,
        "keep": [1],
        "replicates": {"from": 3, "to": 5, "until": "decided", "reserve": 0.01},
    },
}


def run_and_kill(root: Path, num_jobs: int) -> None:
    """So many jobs of a study; what it would have decided after the last one is lost."""
    directory = StudyDirectory.open(root)
    state, decider = directory.load_state(), Decider(directory.study, directory.facts)
    jobs = itertools.count()
    while not (decision := decider.next_jobs(state)).done:
        events = list(decision.events)
        if not events:
            if next(jobs) == num_jobs:
                return
            job = decision.jobs[-1]  # another order than that of an uninterrupted run
            events = list(run_job(job, directory.study.data, directory.root, never_stop))
        for event in events:
            directory.log.append(event)
            state.add(event)


def looks_of(directory: StudyDirectory) -> list[tuple[int, object, object]]:
    looks = [event for event in directory.log.read() if isinstance(event, LookTaken)]
    return [(look.replicates, look.comparisons, look.running) for look in looks]


@pytest.mark.slow
def test_a_killed_study_takes_the_looks_of_one_that_was_not(
    tmp_path: Path, data_cache: None
) -> None:
    whole, killed = (start_micro(tmp_path / name, **LOOKS) for name in ("whole", "killed"))
    run_inline(whole)
    for num_jobs in (3, 4):
        run_and_kill(killed.root, num_jobs)
    run_inline(StudyDirectory.open(killed.root))
    killed = StudyDirectory.open(killed.root)
    assert looks_of(killed) == looks_of(whole)
    assert results(killed) == results(whole)
    assert progress_of(killed.study, killed.load_state()).complete
    assert "replicates" in derive_findings(read_tables(killed)).findings[0].sentence
    with pytest.raises(SpecError, match="must keep its trials, lengths, arms and regimes"):
        extend_study(killed, trials=2)


def verdicts_of(directory: StudyDirectory) -> list[tuple[object, ...]]:
    findings = derive_findings(read_tables(directory)).findings
    return [(f.key, f.verdict, f.p_adjusted, f.interval, f.stop, f.sentence) for f in findings]


@pytest.mark.ray
@pytest.mark.slow
def test_two_slots_of_a_cluster_killed_once_take_the_looks_of_a_plain_loop(
    tmp_path: Path, cluster: None
) -> None:
    import ray

    whole, killed = (start_micro(tmp_path / name, **LOOKS) for name in ("whole", "killed"))
    run_inline(whole)
    address = ray.get_runtime_context().gcs_address
    with resumed(killed.root, "--slots=2", "--address", address) as driver:
        after_lines(driver, "/ap ", 5)  # of two search trials and six replicates up to the look
        kill_all([driver.pid, *slots_of(os.getpid())])
        driver.communicate()
    assert (
        5
        <= len(StudyDirectory.open(killed.root).load_state().rungs)
        < len(whole.load_state().rungs)
    )
    assert run_study(StudyDirectory.open(killed.root), slots=2).status == "done"
    assert looks_of(whole)
    assert looks_of(killed) == looks_of(whole)
    assert results(killed) == results(whole)
    assert verdicts_of(killed) == verdicts_of(whole)
