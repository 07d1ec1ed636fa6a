"""The benchmark of an update runs, and compares this program with another checkout of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_every_row_of_the_benchmark_of_an_update_runs() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark_step.py"), "--small"]
    command += ["--against", str(ROOT)]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    names = [row[0] for row in rows if len(row) in (5, 6)]
    assert names.count("tiny_retinanet") == names.count("retinanet_r50") == 3
    assert "tiny_retinanet, update and its data" in names
    assert "tiny_retinanet, scored image" in names
    [parts] = [row for row in rows if row[:1] == ["tiny_retinanet"] and len(row) == 6]
    assert all(float(milliseconds) >= 0 for milliseconds in parts[1:5])
