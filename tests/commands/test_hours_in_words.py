"""Hours, passes, running jobs and what a cut study lacks, in words."""

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.cli import app
from rethink_ray.cluster.run import StudyOutcome
from rethink_ray.commands.endings import end_lines
from rethink_ray.commands.hours import (
    describe_hours,
    eta_line,
    job_lines,
    missing_lines,
    passes_lines,
    plan_hours_lines,
)
from rethink_ray.commands.live import build_screen
from rethink_ray.commands.more_hours import more_hours_lines
from rethink_ray.commands.status import show_status
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.run_progress import (
    HoursRange,
    JobProgress,
    RunProgress,
    write_progress,
)
from rethink_ray.search.known_paces import load_paces
from rethink_ray.search.paces import MeasuredPaces, Pace, read_paces
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.session import start_study
from rethink_ray.spec.errors import SpecError
from tests.golden_words import assert_says
from tests.search.search_builders import ap_of, facts_of, small_study

ONE_SECOND = Pace(
    seconds_per_update=1.0, seconds_per_scored_image=0.0, seconds_to_start=0.0, spread=0.0
)
JOB = JobProgress(
    job_id="abc-4x",
    cell="full/scratch",
    purpose="search",
    started=940.0,
    length=4.0,
    updates_done=120,
    updates=480,
    loss=0.834,
)


def half_done(root: Path, *, is_searched: bool = False) -> StudyDirectory:
    """A study after eight rungs of a second an update, or after its whole search."""
    study = small_study()
    directory = start_study(root, study, "study: small\n", facts_of(study), {})
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=1)
    cluster.records_seconds = True
    cluster.watch = directory.log.append
    cluster.admits = lambda job: job.purpose != "replicate"
    cluster.run(max_events=None if is_searched else 8)
    return directory


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (12.34, "about 12 h (6.2 to 25)"),
        (1.0, "about 1.0 h (0.5 to 2.0)"),
        (0.5, "about 30 min (15 to 60)"),
        (0.005, "about 18 s (9.0 to 36)"),
    ],
)
def test_hours_are_told_in_the_unit_that_a_reader_would_choose(expected: float, words: str) -> None:
    hours = HoursRange(low=expected / 2, expected=expected, high=expected * 2)
    assert describe_hours(hours) == words


def test_a_length_is_so_many_updates_and_so_many_passes_over_the_images() -> None:
    # 1x is 100 updates of 8 images: 200 updates see 1,600 images, 26.7 times 60
    study = small_study()
    assert list(passes_lines(study, facts_of(study))) == [
        "full: 2x = 200 updates = 26.7 passes; 4x = 400 = 53.3; 6x = 600 = 80 over 60 images, "
        "8 at a time",
        "few: 2x = 200 updates = 26.7 passes; 4x = 400 = 53.3; 6x = 600 = 80 over 60 images, "
        "8 at a time",
    ]


def test_arms_with_other_batches_have_lines_of_their_own() -> None:
    arms = {"scratch": {}, "large": {"set": {"batch_size": 16}}}
    study = small_study(arms=arms, regimes={"few": {"images": 60}})
    first, second = passes_lines(study, facts_of(study))
    assert first.startswith("few/scratch: 2x = 200 updates = 26.7 passes")
    assert second.startswith("few/large: 2x = 200 updates = 53.3 passes")


def test_a_plan_says_hours_or_how_to_get_them() -> None:
    budget = {"trials": 1, "keep": [1, 1, 1], "replicates": 0}
    study = small_study(regimes={"few": {"images": 60}}, arms={"a": {}}, budget=budget)
    measured = MeasuredPaces(machine="node7", slots=2, arms={"": ONE_SECOND})
    told = "\n".join(plan_hours_lines(study, facts_of(study), 2, measured))
    assert told.startswith("hours: about 12 min (")  # 680 s, and Ray's start
    assert_says("commands", "hours of a plan", told)
    other = "\n".join(plan_hours_lines(study, facts_of(study), 4, measured))
    assert_says("commands", "hours of a plan on more slots than were measured", other)
    unknown = "\n".join(plan_hours_lines(study, facts_of(study), 4, None))
    assert_says("commands", "hours of a plan without paces", unknown)


def test_the_expected_end_moves_on_with_the_clock() -> None:
    left = HoursRange(low=1.0, expected=2.0, high=3.0)
    seen = RunProgress(at=1000.0, slots=2, left=left, left_at=1000.0)
    line = eta_line(seen, 1000.0 + 1800.0)
    assert line is not None
    assert line.startswith("done in about 1.5 h (0.5 to 2.5) on 2 slots: at ")
    assert line.endswith(time.strftime("%H:%M", time.localtime(1000.0 + 7200.0)))
    set_back = eta_line(seen, 1000.0 - 1800.0)
    assert set_back is not None
    assert set_back.startswith("done in about 2.0 h (1.0 to 3.0) on 2 slots: at ")
    assert eta_line(RunProgress(at=0.0, slots=2), 0.0) is None


