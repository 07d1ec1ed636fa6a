"""``try_first: {from: ...}``: which points of another study each arm takes, and where they stay."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.extension import add_from_file, fingerprint_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.log import RecordLog
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, RoundProposed
from rethink_ray.search.best_points import BestPoints, choose_best_points
from rethink_ray.search.first_from_study import copy_first_points
from rethink_ray.search.simulate import replay
from rethink_ray.session import StudyInput, start_or_continue, start_study
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.first_values import first_values
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from tests.search.search_builders import BASE, LADDER, SEARCH, ap_of, facts_of, rung, small_study

LR, DECAY = "optimizer.lr", "optimizer.weight_decay"
SCRATCH, PRETRAINED = Cell("full", "scratch"), Cell("full", "pretrained")
SIZES = {"full": 800, "few": 60}
RECIPE = {LR: 0.02, DECAY: 1e-4}
Trial = tuple[str, dict[str, Any], list[float]]
"""Name, values, and AP at 2x, 4x, 6x, as far as it came."""

SCRATCH_TRIALS: list[Trial] = [
    ("a", {LR: 0.01, DECAY: 1e-4}, [12, 20, 30]),
    ("b", {LR: 0.04, DECAY: 1e-4}, [15, 22, 29]),
    ("c", {LR: 0.08, DECAY: 1e-4}, [14, 19]),
    ("d", {LR: 0.09, DECAY: 1e-4}, [11]),
]
"""Incumbents: ``a`` at 6x, ``b`` at 4x and 2x; then ``c`` came furthest."""
PRETRAINED_TRIALS: list[Trial] = [
    ("e", {LR: 0.005, DECAY: 1e-3}, [20, 30, 40]),
    ("f", {LR: 0.03, DECAY: 1e-3}, [19, 29, 38]),
    ("g", {LR: 0.06, DECAY: 1e-3}, [18]),
]
"""``e`` is the incumbent of all lengths."""


def records_of(trials: dict[Cell, list[Trial]]) -> StudyState:
    """One search round for each cell, whose trials scored this."""
    state = StudyState()
    for cell, rows in trials.items():
        members = tuple(Member(trial_id=name, params=v, seed=0) for name, v, _ in rows)
        proposed = RoundProposed(
            regime=cell.regime, arm=cell.arm, number=0, purpose="search", members=members
        )
        state.add(proposed)
        for name, _, scores in rows:
            for length, ap in zip((2.0, 4.0, 6.0), scores, strict=False):
                state.add(rung(name, length, ap))
    return state


OTHER = small_study()
BOTH = {SCRATCH: SCRATCH_TRIALS, PRETRAINED: PRETRAINED_TRIALS}


def chosen(study: Study, trials: dict[Cell, list[Trial]], other: Study = OTHER) -> BestPoints:
    return choose_best_points(study, StudyView(other, records_of(trials)), SIZES)


def rates(best: BestPoints, cell: Cell) -> list[Any]:
    return [point[LR] for point in best.points.get(cell.name, ())]


def test_an_arm_with_fewer_incumbents_adds_its_next_best_trial() -> None:
    best = chosen(small_study(), BOTH)
    assert rates(best, SCRATCH) == [0.01, 0.04]
    assert rates(best, PRETRAINED) == [0.005, 0.03]
    assert best.points[PRETRAINED.name][0] == {LR: 0.005, DECAY: 1e-3}


def test_a_regime_that_the_other_study_lacks_takes_the_points_of_its_largest() -> None:
    best = chosen(small_study(regimes={"full": {"images": "all"}, "new": {"images": 30}}), BOTH)
    assert best.points["new/scratch"] == best.points["full/scratch"]
    assert any("new/scratch takes the points of full/scratch" in r for r in best.remarks)


def test_the_recipes_own_values_are_tried_anyway_and_do_not_count() -> None:
    trials: list[Trial] = [("a", RECIPE, [12, 20, 30]), *SCRATCH_TRIALS[1:]]
    best = chosen(small_study(), {SCRATCH: trials, PRETRAINED: PRETRAINED_TRIALS})
    assert rates(best, SCRATCH) == [0.04]
    assert rates(best, PRETRAINED) == [0.005]


def test_a_point_outside_a_range_is_left_out_and_named() -> None:
    search = {**SEARCH, LR: {"log_uniform": [0.015, 0.1]}}
    best = chosen(small_study(search=search), BOTH)
    assert rates(best, SCRATCH) == [0.04]
    assert rates(best, PRETRAINED) == [0.03]
    assert (
        "full/scratch leaves out a point: optimizer.lr 0.01 is outside log_uniform [0.015, 0.1]"
    ) in best.remarks


def test_a_path_that_an_arm_does_not_search_keeps_the_arms_value_and_is_named() -> None:
    arms = {
        "scratch": {"set": {DECAY: 0.0005}},
        "pretrained": {"set": {"init.source": "upstream"}},
    }
    best = chosen(small_study(arms=arms), BOTH)
    assert best.points[SCRATCH.name] == ({LR: 0.01}, {LR: 0.04})
    assert f"full/scratch does not search {DECAY}: its own value stands" in best.remarks


def test_a_path_that_the_other_study_fixed_has_its_value_there() -> None:
    settings = BASE | {"optimizer": BASE["optimizer"] | {"momentum": 0.8}}
    search = SEARCH | {"optimizer.momentum": {"uniform": [0.7, 0.95]}}
    best = chosen(small_study(search=search), BOTH, small_study(settings=settings))
    assert best.points[SCRATCH.name][0] == {LR: 0.01, DECAY: 1e-4, "optimizer.momentum": 0.8}


def test_a_small_budget_takes_as_many_points_as_fit_beside_the_recipes_values() -> None:
    best = chosen(small_study(budget={"trials": 2, "replicates": 1}), BOTH)
    assert rates(best, SCRATCH) == [0.01]
    assert rates(best, PRETRAINED) == [0.005]
    assert any("full: 1 of 2 incumbents are taken" in remark for remark in best.remarks)


def test_an_arm_without_results_there_takes_none() -> None:
    best = chosen(small_study(), {SCRATCH: SCRATCH_TRIALS})
    assert best.without_points == ["full/pretrained", "few/pretrained"]
    assert rates(best, PRETRAINED) == []


def one_regime(**changes: Any) -> dict[str, Any]:
    """The tree of a small study file."""
    return {
        "study": "second",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "settings": BASE,
        "arms": {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}},
        "search": SEARCH,
        "schedule": LADDER,
        "budget": {"trials": 4, "keep": [4, 2, 1], "replicates": 1},
    } | changes


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The directory of a study that has run."""
    root = tmp_path / "other"
    directory = start_study(root, OTHER, "study: small\n", facts_of(OTHER), {})
    write_events(directory, records_of(BOTH))
    return root


