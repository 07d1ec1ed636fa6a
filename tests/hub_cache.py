"""A cache of the Hugging Face hub that a test makes, in the layout that huggingface_hub writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HALF = [0.5, 0.5, 0.5]
CONFIG: dict[str, Any] = {
    "architecture": "test_vit",
    "num_classes": 1000,
    "pretrained_cfg": {"tag": "ours", "mean": HALF, "std": HALF},
}


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no connection."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder / "hf" / "hub"


def put_repository(
    cache: Path, name: str, files: Mapping[str, bytes], revision: str = "main"
) -> Path:
    """Puts files where a download would put them; returns their folder."""
    root = cache / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / revision).write_text(COMMIT)
    for file_name, content in files.items():
        (snapshot / file_name).write_bytes(content)
    return snapshot


def vit_weights(seed: int = 5) -> dict[str, Tensor]:
    """The weights of timm's smallest plain ViT, as ``seed`` draws them."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state: dict[str, Tensor] = timm.create_model("test_vit", pretrained=False).state_dict()
    return state


def vit_files(seed: int = 5, **config: Any) -> dict[str, bytes]:
    """A repository with these weights and their description."""
    described = json.dumps(CONFIG | config).encode()
    return {"model.safetensors": save(vit_weights(seed)), "config.json": described}
