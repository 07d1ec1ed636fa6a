"""Placement groups on a real cluster of two CPUs: none is removed before it stands."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def groups(cluster: None) -> Iterator[Any]:
    from rethink_ray.cluster.placement import PatientGroups

    made = PatientGroups(update_interval_s=0.0)
    yield made
    made.clear()


def states() -> list[str]:
    from ray.util import placement_group_table

    return sorted(str(group["state"]) for group in placement_group_table().values())


def standing(groups: Any, request: Any, num: int) -> None:
    """Returns once this many groups can be used."""
    while len(groups._request_to_ready_pgs[request]) != num:
        groups.update_state()


@pytest.mark.ray
def test_a_group_that_is_under_way_is_kept_for_the_next_who_asks(groups: Any) -> None:
    from ray.air.execution import ResourceRequest

    one = ResourceRequest([{"CPU": 1}])
    before = len(states())
    for _ in range(3):
        groups.request_resources(one)
    standing(groups, one, 2)  # the third finds no room
    groups.cancel_resource_request(one)
    groups.request_resources(one)
    groups.cancel_resource_request(one)
    assert len(states()) == before + 3
    assert states().count("PENDING") == 1
    assert len(groups._request_to_ready_pgs[one]) == 2

    groups.cancel_resource_request(one)  # now one that stands goes, and the third comes and goes
    standing(groups, one, 1)
    while groups._request_to_staged_pgs[one]:
        groups.update_state()
    standing(groups, one, 1)
    assert states().count("PENDING") == 0
    assert states().count("CREATED") == 1


def test_tune_reserves_by_the_class_we_replace() -> None:
    from ray.tune.execution import tune_controller

    from rethink_ray.cluster.placement import PatientGroups, use_patient_groups

    assert issubclass(PatientGroups, tune_controller.PlacementGroupResourceManager)
    use_patient_groups()
    assert tune_controller.PlacementGroupResourceManager is PatientGroups
