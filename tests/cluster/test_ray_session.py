"""What this machine offers before Ray is asked."""

import os
import socket
from pathlib import Path

import pytest

from rethink_ray.cluster.capacity import Capacity
from rethink_ray.cluster.ray_session import available_cpus, ray_session, require_room
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.study import ResourceSpec
from tests.golden_words import assert_says


@pytest.mark.parametrize(
    ("quota", "most"),
    [("150000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", None), ("", None)],
)
def test_a_containers_quota_limits_the_cpus(tmp_path: Path, quota: str, most: int | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    everything = len(os.sched_getaffinity(0))
    assert available_cpus(path) == (everything if most is None else most)
    assert available_cpus(tmp_path / "none") == everything


def test_a_machine_that_can_never_run_a_trial_is_named_and_a_cluster_may_grow() -> None:
    no_gpu = Capacity(ResourceSpec(gpus_per_worker=1), None, lambda: [{"CPU": 2.0}])
    with pytest.raises(SpecError, match="1 CPUs and 1 GPUs") as caught:
        require_room(no_gpu, None)
    assert_says("cluster", "machine without room for a trial", str(caught.value))
    require_room(no_gpu, "10.0.0.1:6379")


def test_an_address_where_nothing_listens_is_refused_before_ray_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", closed)
    with (
        pytest.raises(SpecError, match=rf"'{closed} \(RAY_ADDRESS\)'") as caught,
        ray_session(ResourceSpec(), closed, None),
    ):
        raise AssertionError("nothing was joined")
    text = str(caught.value).replace(closed, "ADDRESS")
    assert_says("cluster", "address where nothing listens", text)
