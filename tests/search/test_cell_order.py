"""Which cells get slots first, with chains one can add up by hand."""

from typing import Any

from rethink_ray.records.state import StudyState
from rethink_ray.search.decide import Decider
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.spec.study import Study
from tests.search.search_builders import ap_of, facts_of, small_study

SHORT_FIRST: dict[str, Any] = {
    "regimes": {
        "few": {"images": 60, "set": {"schedule.unit": 50}},
        "full": {"images": "all"},
    },
    "arms": {
        "scratch": {},
        "taught": {"teacher": "scratch", "set": {"labels.kind": "continued"}},
    },
    "budget": {"trials": 2, "replicates": 1},
}


def order_of_cells(study: Study, *, slots: int = 1) -> list[str]:
    """Cells in the order in which their first jobs start."""
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=slots)
    cluster.run()
    return list(dict.fromkeys(job.cell for job in cluster.started if job.asset is None))


def test_the_cell_whose_jobs_take_longest_one_after_another_comes_first() -> None:
    """A ladder is 680 updates in full and 340 in few. Chains: full/scratch teaches (3 ladders),
    full/taught 2 ladders of 680, few/scratch 3 and few/taught 2 of 340."""
    study = small_study(**SHORT_FIRST)
    assert order_of_cells(study) == ["full/scratch", "full/taught", "few/scratch", "few/taught"]


def test_equal_chains_keep_the_order_of_the_study() -> None:
    study = small_study()
    facts = facts_of(study)
    state = StudyState()
    decider = Decider(study, facts)
    for event in decider.next_jobs(state).rounds:
        state.add(event)
    cells = [job.cell for job in decider.next_jobs(state).jobs if job.asset is None]
    assert list(dict.fromkeys(cells)) == ["full/scratch", "few/scratch"]
