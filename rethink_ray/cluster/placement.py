"""Placement groups that are never removed before they stand.

Ray loses the CPUs of a group that is removed between its reservation and its creation, until the
node restarts (ray issue 64693, open in 2.60). Tune removes one whenever a process becomes free for
a trial that was waiting for a new one; on a small cluster that was enough to leave a study waiting
for a slot that nobody had (seen on 2026-11-22: two one-CPU nodes, one of them killed).
"""

from collections import Counter

from ray.air.execution import PlacementGroupResourceManager, ResourceRequest
from ray.tune.execution import tune_controller
from ray.util import remove_placement_group


class PatientGroups(PlacementGroupResourceManager):
    """Keeps a group nobody wants any more until it stands, or until somebody wants one like it."""

    def __init__(self, update_interval_s: float = 0.1) -> None:
        super().__init__(update_interval_s)
        self._unwanted: Counter[ResourceRequest] = Counter()

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """One more group of this kind stands soon."""
        if self._unwanted[resource_request] > 0:
            self._unwanted[resource_request] -= 1
        else:
            super().request_resources(resource_request)

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """One group of this kind fewer is wanted."""
        self._unwanted[resource_request] += 1
        self._remove_unwanted(resource_request)

    def update_state(self) -> None:
        """Groups that stand now can be used, or removed."""
        super().update_state()  # type: ignore[no-untyped-call]
        for resource_request in tuple(self._unwanted):
            self._remove_unwanted(resource_request)

    def _remove_unwanted(self, request: ResourceRequest) -> None:
        """Groups under way count as the unwanted ones first, so that who waits need not wait on."""
        under_way = len(self._request_to_staged_pgs[request])
        standing = self._request_to_ready_pgs[request]
        while standing and self._unwanted[request] > under_way:
            group = standing.pop()
            self._pg_to_request.pop(group)
            remove_placement_group(group)
            self._unwanted[request] -= 1


def use_patient_groups() -> None:
    """Tune reserves resources in this way from now on; it offers no setting for that."""
    vars(tune_controller)["PlacementGroupResourceManager"] = PatientGroups
