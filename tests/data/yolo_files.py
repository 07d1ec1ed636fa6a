"""YOLO data sets that tests write: pictures of 20 x 10 pixels, and their label files."""

from collections.abc import Mapping
from pathlib import Path

from rethink_ray.spec.regime import DataSpec
from tests.data.data_files import write_picture

MIDDLE = "0 0.5 0.5 0.2 0.4"
"""A cat whose box is [8, 3, 12, 7] in a picture of 20 x 10 pixels."""
MIDDLE_BOX = [8.0, 3.0, 12.0, 7.0]
DATA_YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def write_yolo(
    folder: Path,
    labels: Mapping[str, str | None],
    data_yaml: str = DATA_YAML,
    size: tuple[int, int] = (20, 10),
) -> None:
    """``train/a`` -> its lines: ``images/train/a.png`` and ``labels/train/a.txt``.

    ``None`` is a picture without a label file. An empty ``data_yaml`` writes no such file.
    """
    if data_yaml:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.yaml").write_text(data_yaml)
    for name, lines in labels.items():
        write_picture(folder / "images" / f"{name}.png", *size, mark=name)
        if lines is not None:
            path = folder / "labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines)


def yolo_spec(root: Path, **keys: str) -> DataSpec:
    return DataSpec.model_validate({"dataset": "yolo", "root": str(root)} | keys)
