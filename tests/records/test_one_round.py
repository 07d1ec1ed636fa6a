"""Studies without ``budget.keep``: rounds of eight, and one round where records say so."""

import json
from pathlib import Path

import pytest

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import start_study
from rethink_ray.spec.resolve import Cell, keep_of
from tests.search.search_builders import facts_of, small_study

CELL = Cell("full", "scratch")


@pytest.mark.parametrize(
    ("trials", "keep"),
    [(4, (4, 2, 2)), (8, (8, 4, 2)), (15, (15, 7, 3)), (16, (8, 4, 2)), (20, (10, 5, 2))],
)
def test_rounds_have_eight_trials_or_a_few_more(trials: int, keep: tuple[int, ...]) -> None:
    assert keep_of(small_study(budget={"trials": trials}), CELL) == keep


def test_a_study_from_before_goes_on_in_the_one_round_that_it_ran(tmp_path: Path) -> None:
    study = small_study(budget={"trials": 24, "replicates": 1})
    directory = start_study(tmp_path / "s", study, "", facts_of(study), {})
    assert keep_of(StudyDirectory.open(tmp_path / "s").study, CELL) == (8, 4, 2)
    path = tmp_path / "s" / "resolved.json"
    resolved = json.loads(path.read_text())
    del resolved["round"]
    path.write_text(json.dumps(resolved))
    older = StudyDirectory.open(tmp_path / "s")
    assert keep_of(older.study, CELL) == (24, 12, 6)
    assert older.fingerprint == directory.fingerprint
