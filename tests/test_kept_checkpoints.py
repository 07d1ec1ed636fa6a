"""Real training whose checkpoints are dropped as soon as nobody needs them: the same tables."""

from pathlib import Path
from typing import Any

import pytest

from rethink_ray.cluster.work import run_job
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.retention import Retention
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import Event
from rethink_ray.search.decide import Decider
from rethink_ray.session import extend_study
from rethink_ray.spec.resolve import cells_of
from rethink_ray.training.stopping import never_stop
from tests.cluster.micro_study import SHORT_SCHEDULE, results, start_micro

ONE_CELL: dict[str, Any] = {
    "regimes": {"small": {"images": 6}},
    "arms": {"scratch": {}},
    "budget": {"trials": 3, "keep": [3, 1], "replicates": 1, "audit": 1},
    "schedule": SHORT_SCHEDULE,
}


@pytest.fixture(autouse=True, scope="module")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(directory: StudyDirectory, *, dropping: bool) -> int:
    """The study to its end in this process; how many files were dropped on the way."""
    state, decider = directory.load_state(), Decider(directory.study, directory.facts)
    dropped = 0
    while not (decision := decider.next_jobs(state)).done:
        events: list[Event] = [*decision.rounds, *decision.ends]
        job = None if events else decision.jobs[0]
        if job is not None:
            events = list(run_job(job, directory.study.data, directory.root, never_stop))
        for event in events:
            directory.log.append(event)
            state.add(event)
        useless = Retention(directory.study, directory.root).files_to_drop(state, [])
        for path in useless if dropping else ():
            path.unlink()
            dropped += 1
    return dropped


def grow(directory: StudyDirectory, *, dropping: bool) -> list[dict[str, Any]]:
    """The tables after a second run with more replicates and a longer ladder."""
    extend_study(directory, replicates=2, lengths=[4.0])
    run(directory, dropping=dropping)
    return results(directory)["rungs"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    directory = start_micro(tmp_path_factory.mktemp("all") / "s", **ONE_CELL)
    run(directory, dropping=False)
    return grow(directory, dropping=False)


def test_a_study_keeps_the_best_weights_and_what_a_longer_ladder_goes_on_from(
    tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    directory = start_micro(tmp_path / "s", **ONE_CELL)
    assert run(directory, dropping=True) > 0
    state = directory.load_state()
    (cell,) = cells_of(directory.study)
    best = StudyView(directory.study, state).cell(cell).incumbents
    kept = {str(p.relative_to(directory.root)) for p in directory.root.rglob("models/*.pt")}
    assert kept == {f"trials/{m.trial_id}/models/{x:g}x.pt" for x, m in best.items()}
    trunks = {p.parent.name for p in directory.root.rglob("trunk-*.pt")}
    assert trunks >= {trial_id for trial_id, length in state.rungs if length == 3.0}
    assert trunks < {trial_id for trial_id, _ in state.rungs}, "whoever was stopped keeps none"
    assert not list(directory.root.rglob("branch.pt"))
    assert grow(directory, dropping=True) == undisturbed


def test_a_study_that_keeps_nothing_trains_again_and_has_the_same_tables(
    tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    least = {"trunks": "unfinished", "models": "none"}
    directory = start_micro(tmp_path / "s", **ONE_CELL, checkpoints=least)
    run(directory, dropping=True)
    assert not list(directory.root.rglob("trials/**/*.pt"))
    assert grow(directory, dropping=True) == undisturbed
