"""Synchronous halving inside one round, with values one can rank by eye."""

import math
from collections.abc import Iterable

import pytest

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.halving import Ladder, ladder_of, replay_halving
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RoundProposed, TrialEnded
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from tests.search.search_builders import LADDER as LADDER_OF_STUDY
from tests.search.search_builders import member, rung, small_study

CELL = Cell("full", "scratch")
LADDER = Ladder(lengths=(2.0, 4.0, 6.0), keep=(4, 2, 1), metric="val/ap")
ROUND = tuple(member(t) for t in ("a", "b", "c", "d"))
PROPOSED = RoundProposed(regime="full", arm="scratch", number=0, purpose="search", members=ROUND)


def ids(members: Iterable[object]) -> list[str]:
    return [m.trial_id for m in members]  # type: ignore[attr-defined]


def first_rungs(**aps: float) -> StudyState:
    return StudyState(rung(t, 2.0, ap) for t, ap in aps.items())


def test_nobody_goes_on_before_everybody_has_finished() -> None:
    state = first_rungs(a=10, b=20, c=30)
    halving = replay_halving(state, LADDER, ROUND)
    assert len(halving.steps) == 1
    assert ids(halving.waiting) == ["d"]
    assert not halving.is_decided


def test_the_best_of_a_round_go_on_in_the_order_of_the_round() -> None:
    state = first_rungs(a=10, b=40, c=20, d=30)
    halving = replay_halving(state, LADDER, ROUND)
    assert ids(halving.steps[1]) == ids(halving.waiting) == ["b", "d"]


def test_a_later_rung_is_ranked_by_its_own_values() -> None:
    state = first_rungs(a=10, b=40, c=20, d=30)
    for event in (rung("b", 4.0, 31), rung("d", 4.0, 32)):
        state.add(event)
    assert ids(replay_halving(state, LADDER, ROUND).steps[2]) == ["d"]


def test_ties_go_to_the_smaller_trial_id() -> None:
    state = first_rungs(a=10, b=10, c=10, d=10)
    assert ids(replay_halving(state, LADDER, ROUND).steps[1]) == ["a", "b"]


@pytest.mark.parametrize("outcome", ["diverged", "infeasible", "misconfigured", "refused"])
def test_what_ended_by_itself_is_never_promoted(outcome: str) -> None:
    state = first_rungs(a=1)
    for trial_id in ("b", "c", "d"):
        state.add(TrialEnded(trial_id=trial_id, outcome=outcome, reason=""))  # type: ignore[arg-type]
    assert ids(replay_halving(state, LADDER, ROUND).steps[1]) == ["a"]


def test_a_rung_without_a_finite_value_is_never_promoted() -> None:
    state = first_rungs(a=math.nan, b=math.nan, c=5, d=math.nan)
    assert ids(replay_halving(state, LADDER, ROUND).steps[1]) == ["c"]


def test_diverging_after_promotion_calls_nobody_back() -> None:
    state = first_rungs(a=10, b=40, c=20, d=30)
    state.add(TrialEnded(trial_id="b", outcome="diverged", reason="", step=7))
    state.add(rung("d", 4.0, 31))
    halving = replay_halving(state, LADDER, ROUND)
    assert ids(halving.steps[1]) == ["b", "d"]
    assert ids(halving.steps[2]) == ["d"]


def test_a_round_in_which_all_diverged_is_settled() -> None:
    state = StudyState(TrialEnded(trial_id=t, outcome="diverged", reason="") for t in "abcd")
    assert replay_halving(state, LADDER, ROUND).is_decided


def test_a_smaller_round_keeps_no_more_than_it_has() -> None:
    state = first_rungs(a=10)
    halving = replay_halving(state, LADDER, ROUND[:1])
    assert ids(halving.steps[1]) == ["a"]


def with_round(study: Study, *more: object) -> StudyState:
    """The first round of a cell: b ran everything, d two rungs, a and c one."""
    state = first_rungs(a=10, b=40, c=20, d=30)
    for event in (PROPOSED, rung("b", 4.0, 42), rung("d", 4.0, 41), rung("b", 6.0, 50), *more):
        state.add(event)  # type: ignore[arg-type]
    return state


