"""Sizes of detectors, known without building them: what the table and the cache hold is true."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rethink_ray.data.shapes import shapes_folder
from rethink_ray.detection import size
from rethink_ray.detection.size import SHIPPED_SIZES, count_built_weights, num_weights, size_key
from rethink_ray.search.plan import plan_study
from rethink_ray.session import load_study_input
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import DetectorSpec
from rethink_ray.spec.resolve import TrialConfig
from tests.test_search_spaces import STEMS, facts_of

TINY = DetectorSpec(family="fcos", backbone="tiny", width=48, neck_channels=32)


def rewrite_table() -> None:
    """The table has every detector that a plan of a shipped study weighs."""
    rows: dict[str, dict[str, object]] = {}

    def weigh(config: TrialConfig) -> int:
        detector, num = config.recipe.detector, config.num_categories
        if (key := size_key(detector, num)) not in rows:
            tree = detector.model_dump(mode="json", exclude_defaults=True)
            weights = count_built_weights(detector, num)
            rows[key] = {"detector": tree, "num_categories": num, "weights": weights}
        return 1

    for stem in STEMS:
        study, _ = load_study(find_study(stem))
        plan_study(study, facts_of(study), count_weights=weigh)
    SHIPPED_SIZES.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n")


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_rows_of_the_table_are_what_torch_counts(step: int) -> None:
    """Every sixth row, or all. That each shipped study finds its rows is asserted in
    ``test_search_spaces``.

    After a change of a detector: REWRITE_GOLDEN=1 pytest tests/detection/test_size.py.
    """
    if os.environ.get("REWRITE_GOLDEN"):
        rewrite_table()
    rows = json.loads(SHIPPED_SIZES.read_text())
    assert len(rows) > 40
    has_timm = find_spec("timm") is not None
    for key, row in [*rows.items()][::step]:
        detector = DetectorSpec.model_validate_json(json.dumps(row["detector"]))
        assert key == size_key(detector, row["num_categories"])
        if is_own(detector.backbone) and not has_timm:
            continue
        assert row["weights"] == count_built_weights(detector, row["num_categories"]) > 100_000


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path))
    num_weights.cache_clear()
    return tmp_path / "sizes"


def test_a_detector_of_ones_own_is_counted_once_and_then_read(empty_cache: Path) -> None:
    assert num_weights(TINY, 6) == count_built_weights(TINY, 6)
    [kept] = empty_cache.iterdir()
    kept.write_text("7")
    num_weights.cache_clear()
    assert num_weights(TINY, 6) == 7
    kept.write_text("no number")
    num_weights.cache_clear()
    assert num_weights(TINY, 6) == count_built_weights(TINY, 6)


def test_a_cache_that_cannot_be_written_costs_time_only(empty_cache: Path) -> None:
    empty_cache.write_text("a file where the folder must go")
    assert num_weights(TINY, 7) == count_built_weights(TINY, 7)


def test_the_counts_change_their_name_with_the_code(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_weights(TINY, 6)
    monkeypatch.setattr(size, "version", lambda package: "0.0")
    size._code_digest.cache_clear()
    num_weights.cache_clear()
    num_weights(TINY, 6)
    assert len([*empty_cache.iterdir()]) == 2
    size._code_digest.cache_clear()


def test_planning_a_study_that_ships_imports_nothing_that_takes_long() -> None:
    data = load_study_input("quickstart", is_planned_only=True).study.data
    for file in shapes_folder(data.shapes, data.root).rglob("*.*"):
        os.utime(file, (1, 1))  # files drawn just now are read again, and indexed again, each time
    load_study_input("quickstart", is_planned_only=True)  # its index is built once
    code = (
        "import sys, rethink_ray; rethink_ray.plan('quickstart');"
        "slow = {'torch', 'ray', 'pandas', 'optuna', 'scipy.stats', 'pyarrow.compute'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
