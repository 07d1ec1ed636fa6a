"""Which GPU a record names, from what the driver says."""

import subprocess
from pathlib import Path

import pytest
import torch

from rethink_ray.training import gpus

CUDA = torch.version.cuda
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat\nGCC version: 12.3\n"


def test_each_kind_of_gpu_is_named_once() -> None:
    answer = (
        "NVIDIA H200, 143771 MiB, 580.65.06\n"
        "NVIDIA H200, 143771 MiB, 580.65.06\n"
        "NVIDIA A100-SXM4-80GB, 81920 MiB, 535.104.05\n"
        "NVIDIA GB10, [N/A], 580.95.05\n"
    )
    assert gpus.parse_gpus(answer) == (
        f"NVIDIA A100-SXM4-80GB, 80.0 GiB, driver 535.104.05, CUDA {CUDA}",
        f"NVIDIA GB10, the host's memory, driver 580.95.05, CUDA {CUDA}",
        f"NVIDIA H200, 140.4 GiB, driver 580.65.06, CUDA {CUDA}",
    )
    assert gpus.parse_gpus("") == ()


@pytest.mark.parametrize(
    ("text", "version"), [(OPEN, "580.65.06"), (CLOSED, "535.104.05"), ("", "unknown")]
)
def test_the_driver_names_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, version: str
) -> None:
    monkeypatch.setattr(gpus, "DRIVER_FILE", tmp_path / "version")
    (tmp_path / "version").write_text(text)
    assert gpus.read_driver.__wrapped__() == version


def test_a_machine_without_gpus_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "QUERY", ("no-such-program",))
    assert gpus.list_gpus() == ()
    monkeypatch.setattr(gpus, "QUERY", ("false",))
    assert gpus.list_gpus() == ()
    assert subprocess.run(("false",), check=False).returncode == 1
    assert gpus.describe_gpu(torch.device("cpu")) == ""
