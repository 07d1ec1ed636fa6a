"""The preflight says ok or what to do, and breaks on nothing."""

import pytest
from micro_study import micro_study

from rethink_ray.cluster.doctor import examine
from rethink_ray.spec.study import ResourceSpec

pytestmark = pytest.mark.ray


def test_every_line_says_what_was_found_and_a_study_asks_for_its_own(cluster: None) -> None:
    checks = {check.name: check for check in examine(micro_study())}
    assert {"cpus", "memory", "disk", "torch", "ray", "gpus", "slots", "data set"} <= set(checks)
    assert all(check.detail for check in checks.values())
    assert checks["torch"].ok
    assert checks["ray"].ok
    assert checks["data set"].detail == "6 categories; images: train 12, val 4, test 4"


def test_what_is_missing_comes_with_a_remedy(cluster: None) -> None:
    greedy = ResourceSpec(gpus_per_worker=64.0, cpus_per_worker=4096)
    study = micro_study().model_copy(update={"resources": greedy})
    checks = {check.name: check for check in examine(study)}
    assert not checks["gpus"].ok
    assert "gpus_per_worker" in checks["gpus"].detail
    assert not checks["slots"].ok
    assert "cpus_per_worker" in checks["slots"].detail
