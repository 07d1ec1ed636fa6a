"""A study that deletes what nobody needs ends with the same tables, and can still be lengthened."""

from pathlib import Path
from typing import Any

from micro_study import ONE_REGIME, SHORT_SCHEDULE, results, run_inline, start_micro

from rethink_ray.cluster.sweeping import Sweeper
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.jobs import Job
from rethink_ray.session import extend_study

ONE_CELL: dict[str, Any] = {**ONE_REGIME, "arms": {"scratch": {}}, "schedule": SHORT_SCHEDULE}


def sweep(directory: StudyDirectory, *running: Job) -> list[str]:
    """Trials that have a trunk file left."""
    sweeper = Sweeper(directory)
    sweeper.sweep(directory.load_state(), running, now=True)
    return sorted({path.parent.name for path in directory.root.glob("trials/*/trunk-*.pt")})


def test_losers_lose_their_trunks_and_a_longer_ladder_still_gives_the_same_numbers(
    tmp_path: Path,
) -> None:
    kept, swept = (start_micro(tmp_path / name, **ONE_CELL) for name in ("kept", "swept"))
    for directory in (kept, swept):
        run_inline(directory)
    left = sweep(swept)
    assert len(left) < len(list(swept.root.glob("trials/*")))
    for directory in (kept, swept):
        grown = StudyDirectory.open(directory.root)
        extend_study(grown, trials=4, lengths=[4.0], replicates=2)
        run_inline(grown)
    assert results(StudyDirectory.open(swept.root)) == results(StudyDirectory.open(kept.root))


def test_files_of_a_trial_that_runs_are_left_alone(tmp_path: Path) -> None:
    directory = start_micro(tmp_path / "study", **ONE_CELL)
    run_inline(directory)
    everybody = sorted(path.name for path in (directory.root / "trials").iterdir())
    running = [
        Job(job_id=f"{name}-3x", purpose="search", cell="small/scratch", trial_id=name)
        for name in everybody
    ]
    assert sweep(directory, *running) == everybody
    assert sweep(directory) != everybody
    assert sweep(directory) != []
