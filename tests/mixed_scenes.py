"""Drawn scenes of two shapes, 96x64 and 64x96, three of landscape for each of portrait.

Scenes of one size hide faults that depend on an image's padding.
"""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from rethink_ray.data.chance import generator_from
from rethink_ray.data.shapes import CLASS_FREQUENCIES, SceneObject, draw_scene
from rethink_ray.spec.regime import DataSpec, SplitSpec

SIDE, CUT = 96, 16
"""A scene is drawn as a square, and a strip is cut off at two sides."""
SPLITS = {"train": 12, "val": 6, "test": 6}


def write_mixed_scenes(folder: Path, **counts: int) -> DataSpec:
    """Splits in COCO's format; every fourth picture is higher than wide."""
    splits: dict[Any, SplitSpec] = {}
    for split, count in (SPLITS | counts).items():
        (folder / split).mkdir(parents=True)
        annotations = _write_split(folder / split, split, count)
        path = folder / f"{split}.json"
        path.write_text(json.dumps(annotations))
        splits[split] = SplitSpec(images=str(folder / split), annotations=str(path))
    return DataSpec(dataset=splits)


def _write_split(folder: Path, split: str, count: int) -> dict[str, Any]:
    images, objects = [], []
    for image_id in range(1, count + 1):
        is_portrait = image_id % 4 == 0
        pixels, placed = draw_scene(generator_from("mixed scenes", split, image_id), SIDE)
        rows, columns = slice(CUT, SIDE - CUT), slice(0, SIDE)
        if is_portrait:
            rows, columns = columns, rows
        picture = pixels[rows, columns]
        Image.fromarray(picture).save(folder / f"{image_id}.png")
        height, width = picture.shape[:2]
        record = {"file_name": f"{image_id}.png", "width": width, "height": height}
        images.append({"id": image_id} | record)
        for one in placed:
            box = _box_of(one, rows, columns)
            if box is not None:
                label = list(CLASS_FREQUENCIES).index(one.kind) + 1
                row = {"id": len(objects) + 1, "image_id": image_id, "category_id": label}
                objects.append(row | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    names = [{"id": number, "name": kind} for number, kind in enumerate(CLASS_FREQUENCIES, start=1)]
    return {"images": images, "annotations": objects, "categories": names}


def _box_of(one: SceneObject, rows: slice, columns: slice) -> list[int] | None:
    """x, y, width and height of what is left of an object; nothing if that is a sliver."""
    visible = one.visible[rows, columns]
    ys, xs = visible.any(axis=1).nonzero()[0], visible.any(axis=0).nonzero()[0]
    if len(ys) < 4 or len(xs) < 4:
        return None
    box = xs[0], ys[0], xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]
    return [int(side) for side in box]
