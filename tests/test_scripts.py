"""Scripts that write pages read what the program writes today."""

import subprocess
import sys
from pathlib import Path

from tests.analysis.planted import Planted, build_study, noisy

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def test_the_tables_of_a_study_on_drawn_shapes_have_its_scores_and_claims(tmp_path: Path) -> None:
    planted = Planted(build_study(), noisy(lambda cell, num: 10.0 + num, 0.0, 3))
    folder = planted.directory(tmp_path / "s")
    command = [sys.executable, str(SCRIPTS / "benchmark_minis.py"), str(folder)]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = page.splitlines()
    assert lines[0] == "### planted"
    [*_, scores] = [line for line in lines if line.startswith("| scratch |")]
    assert scores.count("[") == scores.count("|") - 2  # each length has its interval
    assert "| claim | difference (AP) | verdict |" in lines
