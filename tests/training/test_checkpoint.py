import pickle
from pathlib import Path

import pytest
import torch

from rethink_ray.records.whole_files import write_atomically
from rethink_ray.training.checkpoint import (
    Damaged,
    load_checkpoint,
    save_checkpoint,
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.pt"
    save_checkpoint(path, {"step": 3, "weights": torch.arange(4.0), "loss": 0.1 + 0.2})
    content = load_checkpoint(path)
    assert content["step"] == 3
    assert content["loss"] == 0.1 + 0.2
    assert torch.equal(content["weights"], torch.arange(4.0))


@pytest.mark.parametrize("fault", ["cut short", "one bit", "empty", "missing"])
def test_a_damaged_file_is_noticed(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"weights": torch.arange(100.0)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    match fault:
        case "cut short":
            path.write_bytes(raw[: len(raw) // 2])
        case "one bit":
            path.write_bytes(raw)
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
    with pytest.raises(Damaged, match=r"a\.pt"):
        load_checkpoint(path)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


def test_loading_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"weights": Bomb()})
    with pytest.raises(Damaged, match="plain tensors"):
        load_checkpoint(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(TypeError):
        write_atomically(path, b"new bytes", 7)  # type: ignore[arg-type]
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_damage_reports_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(Damaged("a.pt: must match its checksum")))
    assert str(error) == "a.pt: must match its checksum"
