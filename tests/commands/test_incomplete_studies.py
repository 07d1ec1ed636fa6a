"""Cells without a score are told with reasons; a study of nothing but such cells is incomplete."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rethink_ray.api import read_study
from rethink_ray.cli import app
from rethink_ray.cluster.run import run_study
from rethink_ray.cluster.work import failure_path
from rethink_ray.commands.endings import end_lines
from rethink_ray.protocol.empty_cells import can_more_trials_help, empty_cells
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.failures import failure_file, failure_lines
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, Event, JobFailed, Outcome, TrialEnded
from rethink_ray.search.decide import Decider
from rethink_ray.session import start_study
from tests.golden_words import assert_says
from tests.records.small_records import FACTS, proposed, rung, small_study
from tests.refusals import timeless
from tests.search.search_builders import facts_of

TWO_ARMS: dict[str, Any] = {"arms": {"scratch": {}, "again": {}}}


def ended(trial_id: str, outcome: Outcome, reason: str) -> TrialEnded:
    return TrialEnded(trial_id=trial_id, outcome=outcome, reason=reason)


ALL_ENDED: list[Event] = [
    proposed("a", "b", "c", "d"),
    ended("a", "diverged", "the loss is nan at update 3"),
    ended("b", "misconfigured", "the optimizer has lr 0.1, but 0.2 was asked for"),
    ended("c", "diverged", "the loss is nan at update 17"),
    ended("d", "diverged", "the loss is nan at update 3"),
]
"""Of the only cell; a diverged one says at which update."""
LOST: list[Event] = [
    proposed("a", "b", "c", "d"),
    *(JobFailed(job_id=f"{t}-2x", reason="killed: used 812 MB") for t in "ab" for _ in range(9)),
    *(JobFailed(job_id="c-2x", reason="killed: used 790 MB") for _ in range(9)),
    *(JobFailed(job_id="d-2x", reason="its machine was preempted") for _ in range(9)),
]


def started(root: Path, events: Sequence[Event], **changes: Any) -> StudyDirectory:
    made = start_study(root, small_study(**changes), "study: small\n", FACTS, {})
    for event in events:
        made.log.append(event)
    return made


def test_a_study_whose_every_trial_the_method_ended_is_incomplete_and_exits_with_3(
    tmp_path: Path,
) -> None:
    directory = started(tmp_path / "s", ALL_ENDED)
    story = directory.trial_dir("c") / "failure.txt"
    story.parent.mkdir(parents=True)
    story.write_text("Traceback")

    told = CliRunner().invoke(app, ["resume", str(directory.root)])

    assert told.exit_code == 3, told.output
    lines = told.output.splitlines()
    first = lines.index("incomplete: 1 of 1 cell has no score")
    assert lines[first + 1 : first + 4] == [
        "full/scratch: no search trial has a score",
        f"  3 diverged: the loss is nan at update 3 (in full: {story})",
        "  1 misconfigured: the optimizer has lr 0.1, but 0.2 was asked for",
    ]
    assert_says(
        "commands",
        "a study without any score",
        timeless("\n".join(lines[first + 4 : first + 6]), tmp_path),
    )
    assert "done after" not in told.output
    assert str(directory.report_page) in told.output
    page = directory.report_page.read_text()
    assert "full/scratch has a score (3 diverged, 1 misconfigured)" in page


def test_status_says_it_in_the_same_words(tmp_path: Path) -> None:
    directory = started(tmp_path / "s", ALL_ENDED)
    outcome = run_study(directory)

    shown = CliRunner().invoke(app, ["status", str(directory.root)]).output.splitlines()

    said = list(end_lines(directory, outcome))
    assert (outcome.status, len(said)) == ("incomplete", 6)
    assert [line for line in shown if line in said] == said
    assert "not running: nothing is left to run" in shown
    assert read_study(directory.root).status == "incomplete"


def test_a_cell_without_a_score_is_told_and_the_study_whose_other_cell_has_findings_is_done(
    tmp_path: Path,
) -> None:
    other = replace(proposed("e", "f", "g", "h"), arm="again")
    scores: list[Event] = [rung(t, n, 30.0) for t in "efgh" for n in (2.0, 4.0)]
    repeat = replace(proposed("r", of="e"), arm="again")
    scores += [repeat, rung("r", 2.0, 29.0), rung("r", 4.0, 29.0)]
    directory = started(tmp_path / "s", [*ALL_ENDED, other, *scores], **TWO_ARMS)

    told = CliRunner().invoke(app, ["resume", str(directory.root)])

    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert "1 of 2 cells has no score" in lines
    assert "  3 diverged: the loss is nan at update 3" in lines
    assert any(line.startswith("done after") for line in lines)
    assert read_study(directory.root).status == "done"
    assert "full/again: no" not in told.output
    shown = CliRunner().invoke(app, ["status", str(directory.root)]).output
    assert f"next: rethink-ray answer {directory.root}" in shown


def test_an_arm_that_waited_in_vain_says_for_what() -> None:
    study = small_study(
        arms={"scratch": {}, "copy": {}},
        tuning={"copy_from": "scratch"},
        search={"optimizer.lr": {"log_uniform": [0.002, 0.1]}},
    )
    state = StudyState(ALL_ENDED)
    scratch, copy = empty_cells(state, progress_of(study, state))
    assert (scratch.cell.arm, len(scratch.reasons)) == ("scratch", 2)
    assert (copy.cell.arm, copy.reasons) == ("copy", ())


@pytest.mark.parametrize(
    "events",
    [
        [],
        [proposed("a", "b", "c", "d")],
        ALL_ENDED[:-1],  # d may still finish
        LOST,  # the machine's failures are tried again
    ],
)
def test_a_cell_that_may_still_get_a_score_is_not_empty(events: list[Event]) -> None:
    state = StudyState(events)
    assert empty_cells(state, progress_of(small_study(), state)) == ()


def test_one_trial_with_a_score_is_enough() -> None:
    events = [*ALL_ENDED[:-1], rung("d", 2.0, 7.0), rung("d", 4.0, 8.0)]
    state = StudyState(events)
    assert empty_cells(state, progress_of(small_study(), state)) == ()


def test_machine_failures_are_told_by_reason_with_counts_and_a_file(tmp_path: Path) -> None:
    directory = started(tmp_path / "s", LOST)
    story = directory.trial_dir("b") / "failure.txt"
    story.parent.mkdir(parents=True)
    story.write_text("Traceback")

    shown = CliRunner().invoke(app, ["status", str(directory.root)]).output.splitlines()

    failed = [line for line in shown if line.startswith("failed: ")]
    assert failed == [
        f"failed: 3 jobs (a-2x and others): killed: used 812 MB (in full: {story})",
        "failed: d-2x: its machine was preempted",
    ]
    assert "go on with: rethink-ray resume " in "\n".join(shown)


def test_a_failed_asset_leaves_its_story_beside_the_assets(tmp_path: Path) -> None:
    path = failure_file(tmp_path, "asset-classifier-12")
    assert path == tmp_path / "assets" / "failure-classifier-12.txt"
    path.parent.mkdir()
    path.write_text("Traceback")
    (line,) = failure_lines({"asset-classifier-12": "lost"}, tmp_path)
    assert line == f"asset-classifier-12: lost (in full: {path})"


def test_a_job_and_its_id_name_the_same_failure_file(tmp_path: Path) -> None:
    study = small_study()
    state = StudyState()
    decider = Decider(study, facts_of(study))
    for event in decider.next_jobs(state).rounds:
        state.add(event)
    job = decider.next_jobs(state).jobs[0]
    assert failure_path(job, tmp_path) == tmp_path / "trials" / str(job.trial_id) / "failure.txt"


def test_a_run_ends_with_its_report_and_is_done_even_if_that_cannot_be_written(
    tmp_path: Path,
) -> None:
    """A file stands where the folder of the figures must go."""
    ends: list[Event] = [rung(t, n, 30.0) for t in "abcd" for n in (2.0, 4.0)]
    copies = [rung(t, n, 29.0) for t in ("r", "s") for n in (2.0, 4.0)]
    events = [proposed("a", "b", "c", "d"), *ends, proposed("r", "s", of="a"), *copies]
    budget = {"trials": 4, "keep": [4, 2], "replicates": 2}
    directory = started(tmp_path / "s", events, budget=budget)

    whole = CliRunner().invoke(app, ["resume", str(directory.root)])

    assert whole.exit_code == 0, whole.output
    assert f"report: {directory.report_page}" in whole.output
    assert "is missing" not in whole.output
    figures = directory.report_page.parent / "figures"
    shutil.rmtree(figures)
    figures.write_text("in the way")
    lost = CliRunner().invoke(app, ["resume", str(directory.root)])
    assert lost.exit_code == 0, lost.output
    assert "report: not written (" in lost.output
    assert "done after" in lost.output


CLASSIFIER = "classifier-1c08d38bc3f4a16d"
REFUSED_ASSET = AssetDone(
    key=CLASSIFIER,
    kind="classifier",
    metrics={"accuracy": 0.18, "chance": 0.17},
    seconds=5.0,
    refused="its accuracy 0.180 is below 0.333",
)


def refusals(*regimes: str) -> list[Event]:
    """Of a study whose only arm was refused in each of these regimes."""
    events: list[Event] = [REFUSED_ASSET]
    for regime in regimes:
        names = [f"{regime}-{i}" for i in range(4)]
        events.append(replace(proposed(*names), regime=regime))
        reason = f"it needs {CLASSIFIER}, which was refused: {REFUSED_ASSET.refused}"
        events += [ended(name, "refused", reason) for name in names]
    return events


@pytest.mark.parametrize(
    ("path", "can_help"),
    [("optimizer.lr", False), ("upstream.lr", True), ("detector.norm", True)],
)
def test_more_trials_are_advised_only_if_they_may_start_from_another_asset(
    path: str, can_help: bool
) -> None:
    values = {"choice": ["gn", "bn"]} if path == "detector.norm" else {"uniform": [0.001, 0.1]}
    study = small_study(search={path: values})
    state = StudyState(refusals("full"))
    empty = empty_cells(state, progress_of(study, state))
    assert [reason.asset_kind for reason in empty[0].reasons] == ["classifier"]
    assert can_more_trials_help(empty, study) == can_help


def test_with_nothing_to_search_no_more_trials_are_advised() -> None:
    study, state = small_study(search={}, budget={"trials": 1, "replicates": 1}), StudyState()
    state.add(proposed("a"))
    state.add(ended("a", "diverged", "the loss is nan at update 3"))
    empty = empty_cells(state, progress_of(study, state))
    assert len(empty) == 1
    assert not can_more_trials_help(empty, study)


def test_an_arm_that_was_refused_in_every_regime_is_told_once_with_what_helps(
    tmp_path: Path,
) -> None:
    search = {"optimizer.lr": {"log_uniform": [0.002, 0.1]}}
    regimes = {"full": {"images": "all"}, "small": {"images": 6}}
    study = small_study(search=search, regimes=regimes)
    facts = replace(FACTS, regime_sizes={"full": 12, "small": 6})
    directory = start_study(tmp_path / "s", study, "study: small\n", facts, {})
    for event in refusals("full", "small"):
        directory.log.append(event)
    shown = CliRunner().invoke(app, ["status", str(directory.root)]).output
    told = shown[shown.index("incomplete:") :]
    assert "--trials" not in told
    assert_says("commands", "an arm that was refused in every regime", timeless(told, tmp_path))
