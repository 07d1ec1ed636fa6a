"""The notebook on own pictures: it holds no outputs, and its cells run from first to last."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "own_data.ipynb"


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_holds_code_that_parses_and_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    assert len(code_cells()) > 5
    for code in code_cells():
        ast.parse(code)


@pytest.mark.slow
def test_the_notebook_goes_from_a_folder_to_boxes(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text("\n\n".join(code_cells()))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["RETHINK_RAY_CACHE"] = str(tmp_path / "cache")
    environment.pop("RAY_ADDRESS", None)  # the notebook starts a Ray of its own
    done = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 30
    assert json.loads((tmp_path / "pictures" / "detections.json").read_text())
