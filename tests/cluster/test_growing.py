"""A finished study that is made larger and goes on: job by job here, and on a real cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, SHORT_SCHEDULE, results, run_inline, start_micro

from rethink_ray.cluster.run import run_study
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import RungDone
from rethink_ray.session import extend_study

ONE_CELL: dict[str, Any] = {
    **ONE_REGIME,
    "arms": {"pretrained": {"set": {"init.source": "upstream"}}},
    "schedule": SHORT_SCHEDULE,
}


def budget(trials: int, replicates: int, keep: list[int]) -> dict[str, Any]:
    return {"trials": trials, "replicates": replicates, "keep": keep}


def run_on_a_cluster(directory: StudyDirectory) -> None:
    assert run_study(directory, slots=2).status == "done"


@pytest.mark.parametrize(
    "run_to_end",
    [
        run_inline,
        pytest.param(run_on_a_cluster, marks=[pytest.mark.ray, pytest.mark.slow]),
    ],
)
def test_a_study_made_larger_step_by_step_repeats_no_rung_and_ends_as_if_declared_so(
    tmp_path: Path,
    run_to_end: Callable[[StudyDirectory], None],
    request: pytest.FixtureRequest,
    data_cache: None,
) -> None:
    if run_to_end is run_on_a_cluster:
        request.getfixturevalue("cluster")
    directory = start_micro(tmp_path / "grown", **ONE_CELL)
    run_inline(directory)

    _grow(directory, run_to_end, replicates=2)
    _grow(directory, run_to_end, lengths=[4.0])
    declared = _declared(tmp_path / "declared", budget(2, 2, [2, 1, 1]))
    assert _rows(directory) == _rows(declared)

    if run_to_end is run_inline:
        return  # more trials take twice as long: test_dispatch adds some to pretended results
    # More trials: the new search finds new incumbents, and what old ones ran stays.
    _grow(directory, run_to_end, trials=4)
    declared = _declared(tmp_path / "more", budget(4, 2, [2, 1, 1]))
    grown = _rows(directory)
    assert all(row in grown["rungs"] for row in _rows(declared)["rungs"])
    assert _search(grown) == _search(_rows(declared))


def _grow(
    directory: StudyDirectory, run_to_end: Callable[[StudyDirectory], None], **larger: Any
) -> None:
    """Larger on paper, then run to its end; every rung that was there is there once."""
    before = _rungs(directory)
    extend_study(StudyDirectory.open(directory.root), **larger)
    run_to_end(StudyDirectory.open(directory.root))
    after = _rungs(directory)
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert len({(rung.trial_id, rung.length) for rung in after}) == len(after)


def _declared(root: Path, budget: dict[str, Any]) -> StudyDirectory:
    schedule = {**SHORT_SCHEDULE, "lengths": [2.0, 3.0, 4.0]}
    directory = start_micro(root, **{**ONE_CELL, "schedule": schedule, "budget": budget})
    run_inline(directory)
    return directory


def _rungs(directory: StudyDirectory) -> list[RungDone]:
    return [event for event in directory.log.read() if isinstance(event, RungDone)]


def _rows(directory: StudyDirectory) -> dict[str, list[dict[str, Any]]]:
    """The tables, but for the number of the round in which a replicate was asked for."""
    return {
        name: sorted(
            ({k: v for k, v in row.items() if k not in ("round", "index")} for row in rows),
            key=lambda row: str(list(row.values())),
        )
        for name, rows in results(StudyDirectory.open(directory.root)).items()
    }


def _search(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for row in rows["trials"] if row["purpose"] == "search"]
