"""One data cache and one local Ray cluster of two CPUs for all tests of this room."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def cluster(data_cache: None) -> Iterator[None]:
    from rethink_ray.cluster.ray_session import set_switches, start_local

    set_switches()
    import ray

    start_local(2, with_train=True)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def expected(
    tmp_path_factory: pytest.TempPathFactory, data_cache: None
) -> dict[str, list[dict[str, Any]]]:
    """The tables of the study as one plain loop makes them, without any cluster."""
    from micro_study import ONE_REGIME, results, run_inline, start_micro

    directory = start_micro(tmp_path_factory.mktemp("inline") / "study", **ONE_REGIME)
    run_inline(directory)
    return results(directory)
