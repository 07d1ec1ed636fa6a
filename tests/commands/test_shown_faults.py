"""Status, run, plan and data check say which faults the data have, in the same words."""

from dataclasses import replace
from pathlib import Path

from rethink_ray.commands.datasets import check_lines
from rethink_ray.commands.planning import plan_lines
from rethink_ray.commands.status import header_lines, status_lines
from rethink_ray.data.check import DataFinding
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.state import StudyState
from rethink_ray.session import start_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import FaultShare
from tests.records.small_records import FACTS, small_study

DROPPED = {"box_degenerate": FaultShare(count=3, total=10)}
LOSSY = replace(FACTS, split_faults={"train": DROPPED}, regime_faults={"full": DROPPED})
LINE = "data: 3 of 10 boxes of train were dropped (box_degenerate) (see rethink-ray data check)"


def lines_of(facts: DataFacts, root: Path) -> dict[str, list[str]]:
    directory = start_study(root, small_study(), "study: small\n", facts, {})
    state = StudyState([])
    return {
        "status": [*status_lines(directory, progress_of(directory.study, state))],
        "run": [*header_lines(directory, state)],
        "plan": [*plan_lines(directory.study, facts, 1, root)],
    }


def test_status_run_and_plan_say_what_was_lost_in_one_line(tmp_path: Path) -> None:
    assert {command: lines.count(LINE) for command, lines in lines_of(LOSSY, tmp_path).items()} == {
        "status": 1,
        "run": 1,
        "plan": 1,
    }


def test_they_are_silent_about_data_without_faults(tmp_path: Path) -> None:
    lines = [line for some in lines_of(FACTS, tmp_path).values() for line in some]
    assert not any(line.startswith("data:") for line in lines)


def test_data_check_says_what_a_kind_means() -> None:
    finding = DataFinding(kind="box_degenerate", count=3, examples=("train/1.png: cat",))
    turned = DataFinding(kind="orientation_6_turned", count=1, examples=("train/2.jpg: 96x64",))
    lines = list(check_lines({"train": [finding, turned]}))
    assert lines[1].split() == ["fault", "box_degenerate", "3", "train/1.png:", "cat"]
    assert lines[2].strip() == "boxes: they have no pixels inside their picture"
    assert len(lines) == 4
