"""Pictures of a page: small JPEGs inside SVG, with boxes drawn over them as vectors.

Each picture is in the page once, however many arms are drawn on it. Lines have the same width and
letters about the same size on every picture, whatever its number of pixels.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

OutlineKind = Literal["label", "right", "wrong", "missed"]
Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the whole picture."""

LONGEST_PX = 400
"""The longer side of a JPEG."""
MOST_BYTES = 60_000
"""Of a JPEG; one that takes more is written with less quality, then smaller."""
QUALITIES = (80, 60, 40)
LETTER_SHARE = 0.05
"""The height of letters, as a share of the shown region's longer side."""
LETTER_WIDTH = 0.68
"""Of a bold letter, as a share of its height."""
MOST_OUTLINES = 60
"""Boxes drawn on one picture: the surest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One box to draw."""

    box_xyxy: Corners
    kind: OutlineKind
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """A picture, or a region of one, ready to be put into a page."""

    region: Corners
    """What it shows, in pixels of the whole picture."""
    content: bytes

    @property
    def address(self) -> str:
        """The picture itself as a ``data:`` address."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.content).decode()}"

    def element(self, name: str = "") -> str:
        """The SVG element that shows it.

        Args:
            name: an id, for a picture that is shown several times.
        """
        x0, y0, x1, y1 = self.region
        identity = f'id="{name}" ' if name else ""
        return (
            f'<image {identity}x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}" '
            f'preserveAspectRatio="none" href="{self.address}"/>'
        )


def encode_jpeg(picture: "Image", region: Corners | None = None) -> Jpeg:
    """A picture as a small JPEG.

    Args:
        picture: in RGB.
        region: the part to show; None: all of it.
    """
    from PIL.Image import Resampling

    width, height = picture.size
    x0, y0, x1, y1 = region or (0.0, 0.0, float(width), float(height))
    corners = (max(0, int(x0)), max(0, int(y0)), min(width, round(x1)), min(height, round(y1)))
    shown = picture.crop(corners)
    longest = LONGEST_PX
    while True:
        small = shown.copy()
        small.thumbnail((longest, longest), Resampling.LANCZOS)
        for quality in QUALITIES:
            file = io.BytesIO()
            small.save(file, "JPEG", quality=quality, optimize=True)
            if file.tell() <= MOST_BYTES:
                left, top, right, bottom = map(float, corners)
                return Jpeg(region=(left, top, right, bottom), content=file.getvalue())
        longest //= 2


def surround(box_xyxy: Corners, width: int, height: int) -> Corners:
    """The region of a picture around a box: three times its sides, at least a third of the picture.

    Args:
        box_xyxy: the box.
        width: of the picture, in pixels.
        height: of the picture.
    """
    x0, y0, x1, y1 = box_xyxy
    side = max(3.0 * (x1 - x0), 3.0 * (y1 - y0), max(width, height) / 3.0)
    low_x, high_x = _centre(x0, x1, side, width)
    low_y, high_y = _centre(y0, y1, side, height)
    return low_x, low_y, high_x, high_y


def _centre(low: float, high: float, side: float, limit: int) -> tuple[float, float]:
    """Ends of a stretch of this length around the middle of another one, inside 0..limit."""
    length = min(side, float(limit))
    start = min(max((low + high - length) / 2.0, 0.0), limit - length)
    return float(int(start)), float(min(limit, int(start + length) + 1))


def draw_outlines(
    image_element: str, region: Corners, outlines: Sequence[Outline], title: str
) -> str:
    """The SVG of a picture with boxes on it.

    Args:
        image_element: ``Jpeg.element``, or a ``<use>`` of one that is elsewhere in the page.
        region: what it shows.
        outlines: the boxes; the first ones lie on top.
        title: what the picture shows, for readers who do not see it.
    """
    x0, y0, x1, y1 = region
    letter = LETTER_SHARE * max(x1 - x0, y1 - y0)
    shown = outlines[:MOST_OUTLINES]
    boxes = "".join(_box_element(one) for one in reversed(shown))
    texts = "".join(_list_texts(shown, region, letter))
    return (
        f'<svg viewBox="{x0:g} {y0:g} {x1 - x0:g} {y1 - y0:g}" role="img" '
        f'aria-label="{escape(title)}">{image_element}{boxes}'
        f'<g font-size="{letter:.3g}" stroke-width="{letter / 5:.3g}">{texts}</g></svg>'
    )


def _box_element(outline: Outline) -> str:
    x0, y0, x1, y1 = outline.box_xyxy
    corners = (
        f'x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" height="{max(y1 - y0, 0):.1f}"'
    )
    return f'<rect class="under" {corners}/><rect class="{outline.kind}" {corners}/>'


def _list_texts(outlines: Sequence[Outline], region: Corners, letter: float) -> Iterator[str]:
    """The texts of boxes, without those that would lie on the text of an earlier box.

    A text stands above its box, or inside it at the upper edge, and never beyond the right edge.
    """
    left, top, right, bottom = region
    written: list[Corners] = []
    for outline in (one for one in outlines if one.text):
        x0, y0, _, _ = outline.box_xyxy
        width = LETTER_WIDTH * letter * len(outline.text)
        x = max(left, min(x0, right - width))
        y = min(bottom, y0 - 0.25 * letter if y0 - letter > top else max(y0, top) + letter)
        taken = (x, y - letter, x + width, y)
        if any(do_overlap(taken, other) for other in written):
            continue
        written.append(taken)
        text = escape(outline.text)
        yield f'<text class="{outline.kind}" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def do_overlap(box: Corners, other: Corners) -> bool:
    """Whether two boxes share any area."""
    return box[0] < other[2] and box[2] > other[0] and box[1] < other[3] and box[3] > other[1]