def audit_study(audit: int, **changes: object) -> Study:
    budget = {"trials": 4, "keep": [4, 2, 1], "audit": audit}
    return small_study(budget=budget, **changes)


def audited(study: Study, state: StudyState) -> list[str]:
    return ids(StudyView(study, state).cell(CELL).audited)


def test_the_audit_takes_losers_only() -> None:
    state = with_round(audit_study(9))
    assert audited(audit_study(9), state) == ["a", "c", "d"]
    assert audited(audit_study(0), state) == []


def test_the_audit_is_a_draw_by_the_seed_of_the_study() -> None:
    state = with_round(audit_study(1))
    drawn = [audited(audit_study(1, seed=seed), state) for seed in range(40)]
    assert sorted({trial_id for [trial_id] in drawn}) == ["a", "c", "d"]


def test_there_is_no_audit_before_a_trial_is_stopped() -> None:
    """d is the only one that has not finished 2x, so b, the best so far, may still be stopped."""
    state = StudyState([rung("a", 2.0, 10), rung("b", 2.0, 40), rung("c", 2.0, 20), PROPOSED])
    assert audited(audit_study(9), state) == []


def test_the_audit_begins_once_nothing_can_change_its_draw_any_more() -> None:
    """At 2x a and c are stopped, at 4x d; b goes on to the end. Whoever is drawn before the chosen
    loser must have been decided first."""
    events = [PROPOSED, *(rung(t, 2.0, ap) for t, ap in zip("abcd", (10, 40, 20, 30), strict=True))]
    events += [rung("b", 4.0, 42), rung("d", 4.0, 41), rung("b", 6.0, 50)]
    begins: dict[str, set[int]] = {}
    for seed in range(40):
        study, state = audit_study(1, seed=seed), StudyState()
        chosen = [audited(study, state) for event in events if state.add(event)]
        first = next(number for number, trials in enumerate(chosen) if trials)
        assert chosen[first:] == [chosen[-1]] * (len(events) - first)
        begins.setdefault(chosen[-1][0], set()).add(first)
    # event 4: all have finished 2x; event 6: both that went on have finished 4x
    assert begins == {"a": {4, 6}, "c": {4, 6}, "d": {6}}


def test_an_audit_waits_for_its_round_where_rounds_may_converge() -> None:
    study = audit_study(1, schedule=LADDER_OF_STUDY | {"converged": 0.5})
    state = first_rungs(a=10, b=40, c=20, d=30)
    for event in (PROPOSED, rung("b", 4.0, 42), rung("d", 4.0, 41)):
        state.add(event)
    assert audited(study, state) == []
    state.add(rung("b", 6.0, 50))
    assert len(audited(study, state)) == 1


@pytest.mark.parametrize("went_on", ["a", "c"])
def test_a_loser_that_ran_on_stays_the_audit(went_on: str) -> None:
    study = audit_study(1)
    assert audited(study, with_round(study, rung(went_on, 4.0, 12))) == [went_on]
    diverged = TrialEnded(trial_id=went_on, outcome="diverged", reason="")
    assert audited(study, with_round(study, diverged)) == [went_on]


def test_who_diverged_at_the_first_rung_is_not_audited() -> None:
    study = audit_study(9)
    state = StudyState(rung(t, 2.0, 10) for t in ("a", "b", "c"))
    state.add(TrialEnded(trial_id="d", outcome="diverged", reason=""))
    state.add(
        RoundProposed(regime="full", arm="scratch", number=0, purpose="search", members=ROUND)
    )
    for event in (rung("a", 4.0, 1), rung("b", 4.0, 2), rung("b", 6.0, 3)):
        state.add(event)
    assert audited(study, state) == ["a", "c"]


def test_the_ladder_of_a_cell_is_the_studys() -> None:
    ladder = ladder_of(small_study(), CELL)
    assert (ladder.lengths, ladder.keep, ladder.searched) == ((2.0, 4.0, 6.0), (8, 4, 2), False)
