"""Folders of labelled pictures as people have them: drawn scenes under three kinds of labels."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rethink_ray.data.shapes import make_shapes
from rethink_ray.spec.regime import ShapesSpec

PACES: Mapping[str, Any] = {
    "machine": "a laptop",
    "slots": 2,
    "arms": {
        "": {
            "seconds_per_update": 0.1,
            "seconds_per_scored_image": 0.02,
            "seconds_to_start": 0.5,
            "spread": 0.1,
        }
    },
}
"""Any arm takes 0.1 s an update: an hour on two slots is 72,000 updates of slot time."""


def write_pace(folder: Path, **changes: Any) -> Path:
    """A file of paces."""
    path = folder / "laptop.json"
    path.write_text(json.dumps({**PACES, **changes}))
    return path


def draw_coco(folder: Path, num: int = 100, kind: str = "boxes") -> Path:
    """``folder`` holds one split of COCO: pictures and one JSON file.

    ``kind``: what objects have, ``boxes``, ``masks`` or ``keypoints``.
    """
    drawn = folder.with_name(f"{folder.name}.drawn")
    make_shapes(ShapesSpec(train=num, val=1, test=1, image_px=64), drawn)
    folder.mkdir(parents=True)
    shutil.move(drawn / "train", folder / "images")
    tree = json.loads((drawn / "annotations" / "instances_train.json").read_text())
    left_out = {"boxes": ("segmentation", "keypoints"), "masks": ("keypoints",), "keypoints": ()}
    for row in (*tree["annotations"], *tree["categories"]):
        for key in left_out[kind]:
            row.pop(key, None)
            row.pop(f"num_{key}", None)
    (folder / "annotations.json").write_text(json.dumps(tree))
    shutil.rmtree(drawn)
    return folder


def draw_yolo(folder: Path, num: int = 100) -> Path:
    """The same as YOLO: ``data.yaml``, and a text file of labels for each picture."""
    coco = read_coco(draw_coco(folder, num))
    names = [one["name"] for one in coco["categories"]]
    numbers = {one["id"]: position for position, one in enumerate(coco["categories"])}
    labels = folder / "labels"
    labels.mkdir()
    for image in coco["images"]:
        rows = []
        for box in _boxes_of(coco, image["id"]):
            x, y, w, h = box["bbox"]
            width, height = image["width"], image["height"]
            centre = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
            rows.append(" ".join([str(numbers[box["category_id"]]), *map(str, centre)]))
        stem = Path(image["file_name"]).stem
        (labels / f"{stem}.txt").write_text("\n".join(rows) + "\n")
    (folder / "annotations.json").unlink()
    (folder / "data.yaml").write_text(f"path: .\ntrain: images\nnames: {json.dumps(names)}\n")
    return folder


def draw_voc(folder: Path, num: int = 100) -> Path:
    """The same as VOC's XML in a folder beside the pictures, without lists of splits."""
    coco = read_coco(draw_coco(folder, num))
    names = {one["id"]: one["name"] for one in coco["categories"]}
    annotations = folder / "annots"
    annotations.mkdir()
    for image in coco["images"]:
        objects = "".join(
            _xml_of(names[box["category_id"]], box["bbox"]) for box in _boxes_of(coco, image["id"])
        )
        size = f"<width>{image['width']}</width><height>{image['height']}</height>"
        text = (
            f"<annotation>\n<filename>{image['file_name']}</filename>"
            f"<size>{size}<depth>3</depth></size>{objects}</annotation>"
        )
        (annotations / f"{Path(image['file_name']).stem}.xml").write_text(text)
    (folder / "annotations.json").unlink()
    return folder


def read_coco(folder: Path) -> dict[str, Any]:
    """The annotations of ``draw_coco``."""
    tree: dict[str, Any] = json.loads((folder / "annotations.json").read_text())
    return tree


def _boxes_of(coco: Mapping[str, Any], image_id: int) -> list[dict[str, Any]]:
    return [one for one in coco["annotations"] if one["image_id"] == image_id]


def _xml_of(name: str, bbox: list[float]) -> str:
    x, y, w, h = bbox
    corners = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
