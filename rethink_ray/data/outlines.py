"""The figures of the built-in pictures as geometry, and their rasterization.

A figure is a list of parts in a unit circle, drawn one over another: filled polygons, holes,
strokes. Shapes (detection) and glyphs (classification) share no figure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]
FINE = 4
"""Figures are drawn this many times finer and then averaged, which softens their edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One polygon (``stroke`` 0) or one line of width ``stroke``; ``ink`` False cuts a hole."""

    points: Points
    """[M, 2] x, y in the unit circle, y down."""
    stroke: float = 0.0
    ink: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Position, size and angle of a figure in an image."""

    center_xy: tuple[float, float]
    radius_px: float
    angle: float
    """Radians."""
    squeeze: float = 1.0
    """Height over width before rotation."""

    def to_pixels(self, points: Points) -> Points:
        """Maps unit coordinates [M, 2] to pixels [M, 2]."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = points[:, 0], points[:, 1] * self.squeeze
        turned: Points = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        placed: Points = turned * self.radius_px + np.array(self.center_xy)
        return placed


Figure = tuple[Part, ...]


def rasterize(figure: Figure, pose: Pose, px: int) -> NDArray[np.float32]:
    """Returns the share of each pixel that the figure covers: [px, px] in 0..1."""
    plate = Image.new("L", (px * FINE, px * FINE), 0)
    pen = ImageDraw.Draw(plate)
    for part in figure:
        points = [tuple(point) for point in (pose.to_pixels(part.points) * FINE).tolist()]
        fill = 255 if part.ink else 0
        if part.stroke:
            _draw_stroke(pen, points, part.stroke * pose.radius_px * FINE, fill)
        else:
            pen.polygon(points, fill=fill)
    return np.asarray(plate.reduce(FINE), np.float32) / 255.0


def rim(figure: Figure, pose: Pose) -> Points:
    """Returns the corners of the filled parts in pixels, [M, 2]."""
    return np.concatenate([pose.to_pixels(part.points) for part in figure if part.ink])


def _draw_stroke(
    pen: ImageDraw.ImageDraw, points: list[tuple[float, ...]], width: float, fill: int
) -> None:
    pen.line(points, fill=fill, width=max(round(width), 1), joint="curve")
    half = width / 2
    for x, y in (points[0], points[-1]):
        pen.ellipse((x - half, y - half, x + half, y + half), fill=fill)


def arc(start: float, end: float, num: int, radius: float = 1.0) -> Points:
    """Returns points [num, 2] on a circle; angles are in turns."""
    turns = np.linspace(start, end, num) * 2 * np.pi
    return np.stack([np.cos(turns), np.sin(turns)], axis=1) * radius


def polygon(sides: int, inner: float | None = None) -> Points:
    """Returns a regular polygon, or a star whose notches have radius ``inner``."""
    outer = arc(0.0, 1.0, sides + 1)[:-1]
    if inner is None:
        return outer
    notches = arc(0.5 / sides, 1.0 + 0.5 / sides, sides + 1, inner)[:-1]
    return np.stack([outer, notches], axis=1).reshape(-1, 2)


def path(*corners: tuple[float, float]) -> Points:
    """Returns the corners as an array [M, 2]."""
    return np.array(corners, np.float64)


def _build_cross(arm: float) -> Points:
    quarter = np.array([[arm, -arm], [1.0, -arm], [1.0, arm], [arm, arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = [quarter @ np.linalg.matrix_power(turn, quarters) for quarters in range(4)]
    return np.concatenate([corners[:3] for corners in turned])


SHAPES: Mapping[str, Figure] = {
    "circle": (Part(points=polygon(40)),),
    "square": (Part(points=polygon(4)),),
    "triangle": (Part(points=polygon(3)),),
    "star": (Part(points=polygon(5, inner=0.45)),),
    "cross": (Part(points=_build_cross(0.3)),),
    "ring": (Part(points=polygon(40)), Part(points=polygon(40) * 0.55, ink=False)),
}
