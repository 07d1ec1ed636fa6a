"""Placement groups that are never removed before Ray has created them.

Ray loses the CPUs of a group that is removed between its reservation and its creation, until the
node restarts (ray issue 64693, open in 2.60). Tune removes one whenever a process becomes free for
a trial that was waiting for a new one; on a small cluster that was enough to leave a study waiting
for CPUs that no job had (seen on 2026-11-22: two one-CPU nodes, one of them killed).
"""

from collections import Counter

from ray.air.execution import PlacementGroupResourceManager, ResourceRequest
from ray.tune.execution import tune_controller
from ray.util import remove_placement_group


class PatientGroups(PlacementGroupResourceManager):
    """Keeps a cancelled group until Ray has created it, or until a like one is requested."""

    def __init__(self, update_interval_s: float = 0.1) -> None:
        super().__init__(update_interval_s)
        self._cancelled: Counter[ResourceRequest] = Counter()

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Request one more group of this kind; a cancelled one is used again first."""
        if self._cancelled[resource_request] > 0:
            self._cancelled[resource_request] -= 1
        else:
            super().request_resources(resource_request)

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Cancel one group of this kind."""
        self._cancelled[resource_request] += 1
        self._remove_cancelled(resource_request)

    def update_state(self) -> None:
        """Take note of groups that Ray has created since; cancelled ones are removed."""
        super().update_state()  # type: ignore[no-untyped-call]
        for resource_request in tuple(self._cancelled):
            self._remove_cancelled(resource_request)

    def _remove_cancelled(self, request: ResourceRequest) -> None:
        """Remove created groups, as many as were cancelled beyond those that Ray is creating.

        Groups that Ray is creating count as the cancelled ones first, so that a trial that waits
        for a group gets a created one at once.
        """
        num_creating = len(self._request_to_staged_pgs[request])
        created = self._request_to_ready_pgs[request]
        while created and self._cancelled[request] > num_creating:
            group = created.pop()
            self._pg_to_request.pop(group)
            remove_placement_group(group)
            self._cancelled[request] -= 1


def use_patient_groups() -> None:
    """Tune reserves resources through ``PatientGroups`` from now on; it has no setting for this."""
    vars(tune_controller)["PlacementGroupResourceManager"] = PatientGroups
