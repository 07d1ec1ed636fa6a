"""Which jobs keep what they find: those of replicates, unless a study wants none."""

from rethink_ray.search.jobs import Job
from rethink_ray.search.simulate import SimulatedCluster
from tests.search.search_builders import ap_of, facts_of, small_study


def _started(detections: str) -> list[Job]:
    study = small_study(checkpoints={"detections": detections})
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=2)
    cluster.run()
    return [job for job in cluster.started if job.asset is None]


def test_replicates_keep_their_detections_and_search_trials_do_not() -> None:
    jobs = _started("replicates")
    assert {job.purpose for job in jobs} == {"search", "replicate"}
    for job in jobs:
        kept = f"trials/{job.trial_id}/detections" if job.purpose == "replicate" else None
        assert job.detections == kept


def test_a_study_may_keep_none() -> None:
    assert {job.detections for job in _started("none")} == {None}
