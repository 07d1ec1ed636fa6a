"""A cluster of several nodes, on this machine: it starts empty, grows, and loses one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, results, start_micro
from processes import after_lines, resumed

from rethink_ray.records.directory import StudyDirectory

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster whose head has no room for a trial."""
    from ray.cluster_utils import Cluster

    started = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield started
    started.shutdown()


def test_a_study_waits_for_room_uses_what_comes_and_outlives_a_machine(
    tmp_path: Path, nodes: Any, expected: dict[str, Any]
) -> None:
    directory = start_micro(tmp_path / "study", **ONE_REGIME)
    with resumed(directory.root, "--address", nodes.address) as driver:
        after_lines(driver, "no node has room for a trial now")
        first = nodes.add_node(num_cpus=1)
        after_lines(driver, "room for 1 trial at a time")
        after_lines(driver, "/ap ", 2)
        nodes.add_node(num_cpus=1)
        after_lines(driver, "room for 2 trials at a time")
        after_lines(driver, "/ap ", 2)
        raylet = first.all_processes["raylet"][0].process
        raylet.kill()
        raylet.wait()  # a zombie would keep the node's processes alive
        said, complaint = driver.communicate()
    assert driver.returncode == 0, said + complaint
    assert results(StudyDirectory.open(directory.root)) == expected
