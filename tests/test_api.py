"""The two calls from Python: reading a study needs neither Ray nor torch, running one gives it."""

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest

import rethink_ray
from rethink_ray.search.paces import ANY_ARM, MeasuredPaces, Pace, write_paces
from rethink_ray.spec.errors import RecordError, SpecError
from tests.analysis.planted import Planted, build_study, noisy

HOUR_A_HUNDRED = Pace(
    seconds_per_update=36.0, seconds_per_scored_image=0.0, seconds_to_start=0.0, spread=0.0
)
"""A hundred updates take an hour."""


def _written(root: Path) -> Path:
    planted = Planted(build_study(), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    return planted.directory(root / "s")


def test_a_finished_study_is_read_as_arrow_tables_and_findings(tmp_path: Path) -> None:
    read = rethink_ray.read_study(_written(tmp_path))
    assert isinstance(read.trials, pa.Table)
    assert read.rungs.num_rows == read.trials.num_rows * 3
    assert "param.optimizer.lr" in read.trials.column_names
    assert read.as_dict()["study"] == "planted"
    assert "FINDINGS" in str(read)
    assert read._repr_markdown_().startswith("# planted")
    assert read.findings.findings[0].family == "primary"


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'ray', 'optuna', 'pyarrow', 'scipy', 'numpy', 'pydantic', 'yaml'}"
    code = f"import sys, rethink_ray; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_reading_a_study_imports_neither_ray_nor_torch(tmp_path: Path) -> None:
    code = (
        f"import sys, rethink_ray; rethink_ray.read_study({str(_written(tmp_path))!r});"
        "print(sorted({'torch', 'ray', 'optuna'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_folder_without_a_study_and_a_tree_that_is_none_have_their_sentence(
    tmp_path: Path,
) -> None:
    with pytest.raises(RecordError, match=str(tmp_path)):
        rethink_ray.read_study(tmp_path)
    with pytest.raises(SpecError, match="regimes"):
        rethink_ray.run({"study": "x", "data": {"dataset": "shapes"}}, str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def _tree(tmp_path: Path) -> dict[str, Any]:
    """A study of one cell, as somebody types it in Python."""
    return {
        "study": "from-python",
        "data": {
            "dataset": "shapes",
            "root": tmp_path / "pictures",
            "shapes": MappingProxyType({"train": 20, "val": 4, "test": 4, "image_px": 32}),
        },
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}},
        "search": {"optimizer.lr": {"log_uniform": (0.002, 0.1)}},
        "schedule": {"unit": 50, "lengths": (1, 2), "warmup": 5},
        "budget": {"trials": 2, "replicates": 1},
    }


def test_a_run_that_its_hours_cut_leaves_a_report_unless_told_not_to(tmp_path: Path) -> None:
    tree, where = _tree(tmp_path), str(tmp_path / "s")
    too_short = 1e-6  # over before a slot has started
    results = rethink_ray.run(tree, where, hours=too_short, report=False)
    assert (results.status, results.report) == ("stopped", None)
    results = rethink_ray.run(tree, where, hours=too_short)
    assert results.report == tmp_path / "s" / "report" / "report.html"
    assert "The study is unfinished: " in results.report.read_text()
    assert rethink_ray.read_study(where).report == results.report


def test_a_tree_may_hold_paths_tuples_and_read_only_mappings(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    plain = {**tree, "data": {**tree["data"], "root": str(tmp_path / "pictures")}}
    planned = rethink_ray.plan(MappingProxyType(tree))
    assert planned == rethink_ray.plan(plain)
    assert (tmp_path / "pictures").is_dir()
    assert (planned.slots, planned.hours) == (1, None)
    paces = MeasuredPaces(machine="a laptop", slots=2, arms={ANY_ARM: HOUR_A_HUNDRED})
    write_paces(tmp_path / "paces.json", paces)
    timed = rethink_ray.plan(plain, pace=tmp_path / "paces.json")
    assert timed.slots == 2
    assert timed.hours is not None
    busy = timed.steps / 100 / timed.busy_share / 2  # hours of two slots, idle times included
    assert timed.hours.expected == pytest.approx(busy, rel=0.35)
    assert timed.hours.low < timed.hours.expected < timed.hours.high
    assert rethink_ray.plan(plain, slots=1, pace=tmp_path / "paces.json").slots == 1
