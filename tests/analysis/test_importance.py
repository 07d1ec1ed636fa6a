"""Importance of searched parameters: shares checkable by pencil, and cells with too few trials."""

import json

import numpy as np
import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.sections.importance import Importance, TooFewTrials
from rethink_ray.analysis.show.optional_sheets import sheets
from rethink_ray.analysis.show.render import as_json_text
from rethink_ray.judge.ranks import explained_shares, regression_columns
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.space import Parameter
from tests.analysis.planted import Planted, build_study

RATES = [0.005 * 1.13**i for i in range(22)]
NORMS = ["gn", "bn"] * 11


def _findings(trials: int = 22, **ended: str) -> Findings:
    """AP rises with the rate, whatever the norm."""
    search = {
        "optimizer.lr": {"log_uniform": [0.005, 0.08]},
        "detector.norm": {"choice": ["gn", "bn"]},
    }
    budget = {"trials": trials, "keep": [trials] * 3, "replicates": 0}
    study = build_study(search=search, budget=budget, arms={"scratch": {}})

    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        return 10.0 + length + number

    fell = {("scratch", "search", int(i.removeprefix("t"))): why for i, why in ended.items()}
    planted = Planted(study, score, lr=RATES, norms=NORMS, ended=fell)
    return derive_findings(planted.tables())


def test_what_decides_the_order_of_all_trials_explains_all_of_it() -> None:
    found = [i for i in _findings().sections["importance"] if isinstance(i, Importance)]
    assert [(i.length, i.parameter) for i in found] == [
        (2.0, "optimizer.lr"),
        (2.0, "detector.norm"),
        (6.0, "optimizer.lr"),
        (6.0, "detector.norm"),
    ]
    assert found[0].share == pytest.approx(1.0)
    assert found[0].verdict == "clear"
    assert found[1].share < 0.01
    assert found[1].verdict == "within chance"


def test_below_20_finished_trials_nothing_is_tested_and_the_table_says_so() -> None:
    findings = _findings(trials=19)
    assert findings.sections["importance"] == (
        TooFewTrials(cell=Cell("full", "scratch"), trials=19),
    )
    (sheet,) = [s for s in sheets(findings) if s.title == "Which parameters matter"]
    assert sheet.rows[0][3] == "not tested: finished trials at most 19"
    assert json.loads(as_json_text(findings))["importance"][0]["verdict"] == "not tested"


def test_a_diverged_trial_counts_as_the_last_at_the_first_rung_only() -> None:
    found = [
        i for i in _findings(t21="diverged").sections["importance"] if isinstance(i, Importance)
    ]
    assert [i.trials for i in found if i.parameter == "optimizer.lr"] == [22, 21]
    assert found[0].share < 0.95  # the highest rate now stands last


def test_a_choice_explains_the_variance_between_its_options() -> None:
    """Ranks 1, 2 | 3, 4: of the variance 5, 4 lies between the two options."""
    norm = Parameter(choice=("gn", "bn"))
    columns = regression_columns(norm, ["gn", "gn", "bn", "bn"])
    ((share, _),) = explained_shares([columns], [1.0, 2.0, 3.0, 4.0], np.random.default_rng(0))
    assert share == pytest.approx(0.8)


def test_a_parameter_that_exists_for_some_trials_only_is_judged_by_that_as_well() -> None:
    momentum = Parameter(uniform=(0.8, 0.95), when={"optimizer.name": "sgd"})
    values = [0.9, 0.9, 0.9, None, None, None]
    columns = regression_columns(momentum, values)
    ((share, _),) = explained_shares([columns], [4, 5, 6, 1, 2, 3], np.random.default_rng(0))
    assert share == pytest.approx(13.5 / 17.5)  # between 2 and 5, around 3.5, six times


def test_trials_that_all_score_the_same_say_nothing() -> None:
    columns = regression_columns(Parameter(uniform=(0.0, 1.0)), [0.1, 0.5, 0.9])
    assert explained_shares([columns], [1.0, 1.0, 1.0], np.random.default_rng(0)) == [(0.0, 0.0)]


def test_the_copies_are_shuffled_the_same_way_each_time() -> None:
    assert _findings().sections["importance"] == _findings().sections["importance"]
