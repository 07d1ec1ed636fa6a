"""Pictures that look different from each other, and data sets of them without lists of splits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec

SIDE = 48
Boxes = Sequence[str]
"""The category of each box of a picture."""


def draw(seed: int, side: int = SIDE) -> Image.Image:
    """A soft pattern of gray; no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def slide(num: int, step: int = 1) -> list[Image.Image]:
    """Frames of a camera that moves over a scene: neighbours look alike, distant ones do not."""
    width = SIDE + step * num
    coarse = np.random.default_rng(0).integers(0, 255, (6, 6 * width // SIDE), np.uint8)
    scene = Image.fromarray(coarse).resize((width, SIDE), Image.Resampling.BICUBIC)
    frames = [scene.crop((step * at, 0, step * at + SIDE, SIDE)) for at in range(num)]
    return [frame.convert("RGB") for frame in frames]


def write_pictures(
    folder: Path,
    pictures: Mapping[str, Image.Image],
    boxes: Mapping[str, Boxes] | None = None,
) -> None:
    """``all.json`` and a PNG for each name; by default each shows one cat."""
    boxes = boxes or {}
    shown = [(name, kind) for name in pictures for kind in boxes.get(name, ("cat",))]
    kinds = sorted({kind for _, kind in shown})
    number_of = {name: number for number, name in enumerate(pictures, start=1)}
    (folder / "all").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / "all" / name)
    tree = {
        "images": [
            {"id": number, "file_name": name, "width": SIDE, "height": SIDE}
            for name, number in number_of.items()
        ],
        "annotations": [
            {
                "id": row,
                "image_id": number_of[name],
                "category_id": 1 + kinds.index(kind),
                "bbox": [4, 4, 20, 20],
                "area": 400,
                "iscrowd": 0,
            }
            for row, (name, kind) in enumerate(shown, start=1)
        ],
        "categories": [{"id": 1 + row, "name": kind} for row, kind in enumerate(kinds)],
    }
    (folder / "all.json").write_text(json.dumps(tree))


def cut_spec(folder: Path, **split: Any) -> DataSpec:
    """The data section of these pictures; by default a fifth is val and a fifth is test."""
    return validate(
        DataSpec,
        {
            "root": str(folder),
            "dataset": {"train": {"images": "all", "annotations": "all.json"}},
            "split": split or {"val": "20%", "test": "20%"},
        },
        "data",
    )
