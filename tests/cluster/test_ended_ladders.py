"""A study whose ladders end as they converge, trained for real, one job at a time in this process.

A hundred points are more than a length can gain, so every round ends after two of three.
"""

from pathlib import Path
from typing import Any

import pytest
from micro_study import run_inline, start_micro

from rethink_ray.commands.status import status_lines
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.decide import Decider
from rethink_ray.session import extend_study

SCHEDULE: dict[str, Any] = {
    "unit": 4,
    "lengths": [2.0, 3.0, 4.0],
    "converged": 100.0,
    "warmup": 2,
    "decay": {"kind": "step", "before_end": [0.75, 0.25]},
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> StudyDirectory:
    directory = start_micro(
        tmp_path_factory.mktemp("ended") / "study",
        schedule=SCHEDULE,
        arms={"scratch": {}},
        regimes={"full": {"images": "all"}},
        budget={"trials": 2, "keep": [2, 1, 1], "replicates": 1},
    )
    run_inline(directory)
    return directory


def test_no_trial_runs_the_length_beyond(ended: StudyDirectory) -> None:
    state = ended.load_state()
    assert {length for _, length in state.rungs} == {2.0, 3.0}
    progress = progress_of(ended.study, state)
    assert progress.complete
    assert "ladders: full/scratch converged at 3x" in list(status_lines(ended, progress))


def test_it_is_read_from_its_directory_alone_and_stays_where_it_ended(
    ended: StudyDirectory, tmp_path: Path
) -> None:
    opened = StudyDirectory.open(ended.root)
    assert opened.study.schedule.converged == 100.0
    assert extend_study(opened, lengths=[6.0])
    decision = Decider(opened.study, opened.facts).next_jobs(opened.load_state())
    assert decision.done
    assert not decision.jobs