def write_events(directory: StudyDirectory, state: StudyState) -> None:
    assert isinstance(directory.log, RecordLog)
    for rounds in state.rounds.values():
        for proposed in rounds.values():
            directory.log.append(proposed)
    for finished in state.rungs.values():
        directory.log.append(finished)


def given(text: str) -> StudyInput:
    study = Study.model_validate_json(json.dumps(yaml.safe_load(text)))
    check_study(study, "second.yaml")
    return StudyInput(study=study, yaml_text=text, facts=facts_of(study))


def text_of(other: Path, **changes: Any) -> str:
    """A study file with a comment and a block after ``try_first``."""
    head = yaml.safe_dump(one_regime(**changes), sort_keys=False)
    return f"# my question\n{head}try_first:\n  from: {other}  # last year's\n\nseed: 0  # of all\n"


def test_the_points_are_in_the_studys_own_files_and_the_other_study_may_vanish(
    tmp_path: Path, other: Path
) -> None:
    text = text_of(other)
    directory = start_or_continue(tmp_path / "second", given(text))
    shutil.rmtree(other)
    reopened = StudyDirectory.open(tmp_path / "second")
    expected = (RECIPE, {LR: 0.01, DECAY: 1e-4}, {LR: 0.04, DECAY: 1e-4})
    assert first_values(reopened.study, SCRATCH) == expected
    assert reopened.fingerprint == fingerprint_of(reopened.study) == directory.fingerprint
    again = start_or_continue(tmp_path / "second", given(text))
    assert again.study == reopened.study
    own_file = (tmp_path / "second" / "study.yaml").read_text()
    assert own_file.startswith("# my question\n")
    assert own_file.endswith("\nseed: 0  # of all\n")
    from_own_file = start_or_continue(tmp_path / "third", given(own_file))
    assert from_own_file.fingerprint == directory.fingerprint
    both = (reopened, from_own_file)
    first, second = (replay(d.study, d.facts, ap_of).members(SCRATCH, "search") for d in both)
    assert first == second
    assert [m.params for _, m in first][:3] == list(expected)


