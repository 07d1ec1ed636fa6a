"""One cache folder for all tests of this room, so that nothing outside the test run is touched."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
