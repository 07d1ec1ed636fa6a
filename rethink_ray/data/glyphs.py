"""The built-in upstream set: one figure an image, of classes that ``shapes`` does not have.

Its seeds, sizes and backgrounds are its own, so that what transfers is seeing, not the data set. A
control shows the classes that ``shapes`` does have.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.cache import build_once
from rethink_ray.data.chance import generator_from
from rethink_ray.data.glyph_figures import GLYPHS
from rethink_ray.data.outlines import SHAPES, Figure, Pose, rasterize
from rethink_ray.data.painting import fill, glyph_background, to_bytes
from rethink_ray.data.shapes import GENERATOR_VERSION
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.recipe import UpstreamSpec

RADIUS = (0.26, 0.46)
"""Of the image side; drawn uniformly: a glyph fills its image as a shape never fills a scene."""
IMAGES_FILE = "images.npy"
LABELS_FILE = "labels.npy"


def make_glyphs(spec: UpstreamSpec, directory: Path) -> None:
    """``directory`` holds ``images.npy`` [N, 3, S, S] uint8 and ``labels.npy`` [N] int64.

    Labels are the true ones whatever ``spec.labels`` says. Does nothing if it is there already.
    """
    figures = figures_of(spec)
    if spec.classes > len(figures):
        must = f"must be at most {len(figures)}, the number of {spec.figures} there are"
        raise DataError(explain("upstream.classes", must, spec.classes))
    build_once(directory, partial(_make, spec))


def figures_of(spec: UpstreamSpec) -> Mapping[str, Figure]:
    """Class name -> figure, in the order of labels."""
    return GLYPHS if spec.figures == "glyphs" else SHAPES


def draw_glyph(rng: np.random.Generator, figure: Figure, px: int) -> NDArray[np.uint8]:
    """[px, px, 3] uint8 with one figure, wholly inside."""
    radius = px * float(rng.uniform(*RADIUS))
    slack = px / 2 - radius
    pose = Pose(
        center_xy=(
            px / 2 + float(rng.uniform(-slack, slack)),
            px / 2 + float(rng.uniform(-slack, slack)),
        ),
        radius_px=radius,
        angle=float(rng.uniform(0.0, 2 * np.pi)),
        squeeze=float(rng.uniform(0.75, 1.0)),
    )
    background = glyph_background(rng, px)
    return to_bytes(fill(rng, background, rasterize(figure, pose, px)))


def _make(spec: UpstreamSpec, directory: Path) -> None:
    shape = (spec.images, 3, spec.image_px, spec.image_px)
    images = np.lib.format.open_memmap(
        directory / IMAGES_FILE, mode="w+", dtype=np.uint8, shape=shape
    )
    figures = list(figures_of(spec).values())[: spec.classes]
    labels = np.empty(spec.images, np.int64)
    for number in range(spec.images):
        rng = generator_from("glyphs", GENERATOR_VERSION, spec.seed, number)
        labels[number] = rng.integers(spec.classes)
        images[number] = draw_glyph(rng, figures[labels[number]], spec.image_px).transpose(2, 0, 1)
    images.flush()
    np.save(directory / LABELS_FILE, labels)
