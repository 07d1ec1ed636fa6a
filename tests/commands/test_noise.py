"""``plan --noise``: a number, or what the study has shown."""

from pathlib import Path

import pytest

from rethink_ray.commands.study import read_noise
from rethink_ray.spec.errors import SpecError
from tests.analysis.planted import TREE, Planted, build_study, written


def test_a_number_is_taken_as_it_is() -> None:
    assert read_noise("0.5", "nowhere") == 0.5


def test_a_study_that_has_run_gives_the_scatter_inside_its_arms(tmp_path: Path) -> None:
    scores = {("scratch", 2.0): (9.0, 10.0, 11.0), ("pretrained", 2.0): (49.0, 50.0, 51.0)}
    budget = {"trials": 1, "keep": [1], "replicates": 3}
    study = build_study(schedule={**TREE["schedule"], "lengths": [2]}, budget=budget)
    where = Planted(study, written(scores)).directory(tmp_path / "s")
    assert read_noise("measured", str(where)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "says"),
    [("much", "must be a number of points, or measured"), ("measured", "that has begun")],
)
def test_other_words_and_a_study_that_has_not_begun_are_refused(words: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_noise(words, "nowhere")
