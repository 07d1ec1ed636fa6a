"""The built-in data set ``shapes``: generated scenes with boxes, masks and keypoints, as COCO.

Objects of six classes of unequal frequency cover each other on a textured background. Colour, size
and angle do not depend on the class. Every image is a function of (seed, split, number). With
``figures: glyphs`` the same scenes show twelve other classes, which an upstream detector learns.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rethink_ray.data.cache import build_once
from rethink_ray.data.chance import generator_from
from rethink_ray.data.glyph_figures import GLYPHS
from rethink_ray.data.masks import encode_segmentation
from rethink_ray.data.outlines import SHAPES, Figure, Points, Pose, rasterize, rim
from rethink_ray.data.painting import draw_scene_background, fill_figure, to_bytes
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts, sha256_of
from rethink_ray.spec.regime import ShapesSpec

GENERATOR_VERSION = 2
"""Counts changes to any built-in picture, shapes or glyphs; part of every fingerprint."""
CLASS_FREQUENCIES = {
    "circle": 0.35,
    "square": 0.25,
    "triangle": 0.16,
    "star": 0.11,
    "cross": 0.08,
    "ring": 0.05,
}
NUM_GLYPHS = 12
"""Classes of scenes of glyphs: the first ones, as ``upstream.classes: 12`` has them."""
MAX_OBJECTS = 4
FIGURES: Mapping[str, Figure] = {**SHAPES, **GLYPHS}
"""Class name -> figure; no name is in both."""
RADIUS = (0.11, 0.26)
"""As a share of the image side; drawn log-uniformly."""
MIN_VISIBLE = 0.3
"""At least this share of every object stays visible when later objects are placed."""
KEYPOINTS = ("center", "top", "right", "bottom", "left")
SPLITS = ("train", "val", "test", "unlabelled")
IDS_PER_SPLIT = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class SceneObject:
    """An object in a scene, with its whole mask and its visible mask.

    ``visible`` shrinks as later objects cover it.
    """

    kind: str
    figure: Figure
    pose: Pose
    whole: NDArray[np.bool_]
    visible: NDArray[np.bool_]


def shapes_folder(spec: ShapesSpec, root: str | None = None) -> Path:
    """Returns the folder of this data set; draws the set if it is absent."""
    parent = Path(root) if root else cache_folder() / "shapes"
    folder = parent / f"shapes-{digest_of_parts(shapes_salt(spec))[:16]}"
    make_shapes(spec, folder)
    return folder


def shapes_salt(spec: ShapesSpec) -> str:
    """Returns all settings that determine the pictures, as one string."""
    return f"shapes v{GENERATOR_VERSION} {spec.model_dump_json()}"


def make_shapes(spec: ShapesSpec, directory: Path) -> None:
    """Draws the data set into ``directory``: COCO JSON under ``annotations``, PNGs per split.

    Does nothing if the folder exists.

    Raises:
        DataError: two images are equal (checked by hash).
    """
    build_once(directory, partial(_draw_data_set, spec))


def class_frequencies(spec: ShapesSpec) -> Mapping[str, float]:
    """Returns class name -> the share of objects that have it, in label order."""
    if spec.figures == "shapes":
        return CLASS_FREQUENCIES
    return dict.fromkeys(list(GLYPHS)[:NUM_GLYPHS], 1 / NUM_GLYPHS)


def draw_scene(
    rng: np.random.Generator, px: int, frequencies: Mapping[str, float] = CLASS_FREQUENCIES
) -> tuple[NDArray[np.uint8], list[SceneObject]]:
    """Draws an image [px, px, 3] uint8 with 1 to 4 objects, the last one on top."""
    picture = draw_scene_background(rng, px)
    placed: list[SceneObject] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        kind = str(rng.choice(list(frequencies), p=list(frequencies.values())))
        new_object = _place_figure(rng, kind, placed, px)
        if new_object is not None:
            new, cover = new_object
            for other in placed:
                other.visible &= ~new.whole
            placed.append(new)
            picture = fill_figure(rng, picture, cover)
    return to_bytes(picture), placed


def _place_figure(
    rng: np.random.Generator, kind: str, placed: list[SceneObject], px: int
) -> tuple[SceneObject, NDArray[np.float32]] | None:
    """Places an object that hides no earlier one; ``None`` if ten tries fail."""
    for _ in range(10):
        radius = px * float(np.exp(rng.uniform(*np.log(RADIUS))))
        inside = min(0.6 * radius, px / 2)
        pose = Pose(
            center_xy=(
                float(rng.uniform(inside, px - inside)),
                float(rng.uniform(inside, px - inside)),
            ),
            radius_px=radius,
            angle=float(rng.uniform(0.0, 2 * np.pi)),
            squeeze=float(rng.uniform(0.8, 1.0)),
        )
        figure = FIGURES[kind]
        cover = rasterize(figure, pose, px)
        whole = cover > 0.5
        if all(_stays_visible(other, whole) for other in placed) and whole.any():
            new = SceneObject(
                kind=kind, figure=figure, pose=pose, whole=whole, visible=whole.copy()
            )
            return new, cover
    return None


def _stays_visible(other: SceneObject, whole: NDArray[np.bool_]) -> bool:
    return float((other.visible & ~whole).sum()) >= MIN_VISIBLE * float(other.whole.sum())


def _draw_data_set(spec: ShapesSpec, directory: Path) -> None:
    _log.info("drawing the built-in data set")
    (directory / "annotations").mkdir()
    seen: set[str] = set()
    for number, split in enumerate(SPLITS):
        (directory / split).mkdir()
        annotations = _draw_split(spec, split, directory / split, number * IDS_PER_SPLIT, seen.add)
        if split != "unlabelled":
            target = directory / "annotations" / f"instances_{split}.json"
            target.write_text(json.dumps(annotations), encoding="utf-8")
    num_images = sum(getattr(spec, split) for split in SPLITS)
    if len(seen) != num_images:
        must = f"must draw {num_images} different images"
        remedy = "Choose another data.shapes.seed."
        raise DataError(explain("data.shapes", must, len(seen), remedy))


def _draw_split(
    spec: ShapesSpec, split: str, folder: Path, first_id: int, see: Callable[[str], None]
) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    frequencies = class_frequencies(spec)
    for number in range(getattr(spec, split)):
        image_id = first_id + number + 1
        rng = generator_from(spec.figures, GENERATOR_VERSION, spec.seed, split, number)
        pixels, placed = draw_scene(rng, spec.image_px, frequencies)
        see(sha256_of(pixels.tobytes()))
        name = f"{number + 1:06d}.png"
        Image.fromarray(pixels).save(folder / name, compress_level=1)
        size = {"width": spec.image_px, "height": spec.image_px}
        images.append({"id": image_id, "file_name": name, **size})
        for position in range(len(placed)):
            row = _build_annotation(placed, position, spec.image_px, list(frequencies))
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **row})
    categories = [
        {"id": number, "name": kind, "keypoints": list(KEYPOINTS), "skeleton": []}
        for number, kind in enumerate(frequencies, start=1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _build_annotation(
    placed: list[SceneObject], position: int, px: int, kinds: Sequence[str]
) -> dict[str, Any]:
    """Returns the COCO record of one object's visible part, exact to the pixel.

    ``kinds``: class names in label order.
    """
    mine = placed[position]
    rows = np.flatnonzero(mine.visible.any(axis=1))
    columns = np.flatnonzero(mine.visible.any(axis=0))
    x0, y0 = int(columns[0]), int(rows[0])
    covered = np.zeros_like(mine.visible)
    for later in placed[position + 1 :]:
        covered |= later.whole
    return {
        "category_id": kinds.index(mine.kind) + 1,
        "bbox": [x0, y0, int(columns[-1]) + 1 - x0, int(rows[-1]) + 1 - y0],
        "area": int(mine.visible.sum()),
        "iscrowd": 0,
        "segmentation": encode_segmentation(mine.visible),
        "keypoints": _locate_keypoints(mine, covered, px),
        "num_keypoints": len(KEYPOINTS),
    }


def _locate_keypoints(mine: SceneObject, covered: NDArray[np.bool_], px: int) -> list[float]:
    """Returns x, y, v of the centre and the four outermost points.

    v is 2 for a visible point, 1 for a covered one, 0 for one outside the image.
    """
    points: Points = rim(mine.figure, mine.pose)
    ends = [
        points[points[:, 1].argmin()],
        points[points[:, 0].argmax()],
        points[points[:, 1].argmax()],
        points[points[:, 0].argmin()],
    ]
    flat_xyv: list[float] = []
    for x, y in [np.array(mine.pose.center_xy), *ends]:
        if not (0 <= x < px and 0 <= y < px):
            flat_xyv += [0.0, 0.0, 0]
        else:
            flat_xyv += [
                round(float(x), 2),
                round(float(y), 2),
                1 if covered[int(y), int(x)] else 2,
            ]
    return flat_xyv
