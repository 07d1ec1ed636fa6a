"""The built-in classification set: one figure per image, of classes that ``shapes`` lacks.

Seeds, sizes and backgrounds differ from those of ``shapes``, so that a detector gains general
features from it and no knowledge of its own data set. ``upstream.figures: shapes`` is the control:
it draws the classes of ``shapes``.
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
from rethink_ray.data.painting import draw_glyph_background, fill_figure, to_bytes
from rethink_ray.data.shapes import GENERATOR_VERSION
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.recipe import UpstreamSpec

GLYPH_RADIUS = (0.26, 0.46)
"""As a share of the image side, drawn uniformly: a glyph fills its image, a shape does not."""
IMAGES_FILE = "images.npy"
LABELS_FILE = "labels.npy"


def make_glyphs(spec: UpstreamSpec, directory: Path) -> None:
    """Draws ``images.npy`` [N, 3, S, S] uint8 and ``labels.npy`` [N] int64 into ``directory``.

    Labels are the true ones even if ``spec.labels`` is ``shuffled``. Does nothing if the folder
    exists already.

    Raises:
        DataError: ``spec.classes`` is larger than the number of figures.
    """
    figures = select_figures(spec)
    if spec.classes > len(figures):
        must = f"must be at most {len(figures)}, the number of {spec.figures}"
        raise DataError(explain("upstream.classes", must, spec.classes))
    build_once(directory, partial(_draw_set, spec))


def select_figures(spec: UpstreamSpec) -> Mapping[str, Figure]:
    """Returns class name -> figure, in label order."""
    return GLYPHS if spec.figures == "glyphs" else SHAPES


def draw_glyph(rng: np.random.Generator, figure: Figure, px: int) -> NDArray[np.uint8]:
    """Draws one figure wholly inside an image: [px, px, 3] uint8."""
    radius = px * float(rng.uniform(*GLYPH_RADIUS))
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
    background = draw_glyph_background(rng, px)
    return to_bytes(fill_figure(rng, background, rasterize(figure, pose, px)))


def _draw_set(spec: UpstreamSpec, directory: Path) -> None:
    shape = (spec.images, 3, spec.image_px, spec.image_px)
    images = np.lib.format.open_memmap(
        directory / IMAGES_FILE, mode="w+", dtype=np.uint8, shape=shape
    )
    figures = list(select_figures(spec).values())[: spec.classes]
    labels = np.empty(spec.images, np.int64)
    for number in range(spec.images):
        rng = generator_from("glyphs", GENERATOR_VERSION, spec.seed, number)
        labels[number] = rng.integers(spec.classes)
        images[number] = draw_glyph(rng, figures[labels[number]], spec.image_px).transpose(2, 0, 1)
    images.flush()
    np.save(directory / LABELS_FILE, labels)
