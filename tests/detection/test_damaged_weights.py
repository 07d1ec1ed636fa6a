"""Downloads of weights that went wrong are named."""

import io
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.spec.errors import SpecError


def torch_file(is_zip: bool) -> bytes:
    content = io.BytesIO()
    state = {"a": torch.zeros(200)}
    torch.save(state, content, _use_new_zipfile_serialization=is_zip)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file.*Download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "a web page.*Download it again"),
        (torch_file(is_zip=True)[:-60], "cut after .*Download it again"),
        (torch_file(is_zip=False)[:-60], "cut; download it again"),
        (save({"a": torch.zeros(200)})[:-60], "cut; download it again"),
        (save({"a": torch.zeros(200)})[:30], "cut after .*Download it again"),
    ],
)
def test_a_download_that_went_wrong_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=f"init: must be .*{words}"):
        read_state_dict(path, "init")
