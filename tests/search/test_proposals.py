"""What a cell proposes: base values first, shared points, conditions, no repeats."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.extension import extend
from rethink_ray.protocol.halving import HalvingState, Ladder
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import TrialEnded
from rethink_ray.search.configs import CellConfigs
from rethink_ray.search.observations import as_observation, distribution_of
from rethink_ray.search.points import (
    key_of,
    round_to_significant,
    shared_point,
    space_in,
    value_at_coordinate,
)
from rethink_ray.search.proposals import Proposer
from rethink_ray.search.simulate import replay
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell, CellResolver, cells_of, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study
from tests.search.search_builders import (
    SEARCH,
    ap_of,
    diverging_above,
    facts_of,
    member,
    rung,
    small_study,
)

CELL = Cell("full", "scratch")
ONE_CELL: dict[str, Any] = {"regimes": {"full": {"images": "all"}}, "arms": {"scratch": {}}}
SAMPLERS = ["auto", "tpe", "gp", "random", "quasi_random"]
CONDITIONAL: dict[str, Any] = SEARCH | {
    "optimizer.name": {"choice": ["sgd", "adamw"]},
    "optimizer.momentum": {"uniform": [0.8, 0.95], "when": {"optimizer.name": "sgd"}},
    "augment.color": {"uniform": [0.0, 0.5]},
}


def proposed(study: Study, cell: Cell = CELL, trials: int = 8) -> list[dict[str, Any]]:
    """The search configurations of a cell of a replayed study."""
    budget = {"trials": trials, "keep": [4, 2, 1], "replicates": 0}
    study = study.model_copy(
        update={"budget": small_study(budget=budget).budget},
    )
    state = replay(study, facts_of(study), diverging_above(0.09))
    return [dict(m.params) for _, m in state.members(cell, "search")]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_stays_in_the_space_and_starts_from_the_base(sampler: str) -> None:
    study = small_study(sampler=sampler, search=CONDITIONAL, **ONE_CELL)
    space = space_of(study, CELL)
    trials = proposed(study, trials=8)
    assert trials[0] == {
        "optimizer.lr": 0.02,
        "optimizer.weight_decay": 1e-4,
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
        "augment.color": 0.0,
    }
    for params in trials:
        assert all(space[path].contains(value) for path, value in params.items())
        assert ("optimizer.momentum" in params) == (params["optimizer.name"] == "sgd")
    assert len({key_of(p) for p in trials}) == 8


def test_arms_of_a_regime_are_asked_at_the_same_points() -> None:
    arms = {"scratch": {}, "pretrained": {"search": {"init.frozen": {"choice": ["none"]}}}}
    study = small_study(arms=arms)
    scratch, pretrained = (proposed(study, Cell("full", arm)) for arm in arms)
    assert [p["optimizer.lr"] for p in scratch] == [p["optimizer.lr"] for p in pretrained]
    assert proposed(study, Cell("few", "scratch"))[1:] != scratch[1:]


def test_a_conditional_path_does_not_shift_the_points_of_the_others() -> None:
    arms: dict[str, Any] = {
        "scratch": {},
        "own": {"search": {"optimizer.momentum": {"uniform": [0.8, 0.95]}}},
    }
    study = small_study(arms=arms)
    plain, own = (proposed(study, Cell("full", arm)) for arm in arms)
    assert plain == [
        {k: v for k, v in params.items() if k != "optimizer.momentum"} for params in own
    ]


def test_a_study_with_another_seed_draws_other_points() -> None:
    assert proposed(small_study(seed=0))[1:] != proposed(small_study(seed=1))[1:]


def test_a_small_discrete_space_is_used_up_before_anything_repeats() -> None:
    search = {
        "detector.norm": {"choice": ["gn", "bn"]},
        "detector.head_convs": {"int_uniform": [1, 3]},
    }
    trials = proposed(small_study(search=search, arms={"scratch": {}}), trials=8)
    every = {
        key_of({"detector.norm": norm, "detector.head_convs": convs})
        for norm, convs in itertools.product(["gn", "bn"], [1, 2, 3])
    }
    assert {key_of(p) for p in trials[:6]} == every
    assert {key_of(p) for p in trials[6:]} <= every


def test_an_inactive_path_makes_no_configuration_of_its_own() -> None:
    search = {
        "optimizer.name": {"choice": ["sgd", "adamw"]},
        "detector.head_convs": {"int_uniform": [1, 3], "when": {"optimizer.name": "sgd"}},
    }
    space = space_in(small_study(search=search, arms={"scratch": {}}), CELL)
    assert space.num_configurations == 4
    assert {"optimizer.name": "adamw"} in list(space.configurations())
    assert space_in(small_study(), CELL).num_configurations is None


@pytest.mark.parametrize(
    ("spelt", "coordinate", "value"),
    [
        ({"uniform": [0.0, 10.0]}, 0.25, 2.5),
        ({"log_uniform": [0.01, 1.0]}, 0.5, 0.1),
        ({"int_uniform": [1, 3]}, 0.0, 1),
        ({"int_uniform": [1, 3]}, 0.34, 2),
        ({"int_uniform": [1, 3]}, 0.999999, 3),
        ({"choice": ["a", "b", "c"]}, 0.5, "b"),
        ({"choice": ["a", "b", "c"]}, 0.999999, "c"),
    ],
)
def test_a_coordinate_is_a_value(spelt: dict[str, Any], coordinate: float, value: object) -> None:
    parameter = Parameter.model_validate_json(json.dumps(spelt))
    assert value_at_coordinate(parameter, coordinate) == value


def test_recorded_floats_have_six_digits_and_stay_inside_the_bounds() -> None:
    parameter = Parameter(uniform=(0.12345639, 0.98765451))
    assert round_to_significant(parameter, 0.5000004) == 0.5
    assert round_to_significant(parameter, 0.1234564) == 0.12345639  # 0.123456 lies below
    assert round_to_significant(parameter, 0.987654505) == 0.98765451  # 0.987655 lies above


def test_points_of_a_longer_sequence_begin_with_those_of_a_shorter() -> None:
    study, paths = small_study(), ("optimizer.lr", "optimizer.weight_decay")
    first = [shared_point(study, CELL, paths, i) for i in range(32)]
    shared_point(study, CELL, paths, 100)
    assert [shared_point(study, CELL, paths, i) for i in range(32)] == first
    for path in paths:  # one point in each 32nd: Sobol's promise
        assert sorted(int(p[path] * 32) for p in first) == list(range(32))


def test_seeds_differ_by_what_they_are_for() -> None:
    assert seed_of(0, "full/scratch", "search", 1) == seed_of(0, "full/scratch", "search", 1)
    assert len({seed_of(s, c, i) for s in (0, 1) for c in "ab" for i in range(25)}) == 100


def test_configurations_are_those_that_spec_resolves() -> None:
    study = small_study(search=CONDITIONAL)
    facts = facts_of(study)
    for cell in cells_of(study):
        view = StudyView(study, StudyState(), facts).cell(cell)
        for params in proposed(study, cell)[:4]:
            expected = CellResolver(study, cell, facts).resolve(params, 7)
            assert view.resolve(params, 7) == expected
            new = CellConfigs(view).build_member(params, 7, asset_seed=1)
            assert new.trial_id == expected.trial_id


def test_proposals_are_the_same_in_another_process() -> None:
    search = json.dumps(CONDITIONAL)
    script = (
        "import hashlib, json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from search_builders import small_study\nfrom test_proposals import ONE_CELL, proposed\n"
        "study = small_study(search=json.loads(sys.argv[2]), **ONE_CELL)\n"
        "text = json.dumps(proposed(study, trials=20))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    study = small_study(search=CONDITIONAL, **ONE_CELL)
    here = hashlib.sha256(json.dumps(proposed(study, trials=20)).encode()).hexdigest()
    ran = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), search],
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == here


def test_the_model_takes_over_after_twelve_finished_trials() -> None:
    study = small_study(**ONE_CELL)
    auto = proposed(study, trials=20)
    sobol = proposed(study.model_copy(update={"sampler": "quasi_random"}), trials=20)
    assert auto[:12] == sobol[:12]
    assert auto[12:] != sobol[12:]


def test_the_model_learns_where_it_is_good() -> None:
    study = small_study(**ONE_CELL)
    study = study.model_copy(
        update={
            "budget": small_study(budget={"trials": 60, "keep": [4, 2, 1], "replicates": 0}).budget
        }
    )
    state = replay(study, facts_of(study), ap_of)
    rates = [float(m.params["optimizer.lr"] or 0) for _, m in state.members(CELL, "search")]

    def near(found: list[float]) -> float:  # within a factor of 2 of the best, 0.02
        return sum(0.01 <= rate <= 0.04 for rate in found) / len(found)

    assert near(rates[40:]) > near(rates[:12])


# --- trials as observations for a sampler -----------------------------------------------


def observe(state: StudyState, granted: int, **options: bool) -> Any:
    """The trial as an observation, after halving promoted it to so many lengths."""
    halving = HalvingState(steps=((member("t"),),) * granted, waiting=())
    return as_observation(state, LADDER, halving, member("t"), {}, **options)


LADDER = Ladder(lengths=(2.0, 4.0, 6.0), keep=(4, 2, 1), metric="val/ap")


def test_a_trial_that_reached_the_end_is_complete_with_its_last_value() -> None:
    state = StudyState([rung("t", 2.0, 10), rung("t", 4.0, 20), rung("t", 6.0, 30)])
    trial = observe(state, 3)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 30)


def test_a_stopped_trial_is_pruned_with_the_rungs_that_halving_granted() -> None:
    state = StudyState([rung("t", 2.0, 10), rung("t", 4.0, 20), rung("t", 6.0, 30)])
    trial = observe(state, 2)  # the third was the audit's
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values.values()) == [10, 20]


def test_a_diverged_trial_is_told_the_worst_finite_value() -> None:
    state = StudyState([TrialEnded(trial_id="t", outcome="diverged", reason="")])
    trial = observe(state, 1)
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values.values()) == [0.0]
    for_gp = observe(state, 1, diverged_is_complete=True)
    assert (for_gp.state, for_gp.value) == (TrialState.COMPLETE, 0.0)


@pytest.mark.parametrize("outcome", ["infeasible", "misconfigured", "refused"])
def test_what_never_was_a_measurement_is_never_ranked(outcome: Any) -> None:
    state = StudyState([TrialEnded(trial_id="t", outcome=outcome, reason="")])
    assert observe(state, 1).state == TrialState.FAIL


@pytest.mark.parametrize("kind", ["log_uniform", "uniform", "int_uniform", "choice"])
def test_every_kind_of_parameter_has_a_distribution_that_holds_its_values(kind: str) -> None:
    spelt: dict[str, Any] = {
        "log_uniform": [0.001, 0.1],
        "uniform": [0.0, 1.0],
        "int_uniform": [1, 9],
        "choice": ["a", "b"],
    }
    parameter = Parameter.model_validate_json(json.dumps({kind: spelt[kind]}))
    distribution = distribution_of(parameter)
    for value in parameter.choice or parameter.bounds:
        internal = distribution.to_internal_repr(value)
        assert distribution.to_external_repr(internal) == value


def test_a_cell_is_asked_for_as_many_as_its_round_holds() -> None:
    study = small_study()
    proposer = Proposer(StudyView(study, StudyState()).cell(CELL))
    assert len(proposer.propose(0, 5)) == 5


FIRST = [{"optimizer.lr": 0.04}, {"optimizer.lr": 0.08}, {"optimizer.lr": 0.01}]
RATES = [0.02, 0.04, 0.08, 0.01]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_values_to_try_first_come_before_every_samplers_own(sampler: str) -> None:
    study = small_study(sampler=sampler, try_first=FIRST)
    plain = small_study(sampler=sampler)
    for arm in study.arms:
        cell = Cell("full", arm)
        rates = [params["optimizer.lr"] for params in proposed(study, cell)]
        assert rates[:4] == RATES
        assert not set(rates[4:]) & set(RATES)
        if sampler == "quasi_random":  # the points that follow are those of a study without it
            assert rates[4:] == [p["optimizer.lr"] for p in proposed(plain, cell)][4:]


def test_values_to_try_first_go_on_in_the_next_round() -> None:
    budget = {"trials": 6, "keep": [2, 1, 1], "replicates": 1}
    study = small_study(try_first=FIRST, budget=budget, **ONE_CELL)
    state = replay(study, facts_of(study), ap_of)
    rounds = StudyView(study, state).cell(CELL).rounds("search")
    rates = {n: [m.params["optimizer.lr"] for m in r.members] for n, r in rounds.items()}
    assert [rates[0], rates[1]] == [RATES[:2], RATES[2:]]
    assert len(rates[2]) == 2


def test_every_search_of_a_cell_tries_them_first() -> None:
    budget = {"trials": 6, "keep": [6, 2, 1], "replicates": 1, "searches": 2}
    study = small_study(try_first=FIRST, budget=budget, **ONE_CELL)
    state = replay(study, facts_of(study), ap_of)
    for number in range(2):
        members = state.members(Cell("full", "scratch", number), "search")
        assert [m.params["optimizer.lr"] for _, m in members][:4] == RATES


def test_a_model_is_fitted_to_them_as_to_any_other_trial() -> None:
    """TPE ranks their scores, so what it proposes after them changes with them."""
    with_first, without = (
        small_study(sampler="tpe", try_first=entries, **ONE_CELL) for entries in (FIRST, [])
    )
    assert [p["optimizer.lr"] for p in proposed(with_first)][:4] == RATES
    assert proposed(with_first)[4:] != proposed(without)[4:]


def test_more_trials_later_repeat_none_of_them() -> None:
    study = small_study(try_first=FIRST, budget={"trials": 4, "replicates": 1}, **ONE_CELL)
    before = replay(study, facts_of(study), ap_of)
    grown = extend(study, trials=8)
    after = replay(grown, facts_of(grown), ap_of)
    first, second = (
        [m.params["optimizer.lr"] for _, m in state.members(CELL, "search")]
        for state in (before, after)
    )
    assert first == second[:4] == RATES
    assert len(set(second)) == 8
