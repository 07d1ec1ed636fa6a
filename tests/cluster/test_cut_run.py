"""A run that has so many hours, on a real cluster: it is cut, tells so, and goes on."""

from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, results, start_micro

from rethink_ray.cluster.run import Observers, run_study
from rethink_ray.commands.study import end_lines
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.losses import LOSS_FILE, read_losses
from rethink_ray.records.run_progress import read_progress
from rethink_ray.records.types import Event, JobFailed, RunCut, RungDone
from rethink_ray.search.time_limit import TimeLimit

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_run_whose_hours_end_stops_its_jobs_and_goes_on_to_the_same_tables(
    tmp_path: Path, cluster: None, expected: dict[str, Any]
) -> None:
    directory = start_micro(tmp_path / "study", **ONE_REGIME)
    finished: list[str] = []

    def count(event: Event) -> None:
        finished.extend([event.trial_id] if isinstance(event, RungDone) else [])

    limit = TimeLimit(hours=1.0, clock=lambda: 0.0 if len(finished) < 3 else 3600.0, began=0.0)
    outcome = run_study(directory, slots=2, observers=Observers(listeners=(count,)), limit=limit)

    assert (outcome.status, outcome.hours, outcome.signal) == ("stopped", 1.0, None)
    events = directory.log.read()
    assert [e.hours for e in events if isinstance(e, RunCut)] == [1.0]
    assert not any(isinstance(e, JobFailed) for e in events)
    lines = list(end_lines(directory, outcome))
    assert lines[0].startswith("cut: after ")
    assert lines[0].endswith(" the next job would not end within 1 h; nothing is lost")
    assert any("so it has no finding" in line for line in lines)
    assert any(line.startswith("more hours, to the end: about ") for line in lines)
    seen = read_progress(directory)
    assert seen is not None
    assert seen.jobs == ()
    assert seen.left is not None
    assert seen.left.low > 0.0

    again = run_study(StudyDirectory.open(directory.root), slots=2)
    assert again.status == "done"
    assert results(directory) == expected
    rungs = results(directory)["rungs"]
    rows = read_losses(directory.trial_dir(rungs[0]["trial_id"]) / LOSS_FILE)
    assert {row.part for row in rows} >= {"trunk", "2x"}
    assert rows[0].step == 0
