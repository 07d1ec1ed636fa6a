"""The commands of ``docs/tutorial.md`` run in their order: all of them in a slow test, in a shell.

A fast test runs those that train nothing; where the tutorial trains, it plants a finished study.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.spec.load import load_study
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$",
    (ROOT / "docs/tutorial.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
STUDY = next(code for kind, code in BLOCKS if kind == "yaml")
TRAINS = {"doctor", "run", "resume", "train", "evaluate", "predict"}
"""They start Ray or train."""


def fast_commands() -> list[tuple[list[str], list[str]]]:
    """The words of each command that trains nothing, and the lines the tutorial shows of it."""
    commands = []
    followers = [*BLOCKS[1:], ("", "")]
    for (kind, code), (next_kind, shown) in zip(BLOCKS, followers, strict=True):
        lines = [line for line in code.splitlines() if kind == "bash"]
        for line in lines:
            _, *words = shlex.split(line, comments=True)
            if line.startswith("rethink-ray ") and words[0] not in TRAINS:
                expected = shown.splitlines() if next_kind == "text" and len(lines) == 1 else []
                commands.append((words, [text for text in expected if text != "..."]))
    return commands


def plant_results(folder: Path) -> None:
    """The study of the tutorial, as if it had run: trial 0 leads, pre-training by 2 AP."""

    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        return 4 + length + 2 * (cell.arm == "pretrained") - 0.1 * number

    study, _ = load_study(folder / "photos.yaml", [])
    ladders = {(arm, "search", 1): (2.0,) for arm in study.arms}
    Planted(study=study, score=score, ladders=ladders).directory(folder / "studies/photos")


def test_commands_that_train_nothing_do_what_the_tutorial_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.yaml").write_text(STUDY)
    for words, expected in fast_commands():
        if words[0] == "status":
            plant_results(tmp_path)
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{words}: {done.output}{done.exception}"
        if words[0] != "findings":  # its numbers are those of a real run
            missing = [line for line in expected if line not in done.output]
            assert not missing, f"{words}: {missing}"
    assert "all-pretrained-4x.yaml" in os.listdir("best")


@pytest.mark.slow
def test_every_command_runs_from_drawing_the_photos_to_the_boxes_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/rethink-ray"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rethink_ray.cli "$@"\n')
    command.chmod(0o755)
    here = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment = os.environ | here | {"OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)  # the tutorial starts a Ray of its own
    (tmp_path / "photos.yaml").write_text(STUDY)
    output = ""
    for code in (code for kind, code in BLOCKS if kind == "bash"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{code}{done.stdout}{done.stderr}"
        output += done.stdout
    assert "reproduced" in output
    assert (tmp_path / "studies/photos/report/report.html").is_file()
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 9
