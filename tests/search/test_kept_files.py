"""No job ever misses a file that a study said it may drop: dry runs with files that are names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.extension import extend
from rethink_ray.protocol.retention import needed_by
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, RungDone
from rethink_ray.search.jobs import Job
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import cells_of
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of
from tests.search.search_builders import LADDER, ap_of, diverging_above, facts_of, small_study

BUDGET = {"trials": 6, "keep": [4, 2, 2], "replicates": 2, "audit": 1}


class Watched:
    """A dry run whose trials leave a trunk at each rung; dropped at once where nobody needs it."""

    def __init__(
        self,
        study: Study,
        facts: DataFacts,
        state: StudyState,
        order: int,
        trunks: frozenset[str] = frozenset(),
    ) -> None:
        self.trunks = set(trunks)
        self.missed: list[str] = []
        self.cluster = SimulatedCluster(
            study,
            facts,
            diverging_above(0.08),
            slots=3,
            duration=lambda job, length: float(seed_of(order, job.job_id, f"{length:g}")),
            state=state,
        )
        self.cluster.watch = self.watch
        self._study = study
        self._num_started = 0

    def watch(self, event: Event) -> None:
        state = self.cluster.state
        self.look_at(self.cluster.started)
        if isinstance(event, RungDone):
            self.trunks.add(event.trial_id)
        self.drop(StudyState([*events_of(state), event]))

    def look_at(self, started: list[Job]) -> None:
        """Whoever goes on from an earlier rung must find its trunk."""
        for job in started[self._num_started :]:
            trial_id = job.trial_id or ""
            done = any(of == trial_id for of, _ in self.cluster.state.rungs)
            if done and trial_id not in self.trunks:
                self.missed.append(job.job_id)
        self._num_started = len(started)

    def drop(self, state: StudyState) -> None:
        needed = [
            needed_by(StudyView(self._study, state).cell(cell)) for cell in cells_of(self._study)
        ]
        running = {job_id.rpartition("-")[0] for job_id in self.cluster.running}
        self.trunks &= running.union(*(n.trunks for n in needed))


@settings(max_examples=6, deadline=None, derandomize=True)
@given(order=st.integers(0, 2**20))
@pytest.mark.parametrize("copied", [False, True])
def test_a_study_and_its_continuations_find_every_trunk_they_go_on_from(
    order: int, copied: bool
) -> None:
    study = copying() if copied else small_study(budget=BUDGET, arms={"scratch": {}})
    facts, state = facts_of(study), StudyState()
    first = Watched(study, facts, state, order)
    assert first.cluster.run().done
    first.drop(state)
    assert len(first.trunks) < len({trial_id for trial_id, _ in state.rungs})
    longer = extend(study, lengths=[12.0])
    second = Watched(longer, facts, state, order, frozenset(first.trunks))
    assert second.cluster.run().done
    assert first.missed == second.missed == []


@settings(max_examples=6, deadline=None, derandomize=True)
@given(order=st.integers(0, 2**20))
def test_a_round_that_has_converged_needs_no_trunk_any_more(order: int) -> None:
    """A length is worth 4 points: at 4.5 every round ends after two, and none goes on."""
    study = small_study(budget=BUDGET, arms={"scratch": {}}, schedule={**LADDER, "converged": 4.5})
    facts, state = facts_of(study), StudyState()
    first = Watched(study, facts, state, order)
    assert first.cluster.run().done
    first.drop(state)
    assert first.missed == []
    assert not first.trunks
    second = Watched(extend(study, lengths=[12.0]), facts, state, order)
    assert second.cluster.run().done
    assert not second.cluster.started


def copying() -> Study:
    arms: dict[str, object] = {"scratch": {}, "copy": {}}
    return small_study(budget=BUDGET, arms=arms, tuning={"copy_from": "scratch"})


def test_without_promotable_trunks_a_longer_ladder_trains_them_again() -> None:
    study = small_study(budget=BUDGET, checkpoints={"trunks": "unfinished"})
    facts, state = facts_of(study), StudyState()
    first = Watched(study, facts, state, order=1)
    assert first.cluster.run().done
    first.drop(state)
    assert first.trunks == set()
    second = Watched(extend(study, lengths=[12.0]), facts, state, order=1)
    assert second.cluster.run().done
    assert second.missed


def test_more_trials_and_replicates_go_on_from_nothing_that_was_dropped() -> None:
    study = small_study(budget=BUDGET, checkpoints={"trunks": "unfinished"})
    facts, state = facts_of(study), StudyState()
    first = Watched(study, facts, state, order=1)
    assert first.cluster.run().done
    larger = extend(study, trials=12, replicates=4)
    second = Watched(larger, facts, state, order=2)
    assert second.cluster.run().done
    assert second.missed == []


def test_a_study_keeps_fewer_trunks_the_further_it_is() -> None:
    study = small_study(budget=BUDGET, schedule=LADDER)
    facts, state = facts_of(study), StudyState()
    kept: list[int] = []
    cluster = SimulatedCluster(study, facts, ap_of, slots=1, state=state)
    cluster.watch = lambda event: kept.append(
        sum(len(needed_by(StudyView(study, state).cell(cell)).branches) for cell in cells_of(study))
    )
    assert cluster.run().done
    assert (
        sum(len(needed_by(StudyView(study, state).cell(cell)).branches) for cell in cells_of(study))
        == 0
    )
    assert max(kept) > 0
