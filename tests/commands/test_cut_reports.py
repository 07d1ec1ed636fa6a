"""A run that its hours cut ends like a finished one: with the answer so far, and a report."""

from pathlib import Path

from rethink_ray.cluster.run import StudyOutcome
from rethink_ray.commands.endings import final_lines
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import start_study
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study

CUT = StudyOutcome(status="stopped", hours=1.0, seconds=3590.0)


def score(cell: Cell, length: float, purpose: str, number: int) -> float:
    """The second search trial is the best at every length."""
    return 10.0 + length + number


def test_a_cut_run_says_what_is_known_and_writes_the_report(tmp_path: Path) -> None:
    planted = Planted(build_study(), score, replicates=1)  # of three
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    lines = list(final_lines(directory, CUT))
    assert lines[0] == "cut: 1 h are over before the study is done; nothing is lost"
    assert [line for line in lines if line.startswith("  full/")] == [
        "  full/scratch: 2 more replicates",
        "  full/pretrained: 2 more replicates",
    ]
    assert any(line.startswith("answer: full (400 images): train with ") for line in lines)
    assert sum("rethink-ray resume" in line for line in lines) == 1
    assert lines[-1] == f"report: {directory.report_page}"
    page = directory.report_page.read_text()
    assert "The study is unfinished: " in page


def test_a_run_that_was_cut_before_its_first_result_has_a_report_that_says_so(
    tmp_path: Path,
) -> None:
    planted = Planted(build_study(), score)
    directory = start_study(tmp_path / "s", planted.study, "study: planted\n", planted.facts, {})
    lines = list(final_lines(directory, CUT))
    assert lines[-1].startswith("report: ")
    assert "no trial has been proposed" in directory.report_page.read_text()


def test_a_run_that_its_user_stops_ends_at_once(tmp_path: Path) -> None:
    planted = Planted(build_study(), score, replicates=1)
    directory = StudyDirectory.open(planted.directory(tmp_path / "s"))
    [line] = final_lines(directory, StudyOutcome(status="stopped", signal=2))
    assert line.startswith("stopped; nothing is lost")
    assert not directory.report_page.parent.exists()
