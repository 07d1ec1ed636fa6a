"""Room in the cluster, counted in jobs."""

import pytest

from rethink_ray.cluster.session import Capacity
from rethink_ray.spec.study import ResourceSpec


@pytest.mark.parametrize(
    ("resources", "has", "limit", "jobs"),
    [
        ({}, {"CPU": 2.0}, None, 2),
        ({}, {"CPU": 8.0}, 3, 3),
        ({"cpus_per_worker": 4}, {"CPU": 7.0}, None, 1),
        ({"workers": 2, "cpus_per_worker": 2}, {"CPU": 8.0}, None, 2),
        ({"gpus_per_worker": 0.5}, {"CPU": 8.0, "GPU": 1.0}, None, 2),
        ({"gpus_per_worker": 1.0}, {"CPU": 8.0}, None, 0),
        ({}, {}, None, 0),
    ],
)
def test_as_many_jobs_fit_as_cpus_and_gpus_allow(
    resources: dict[str, float], has: dict[str, float], limit: int | None, jobs: int
) -> None:
    assert Capacity(ResourceSpec(**resources), limit).fitting(has) == jobs  # type: ignore[arg-type]
