"""Draws detected objects on their image."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_keypoints, draw_segmentation_masks

from rethink_ray.detection.masks import paste_mask

LABEL_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
MASK_OPACITY = 0.4
READABLE_PX = 200
"""Names and scores, in letters of 11 pixels, hide the objects of a picture with a smaller side."""
ENLARGED_PX = 400
"""The longer side of a picture that was too small is at least this long after enlarging."""
LINE_SHARE, LEAST_LINE_PX = 1 / 300, 2
"""The width of a box's line, as a share of the picture's longer side: 13 of 4,000 pixels."""
NAME_SHARE, LEAST_NAME_PX = 1 / 40, 12
"""The height of letters, likewise: 100 of 4,000 pixels, which can be read on a whole screen."""
BRIGHT = 150
"""Gray level from which on black letters can be read better than white ones."""


def enlarge_small(pixels: Tensor, output: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A small picture and its objects, enlarged until names and scores can be read on it.

    Each pixel becomes a square of pixels. A picture with a longer side of 200 pixels stays as it
    is.

    Args:
        pixels: ``[3, H, W]`` uint8.
        output: what ``Detector.detect`` returns for this image.
    """
    longer = max(pixels.shape[-2:])
    if longer >= READABLE_PX:
        return pixels, output
    factor = math.ceil(ENLARGED_PX / longer)
    enlarged = pixels.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    objects = {**output, "boxes_xyxy": output["boxes_xyxy"] * factor}
    if "keypoints" in output:
        objects["keypoints"] = torch.cat(
            [output["keypoints"][..., :2] * factor, output["keypoints"][..., 2:]], dim=-1
        )
    return enlarged, objects


def draw_objects(
    pixels: Tensor, output: dict[str, Tensor], categories: Sequence[str], score_threshold: float
) -> Tensor:
    """The image with every object of at least this score: box, name, score, mask, keypoints.

    Lines, letters and keypoints grow with the picture.

    Args:
        pixels: ``[3, H, W]`` uint8.
        output: what ``Detector.detect`` returns for this image.
        categories: name of label 1, 2, ...
        score_threshold: 0..1.
    """
    kept = output["scores"] >= score_threshold
    objects = {key: value[kept].cpu() for key, value in output.items()}
    labels, scores = objects["labels"].tolist(), objects["scores"].tolist()
    if not labels:
        return pixels
    boxes = objects["boxes_xyxy"]
    colors = [LABEL_COLORS[(label - 1) % len(LABEL_COLORS)] for label in labels]
    drawn: Tensor = pixels
    if "masks" in objects:
        height, width = pixels.shape[-2:]
        pairs = zip(objects["masks"], boxes, strict=True)
        masks = torch.stack([paste_mask(square, box, height, width) for square, box in pairs])
        drawn = draw_segmentation_masks(drawn, masks, alpha=MASK_OPACITY, colors=colors)
    names = [f"{categories[k - 1]} {s:.2f}" for k, s in zip(labels, scores, strict=True)]
    drawn = _draw_boxes(drawn, boxes.tolist(), names, colors)
    radius = max(LEAST_LINE_PX, round(max(pixels.shape[-2:]) * LINE_SHARE))
    for points, color in zip(objects.get("keypoints", ()), colors, strict=False):
        drawn = draw_keypoints(drawn, points[None, :, :2], colors=color, radius=radius)
    return drawn


def _draw_boxes(
    pixels: Tensor,
    boxes_xyxy: Sequence[Sequence[float]],
    names: Sequence[str],
    colors: Sequence[str],
) -> Tensor:
    """The picture with boxes and their names; the first ones lie on top.

    Lines and letters grow with the picture, because pictures are looked at as a whole.
    """
    picture: Image.Image = to_pil_image(pixels.cpu())
    longer = max(picture.size)
    line = max(LEAST_LINE_PX, round(longer * LINE_SHARE))
    font = ImageFont.load_default(max(LEAST_NAME_PX, round(longer * NAME_SHARE)))
    pen = ImageDraw.Draw(picture)
    drawn = list(zip(boxes_xyxy, names, colors, strict=True))[::-1]
    for (x0, y0, x1, y1), _, color in drawn:
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=color, width=line)
    for (x0, y0, _, _), name, color in drawn:
        _write_name(pen, (x0, y0), name, color, font, picture.width)
    return cast("Tensor", pil_to_tensor(picture)).to(pixels.device)


def _write_name(
    pen: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    name: str,
    color: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    picture_width: int,
) -> None:
    """A name on a plate of the box's colour: above the box, or in its corner at the upper edge."""
    left, top, right, bottom = pen.textbbox((0, 0), name, font=font)
    margin = max(1.0, (bottom - top) / 6.0)
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = max(0.0, min(corner[0], picture_width - width))
    y = corner[1] - height if corner[1] >= height else max(0.0, corner[1])
    pen.rectangle((x, y, x + width, y + height), fill=color)
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    ink = "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue >= BRIGHT else "#ffffff"
    pen.text((x + margin - left, y + margin - top), name, fill=ink, font=font)
