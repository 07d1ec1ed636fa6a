"""Backgrounds and fills of the built-in pictures: nothing in them tells a class.

All pictures are [px, px, 3] float32 in 0..255 until they are stored.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.float32]
MIN_CONTRAST = 95.0
"""Distance in RGB between a figure and what is behind it; below, figures cannot be seen."""


def soft_noise(rng: np.random.Generator, px: int, cells: int, strength: float) -> Picture:
    """[px, px, 3]: a coarse random grid blown up, about ``strength`` either side of zero."""
    grid = rng.normal(0.0, 1.0, (3, cells, cells)).astype(np.float32)
    planes = [
        np.asarray(Image.fromarray(plane).resize((px, px), Image.Resampling.BICUBIC))
        for plane in grid
    ]
    noise: Picture = np.stack(planes, axis=-1) * np.float32(strength)
    return noise


def ramp(rng: np.random.Generator, px: int) -> Picture:
    """A gentle gradient between two middling colours in any direction."""
    first = rng.uniform(60.0, 195.0, 3).astype(np.float32)
    second = first + rng.uniform(-45.0, 45.0, 3).astype(np.float32)
    share = _slope(rng, px)[..., None]
    colors: Picture = first * (1 - share) + second * share
    return colors


def clutter(rng: np.random.Generator, picture: Picture, count: int) -> Picture:
    """``count`` thin lines and arcs across the picture: edges that are no figure."""
    px = picture.shape[0]
    plate = Image.fromarray(to_bytes(picture))
    pen = ImageDraw.Draw(plate)
    for _ in range(count):
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        ends = tuple(float(value) for value in rng.uniform(-0.2 * px, 1.2 * px, 4))
        width = int(rng.integers(1, max(px // 32, 2) + 1))
        if rng.random() < 0.6:
            pen.line(ends, fill=color, width=width)
        else:
            box = (min(ends[0], ends[2]), min(ends[1], ends[3]))
            far = (max(ends[0], ends[2]) + 1, max(ends[1], ends[3]) + 1)
            start = float(rng.uniform(0.0, 360.0))
            pen.arc((*box, *far), start, start + float(rng.uniform(30, 90)), color, width)
    return np.asarray(plate, np.float32)


def scene_background(rng: np.random.Generator, px: int) -> Picture:
    """The ground of a shapes image: gradient, soft and fine noise, clutter."""
    picture = ramp(rng, px) + soft_noise(rng, px, int(rng.integers(3, 9)), 14.0)
    picture = clutter(rng, picture, int(rng.integers(0, 5)))
    return picture + _grain(rng, px, 2.0, 9.0)


def glyph_background(rng: np.random.Generator, px: int) -> Picture:
    """The ground of a glyph image: stripes or checks over soft noise; never a scene's recipe."""
    first, second = rng.uniform(20.0, 235.0, (2, 3)).astype(np.float32)
    waves = np.sin(_slope(rng, px) * rng.uniform(6.0, 40.0))
    if rng.random() < 0.5:
        waves = waves * np.sin(_slope(rng, px) * rng.uniform(6.0, 40.0))
    share = np.clip(waves * rng.uniform(0.5, 3.0) * 0.5 + 0.5, 0.0, 1.0)[..., None]
    picture: Picture = first * (1 - share) + (0.5 * first + 0.5 * second) * share
    picture = picture + soft_noise(rng, px, int(rng.integers(2, 7)), 18.0)
    picture = picture + _grain(rng, px, 2.0, 10.0)
    return picture


def fill(rng: np.random.Generator, picture: Picture, cover: NDArray[np.float32]) -> Picture:
    """``picture`` with a figure painted where ``cover`` ([px, px], 0..1) says.

    Its colour stands out from what it covers, and carries a texture of its own.
    """
    rows, columns = _extent(cover)
    ground, share = picture[rows, columns], cover[rows, columns, None]
    px = max(share.shape[:2])
    behind = (ground * share).sum(axis=(0, 1)) / max(float(share.sum()), 1e-6)
    texture = soft_noise(rng, px, int(rng.integers(2, 6)), float(rng.uniform(3.0, 14.0)))
    if rng.random() < 0.25:
        stripes = np.sin(_slope(rng, px) * rng.uniform(6.0, 30.0)) * rng.uniform(8.0, 28.0)
        texture = texture + stripes[..., None].astype(np.float32)
    texture = texture + _grain(rng, px, 2.0, 10.0) + _standing_out(rng, behind)
    painted = picture.copy()
    painted[rows, columns] += (texture[: share.shape[0], : share.shape[1]] - ground) * share
    return painted


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    """The picture as it is stored."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _extent(cover: NDArray[np.float32]) -> tuple[slice, slice]:
    """The rows and columns that hold all of ``cover``."""
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _standing_out(rng: np.random.Generator, behind: NDArray[np.float32]) -> NDArray[np.float32]:
    tries: Picture = rng.uniform(10.0, 245.0, (12, 3)).astype(np.float32)
    distance = np.linalg.norm(tries - behind, axis=1)
    color: NDArray[np.float32] = tries[int(np.argmax(distance > MIN_CONTRAST))]
    return color  # the first try, should all twelve blend in


def _slope(rng: np.random.Generator, px: int) -> NDArray[np.float32]:
    """[px, px] running from 0 to 1 in a random direction."""
    angle = rng.uniform(0.0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, px, dtype=np.float32)
    run = axis[None, :] * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    slope: NDArray[np.float32] = (run - run.min()) / max(float(run.max() - run.min()), 1e-6)
    return slope


def _grain(rng: np.random.Generator, px: int, low: float, high: float) -> Picture:
    """Fine noise whose strength is drawn first."""
    grain: Picture = rng.normal(0.0, rng.uniform(low, high), (px, px, 3)).astype(np.float32)
    return grain