def test_another_source_is_another_study(tmp_path: Path, other: Path) -> None:
    start_or_continue(tmp_path / "second", given(text_of(other)))
    with pytest.raises(SpecError, match=r"try_first\.from is .*\(started with"):
        start_or_continue(tmp_path / "second", given(text_of(tmp_path / "elsewhere")))


def test_an_arm_that_is_added_later_takes_no_points(tmp_path: Path, other: Path) -> None:
    directory = start_or_continue(tmp_path / "second", given(text_of(other)))
    arms = one_regime()["arms"] | {"third": {}}
    edited = given(text_of(other, arms=arms)).study
    grown = add_from_file(directory.study, edited, "FILE", has_results=True)
    assert first_values(grown, Cell("full", "third")) == (RECIPE,)
    assert len(first_values(grown, SCRATCH)) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"arms": {"one": {}}},
            r"second: try_first\.from: must have points for an arm of this study, but got .*other, "
            r"whose arms are scratch, pretrained\. Call arms by the same name",
        ),
        (
            {"search": {LR: {"log_uniform": [0.015, 0.025]}}},
            r"but got none that a cell can try: full/scratch leaves out a point: "
            r"optimizer\.lr 0\.01 is outside .*Widen the ranges",
        ),
        (
            {"budget": {"trials": 1}},
            r"budget\.trials = 1 leaves room for no more\. Widen the ranges, raise budget\.trials",
        ),
    ],
    ids=["no arm in common", "all outside", "no room"],
)
def test_a_study_that_has_no_point_for_any_arm_is_refused(
    other: Path, changes: dict[str, Any], sentence: str
) -> None:
    asked = given(text_of(other, **changes))
    with pytest.raises(SpecError, match=sentence):
        copy_first_points(asked.study, asked.yaml_text, "second")


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    asked = given(text_of(tmp_path / "gone"))
    with pytest.raises(SpecError, match=r"try_first\.from: must hold a study.*its own study\.yaml"):
        copy_first_points(asked.study, asked.yaml_text, "second")


def test_a_study_without_a_finished_trial_is_refused(tmp_path: Path) -> None:
    start_study(tmp_path / "new", OTHER, "study: small\n", facts_of(OTHER), {})
    asked = given(text_of(tmp_path / "new"))
    with pytest.raises(SpecError, match=r"of which no trial has finished\. Let it run first"):
        copy_first_points(asked.study, asked.yaml_text, "second")


def test_points_for_a_cell_that_is_not_searched_are_refused() -> None:
    copied = {"study": "o", "data": "d", "select_on": "val", "points": {"full/scratsh": [WINNER]}}
    with pytest.raises(SpecError, match=r"must be of cells that the study searches.*full/scratch"):
        small_study(try_first={"from": "studies/other", "copied": copied})


WINNER = {LR: 0.04}
