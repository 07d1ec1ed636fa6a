"""One cache folder for all tests of this room, so that nothing outside the test run is touched."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is pretended only where there is none")


@pytest.fixture(autouse=True, scope="session")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
