from pathlib import Path

import pytest

from tests.drafting.folders import draw_coco


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all tests read: pictures and the cache of their indexes."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(autouse=True)
def own_folder(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a current folder of its own, and no pre-trained weights."""
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(shared / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})  # a laptop, whatever runs this
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    """A hundred scenes with boxes, as COCO without splits."""
    return draw_coco(shared / "photos")
