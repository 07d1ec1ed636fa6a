"""The glyphs: figures that upstream classifiers learn.

No glyph is one of the shapes, and no glyph is a rotation of another one.
"""

from collections.abc import Mapping

import numpy as np

from rethink_ray.data.outlines import Figure, Part, Points, arc, path, polygon

PEN = 0.26


def _lines(*strokes: Points) -> Figure:
    return tuple(Part(points=stroke, stroke=PEN) for stroke in strokes)


def _heart() -> Figure:
    t = np.linspace(0.0, 2 * np.pi, 40)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return (Part(points=np.stack([x, y], axis=1)),)


def _crescent() -> Figure:
    bite = arc(0.0, 1.0, 36, 0.82) + np.array([0.45, 0.0])
    return (Part(points=polygon(36)), Part(points=bite, ink=False))


def _spiral() -> Figure:
    turns = np.linspace(0.0, 2.0, 50)
    radius = (0.1 + 0.4 * turns)[:, None]
    around = np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)
    return (Part(points=around * radius, stroke=0.18),)


def _gear() -> Figure:
    return (
        Part(points=polygon(9, inner=0.68)),
        Part(points=polygon(20) * 0.25, ink=False),
    )


def _drop() -> Figure:
    belly = arc(-0.05, 0.55, 26, 0.62) + np.array([0.0, 0.35])
    return (Part(points=np.concatenate([path((0.0, -1.0)), belly])),)


def _wave() -> Figure:
    x = np.linspace(-1.0, 1.0, 40)
    return _lines(np.stack([x, 0.4 * np.sin(x * 2 * np.pi)], axis=1))


def _key() -> Figure:
    bow = arc(0.0, 1.0, 24, 0.4) + np.array([-0.55, 0.0])
    return (
        Part(points=path((-0.2, 0.0), (1.0, 0.0)), stroke=0.2),
        Part(points=path((0.9, 0.0), (0.9, 0.42)), stroke=0.2),
        Part(points=path((0.5, 0.0), (0.5, 0.42)), stroke=0.2),
        Part(points=bow, stroke=0.2),
    )


def _fish() -> Figure:
    top = arc(0.56, 0.94, 18) * np.array([0.75, 0.62]) + np.array([-0.2, 0.12])
    body = np.concatenate([top, top[::-1] * np.array([1.0, -1.0])])
    return (Part(points=body), Part(points=path((0.3, 0.0), (1.0, -0.5), (1.0, 0.5))))


_DRAFTS: Mapping[str, Figure] = {
    "arrow": (
        Part(points=path((-1.0, 0.0), (0.5, 0.0)), stroke=0.3),
        Part(points=path((1.0, 0.0), (0.2, -0.6), (0.2, 0.6))),
    ),
    "heart": _heart(),
    "crescent": _crescent(),
    "spiral": _spiral(),
    "hash": _lines(
        path((-0.35, -0.9), (-0.35, 0.9)),
        path((0.35, -0.9), (0.35, 0.9)),
        path((-0.9, -0.35), (0.9, -0.35)),
        path((-0.9, 0.35), (0.9, 0.35)),
    ),
    "letter_l": _lines(path((-0.4, -0.9), (-0.4, 0.8), (0.6, 0.8))),
    "letter_t": _lines(path((-0.8, -0.8), (0.8, -0.8)), path((0.0, -0.8), (0.0, 0.95))),
    "letter_h": _lines(
        path((-0.6, -0.8), (-0.6, 0.8)),
        path((0.6, -0.8), (0.6, 0.8)),
        path((-0.6, 0.0), (0.6, 0.0)),
    ),
    "letter_z": _lines(path((-0.7, -0.7), (0.7, -0.7), (-0.7, 0.7), (0.7, 0.7))),
    "letter_e": _lines(
        path((0.6, -0.8), (-0.5, -0.8), (-0.5, 0.8), (0.6, 0.8)), path((-0.5, 0.0), (0.4, 0.0))
    ),
    "letter_f": _lines(
        path((0.6, -0.8), (-0.4, -0.8), (-0.4, 0.95)), path((-0.4, 0.0), (0.4, 0.0))
    ),
    "letter_y": _lines(
        path((-0.75, -0.85), (0.0, 0.0), (0.75, -0.85)), path((0.0, 0.0), (0.0, 0.95))
    ),
    "letter_u": _lines(
        np.concatenate(
            [path((0.6, -0.8)), arc(0.0, 0.5, 16, 0.6) + np.array([0.0, 0.2]), path((-0.6, -0.8))]
        )
    ),
    "letter_a": _lines(
        path((-0.75, 0.9), (0.0, -0.9), (0.75, 0.9)), path((-0.42, 0.3), (0.42, 0.3))
    ),
    "hourglass": (Part(points=path((-0.7, -0.85), (0.7, -0.85), (-0.7, 0.85), (0.7, 0.85))),),
    "gear": _gear(),
    "drop": _drop(),
    "wave": _wave(),
    "ladder": _lines(
        path((-0.45, -0.95), (-0.45, 0.95)),
        path((0.45, -0.95), (0.45, 0.95)),
        *(path((-0.45, y), (0.45, y)) for y in (-0.55, 0.0, 0.55)),
    ),
    "key": _key(),
    "fish": _fish(),
    "pie": (Part(points=np.concatenate([path((0.0, 0.0)), arc(0.1, 0.9, 30)])),),
    "chevron": _lines(path((-0.45, 0.85), (0.0, -0.75), (0.45, 0.85))),
    "slot": (
        Part(points=path((-0.95, -0.45), (0.95, -0.45), (0.95, 0.45), (-0.95, 0.45))),
        Part(points=path((-0.6, -0.12), (0.6, -0.12), (0.6, 0.12), (-0.6, 0.12)), ink=False),
    ),
}


def _fit(figure: Figure) -> Figure:
    """Scales the figure so that its ink just reaches the unit circle."""
    reach = max(
        float(np.hypot(*part.points.T).max()) + part.stroke / 2 for part in figure if part.ink
    )
    return tuple(
        Part(points=part.points / reach, stroke=part.stroke / reach, ink=part.ink)
        for part in figure
    )


GLYPHS: Mapping[str, Figure] = {kind: _fit(figure) for kind, figure in _DRAFTS.items()}
"""Class name -> figure; ``upstream.classes: n`` takes the first n."""
