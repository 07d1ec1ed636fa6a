from pathlib import Path

import pytest

from rethink_ray.spec.regime import DataSpec, ShapesSpec


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test builds its own indexes."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """A small built-in data set, drawn once."""
    spec = ShapesSpec(train=48, val=12, test=12, unlabelled=4, image_px=48)
    return DataSpec(dataset="shapes", shapes=spec, root=str(tmp_path_factory.mktemp("shapes")))
