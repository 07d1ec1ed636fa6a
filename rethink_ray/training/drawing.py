"""Draws detected objects on their image."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_keypoints, draw_segmentation_masks

from rethink_ray.detection.masks import paste_mask

LABEL_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
MASK_OPACITY = 0.4
READABLE_PX = 200
"""Names and scores, in letters of 11 pixels, hide the objects of a picture with a smaller side."""
ENLARGED_PX = 400
"""The longer side of a picture that was too small is at least this long after enlarging."""


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
    drawn = draw_bounding_boxes(drawn, boxes, labels=names, colors=colors)
    for points, color in zip(objects.get("keypoints", ()), colors, strict=False):
        drawn = draw_keypoints(drawn, points[None, :, :2], colors=color)
    return drawn
