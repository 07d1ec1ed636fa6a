"""What must not change a study: the order in which its answers arrive, a kill, a record twice."""

from collections.abc import Sequence

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event
from rethink_ray.search.decide import Decider
from rethink_ray.search.simulate import JobAnswer, SimulatedCluster, replay
from rethink_ray.spec.study import Study
from tests.search.search_builders import facts_of


def facts_in(state: StudyState) -> tuple[object, ...]:
    """Everything the records say, without the order in which it came."""
    rungs = {key: rung.metrics for key, rung in state.rungs.items()}
    return dict(state.rounds), rungs, state.ended, state.assets, state.looks_taken


def events_of(state: StudyState) -> list[Event]:
    """Records that fold to this state: rounds first, then what became of them."""
    rounds = [r for by_number in state.rounds.values() for r in by_number.values()]
    results = [*state.rungs.values(), *state.ended.values(), *state.assets.values()]
    return [*rounds, *results, *state.looks_taken]


def assert_same_in_any_order(study: Study, answer: JobAnswer, slots: int, order: int) -> None:
    """So many slots and this order of arrival give what one slot gives."""
    once = replay(study, facts_of(study), answer, slots=1, order_seed=0)
    again = replay(study, facts_of(study), answer, slots=slots, order_seed=order)
    assert facts_in(again) == facts_in(once)


def assert_decided_the_same(
    study: Study, events: Sequence[Event], shuffled: Sequence[Event], *, too_early: bool
) -> None:
    """Records added one by one, in another order or twice, lead to the same decision.

    With ``too_early`` also if it was decided after each of them: that leaves nothing behind.
    """
    one_by_one, decider = StudyState(), Decider(study, facts_of(study))
    for event in shuffled:
        one_by_one.add(event)
        if too_early:
            decider.next_jobs(one_by_one)
    assert decider.next_jobs(one_by_one) == Decider(study, facts_of(study)).next_jobs(
        StudyState(events)
    )


def assert_same_after_kills(study: Study, answer: JobAnswer, stops: Sequence[int]) -> None:
    """Killed after so many events, again and again, and continued: the same study."""
    facts, state = facts_of(study), StudyState()
    for max_events in stops:  # each pass loses what was running and starts a fresh decider
        SimulatedCluster(study, facts, answer, slots=3, state=state).run(max_events)
    ended = replay(study, facts, answer, events=events_of(state))
    assert facts_in(ended) == facts_in(replay(study, facts, answer))
