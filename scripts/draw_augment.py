"""Draws the contact sheets of docs/augment.md: shapes images before and after, boxes and masks on.

python scripts/draw_augment.py docs/figures
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from rethink_ray.data.augment import Augmentation, AugmentDraws, augment
from rethink_ray.data.faults import select_trainable
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.objects import Objects, keypoint_swap
from rethink_ray.data.pasting import draw_partner
from rethink_ray.data.pictures import read_rgb
from rethink_ray.data.splits import open_split
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec, ShapesSpec

SHEETS: dict[str, dict[str, AugmentSpec]] = {
    "sizes": {
        "flip": AugmentSpec(flip=1.0),
        "short_side_px [80, 96]": AugmentSpec(flip=0.0, short_side_px=(80, 96)),
        "scale [0.8, 1.2]": AugmentSpec(flip=0.0, scale=(0.8, 1.2)),
        "scale [0.1, 2.0]": AugmentSpec(flip=0.0, scale=(0.1, 2.0)),
    },
    "copy_paste": {
        "copy_paste 1.0": AugmentSpec(flip=0.0, copy_paste=1.0),
        "... scale [0.8, 1.2]": AugmentSpec(scale=(0.8, 1.2), copy_paste=1.0),
        "... scale [0.1, 2.0]": AugmentSpec(scale=(0.1, 2.0), copy_paste=1.0),
    },
    "levels": {
        level: AugmentSpec.model_validate({"level": level}) for level in ("s1", "s2", "s3", "s4")
    },
}
DETECTOR = DetectorSpec(min_side_px=96, max_side_px=96)
ZOOM = 2
CELL = 96 * ZOOM + 6
ROWS = 6
COLORS = ((230, 75, 53), (0, 114, 178), (0, 158, 115), (240, 180, 0), (204, 121, 167), (40, 40, 40))
Scene = tuple[Tensor, Objects]


def main() -> None:
    """Write one PNG per sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    data = DataSpec(dataset="shapes", shapes=ShapesSpec(train=24, val=1, test=1))
    index = open_split(data, "train")
    for name, columns in SHEETS.items():
        path = folder / f"augment_{name}.png"
        draw_sheet(index, columns).quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def draw_sheet(index: AnnotationIndex, columns: dict[str, AugmentSpec]) -> Image.Image:
    """One row per image: as it is, then each setting with the draws of epoch 0."""
    sheet = Image.new("RGB", (CELL * (len(columns) + 1), CELL * ROWS + 16), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(("before", *columns)):
        pen.text((column * CELL + 4, 2), title, fill="black")
    for row, image_id in enumerate(int(i) for i in index.image_ids[:ROWS]):
        scenes = [scene_of(index, image_id)]
        scenes += [augmented(index, image_id, spec) for spec in columns.values()]
        for column, found in enumerate(scenes):
            sheet.paste(drawn(found), (column * CELL, row * CELL + 16))
    return sheet


def scene_of(index: AnnotationIndex, image_id: int) -> Scene:
    """An image and its objects, as the loader has them before augmentation."""
    entry = index.entry(image_id)
    objects = select_trainable(entry, index.masks(image_id), index.keypoints(image_id))
    pixels = read_rgb(entry.path, (entry.width, entry.height), index.level_ranges)
    return pixels.float() / 255.0, objects


def augmented(index: AnnotationIndex, image_id: int, spec: AugmentSpec) -> Scene:
    """The same in epoch 0 of seed 0."""
    image_ids = [int(i) for i in index.image_ids]
    partner = draw_partner(image_ids, spec.copy_paste, 0, 0, image_id)
    other = (
        None if partner is None else (*scene_of(index, partner), AugmentDraws.draw(1, 0, partner))
    )
    augmentation = Augmentation(
        spec=spec, detector=DETECTOR, keypoint_swap=keypoint_swap(index.keypoint_names)
    )
    draws = AugmentDraws.draw(0, 0, image_id)
    return augment(*scene_of(index, image_id), augmentation, draws, other)


def drawn(scene: Scene) -> Image.Image:
    """Boxes as lines, masks as tint and rim, visible keypoints as dots, one colour per class."""
    image, objects = scene
    pixels = image.clone()
    assert objects.masks is not None
    for mask, label in zip(objects.masks, objects.labels, strict=True):
        tint = torch.tensor(COLORS[label - 1]).reshape(3, 1, 1) / 255.0
        pixels = torch.where(torch.from_numpy(mask > 0), 0.6 * pixels + 0.4 * tint, pixels)
        pixels = torch.where(torch.from_numpy(rim_of(mask)), tint, pixels)
    levels = (pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    height, width = levels.shape[:2]
    picture = Image.fromarray(levels).resize(
        (width * ZOOM, height * ZOOM), Image.Resampling.NEAREST
    )
    pen = ImageDraw.Draw(picture)
    for box, label in zip(objects.boxes_xyxy, objects.labels, strict=True):
        x0, y0, x1, y1 = (float(side) * ZOOM for side in box)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=COLORS[label - 1])
    for x, y, visibility in () if objects.keypoints is None else objects.keypoints.reshape(-1, 3):
        if visibility > 1:
            pen.ellipse(
                (x * ZOOM - 2, y * ZOOM - 2, x * ZOOM + 2, y * ZOOM + 2),
                fill="white",
                outline="black",
            )
    return picture


def rim_of(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of a mask that touch what is not of it."""
    around = np.pad(mask, 1) > 0
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    rim: NDArray[np.bool_] = (mask > 0) & ~inner
    return rim


if __name__ == "__main__":
    main()