def test_a_running_job_shows_its_update_and_its_loss() -> None:
    scoring = JobProgress(
        job_id="abc-2x",
        cell="full/scratch",
        purpose="search",
        started=940.0,
        length=2.0,
        updates_done=240,
        updates=240,
    )
    asset = JobProgress(job_id="asset-k", cell="full/pretrained", purpose="asset", started=940.0)
    waiting = JobProgress(job_id="new-2x", cell="full/scratch", purpose="search", started=0.0)
    assert list(job_lines((JOB, scoring, asset, waiting), 1000.0)) == [
        "  full/scratch search abc-4x  4x: update 120 of 480, loss 0.834",
        "  full/scratch search abc-2x  2x: all 240 updates done, scoring",
        "  full/pretrained asset asset-k  began 1.0 min ago",
        "  full/scratch search new-2x  waits for a slot",
    ]
    assert list(job_lines((JOB,) * 20, 1000.0))[-1] == "  and 8 more"


def test_a_cut_study_says_what_is_missing_and_what_more_hours_would_bring(tmp_path: Path) -> None:
    directory = half_done(tmp_path / "s")
    state = directory.load_state()
    missing = list(missing_lines(progress_of(directory.study, state)))
    assert [line.split(":")[0].strip() for line in missing] == [
        "full/scratch",
        "full/pretrained",
        "few/scratch",
        "few/pretrained",
    ]
    assert all("so it has no finding" in line for line in missing)
    first, *cells = more_hours_lines(directory, state)
    assert first.startswith("more hours, to the end: about ")
    factors = {"min:": 1.0, "h:": 60.0}
    words = [line.split() for line in cells]
    minutes = [float(number) * factors[unit] for _, number, unit, _ in words]
    assert len(cells) == 4
    assert minutes == sorted(minutes)


def test_a_cell_that_was_cut_before_its_replicates_has_no_finding(tmp_path: Path) -> None:
    directory = half_done(tmp_path / "s", is_searched=True)
    progress = progress_of(directory.study, directory.load_state())
    assert progress.search_to_go == 0
    assert all(
        line.endswith("replicates, so it has no finding") for line in missing_lines(progress)
    )
    findings = derive_findings(read_tables(directory)).findings
    assert findings
    assert {finding.verdict for finding in findings} == {"not tested"}


def test_a_run_with_hours_left_says_that_the_next_job_was_too_long(tmp_path: Path) -> None:
    directory = half_done(tmp_path / "s")
    early = StudyOutcome(status="stopped", hours=1.0, seconds=1200.0)
    first, *_, last = end_lines(directory, early)
    assert first == "cut: after 20.0 min the next job would not end within 1 h; nothing is lost"
    assert last.startswith("go on with: rethink-ray resume ")
    first, *_ = end_lines(directory, replace(early, seconds=3590.0))
    assert first == "cut: 1 h are over before the study is done; nothing is lost"


def test_the_live_screen_has_the_table_the_end_and_the_jobs(tmp_path: Path) -> None:
    directory = half_done(tmp_path / "s")
    progress = progress_of(directory.study, directory.load_state())
    left = HoursRange(low=1.0, expected=2.0, high=3.0)
    seen = RunProgress(at=0.0, slots=2, jobs=(JOB,), left=left, left_at=time.time())
    shown = io.StringIO()
    Console(file=shown, width=100).print(build_screen(progress, seen, 100))
    assert "full/scratch" in shown.getvalue()
    assert "done in about 2.0 h (1.0 to 3.0) on 2 slots: at " in shown.getvalue()
    assert "4x: update 120 of 480, loss 0.834" in shown.getvalue()


def test_status_of_a_study_that_stopped_says_how_long_the_rest_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = half_done(tmp_path / "s")
    left = HoursRange(low=1.0, expected=2.0, high=3.0)
    write_progress(directory, RunProgress(at=0.0, slots=2, jobs=(JOB,), left=left))
    show_status(str(directory.root), watch=False)
    told = capsys.readouterr().out
    assert "to the end: about 2.0 h (1.0 to 3.0) on 2 slots\n" in told
    assert "abc-4x" not in told, "nothing runs"


def test_the_paces_of_a_study_plan_another_one(tmp_path: Path) -> None:
    directory = half_done(tmp_path / "s")
    file = tmp_path / "pace.json"
    status = ["status", str(directory.root), "--write-pace", str(file)]
    assert CliRunner().invoke(app, status).exit_code == 0
    assert read_paces(file) == load_paces(str(directory.root))
    assert read_paces(file).arms["scratch"].seconds_per_update == 1.0


def test_a_study_without_a_rung_has_no_pace_yet(tmp_path: Path) -> None:
    study = small_study()
    directory = start_study(tmp_path / "s", study, "", facts_of(study), {})
    with pytest.raises(SpecError, match="finished a rung"):
        load_paces(str(directory.root))


def test_a_run_of_no_hours_is_refused() -> None:
    told = CliRunner().invoke(app, ["run", "quickstart", "--hours=-1"])
    assert isinstance(told.exception, SpecError)
    assert "--hours" in str(told.exception)
