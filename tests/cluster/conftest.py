"""One data cache and one local Ray cluster of two CPUs for all tests of this room."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def cluster(data_cache: None) -> Iterator[None]:
    from rethink_ray.cluster.session import set_switches, start_local

    set_switches()
    import ray

    start_local(2, with_train=True)
    yield
    ray.shutdown()
