"""Compares ``model.onnx``, run by onnxruntime, with what ``predict`` finds in the same pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from rethink_ray.data.pictures import read_rgb
from rethink_ray.data.splits import open_split
from rethink_ray.detection.onnx_file import INPUT
from rethink_ray.detection.resize import HeightWidth, Resize, resize_image
from rethink_ray.spec.errors import DataError
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.precision import use_precision

CHECKED_PICTURES = 10
SAME_PX, SAME_SCORE = 0.5, 0.005
"""How far the coordinates and the scores of two boxes of one class may be apart that count as the
same."""
MADE_UP_HW = ((90, 130), (128, 128))
"""Sizes of the pictures that are compared where the data set is gone."""
BoxTensors = tuple[Tensor, Tensor, Tensor]
"""Boxes ``[D, 4]`` xyxy, scores ``[D]`` and labels ``[D]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxCheck:
    """How far the detections of the ONNX file are from those of ``predict``."""

    num_pictures: int
    num_boxes: int
    """Boxes of ``predict`` in all pictures."""
    num_same: int
    """Those of them that the ONNX file finds, too: the same class, coordinates within half a pixel,
    and a score within 0.005."""
    num_more: int
    """Boxes of the ONNX file that ``predict`` does not find."""
    largest_px: float
    """Largest difference of a coordinate between boxes that both find, in the picture's pixels."""
    largest_score: float
    """Largest difference of a score between boxes that both find."""
    num_filled: int = 0
    """Pictures that did not have the file's fixed size, so they were filled up or made smaller."""
    usual_hw: HeightWidth | None = None
    """The most frequent size of the pictures once they are resized; ``None``: the file takes every
    size."""

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        text = (
            f"onnxruntime finds {self.num_same} of {self.num_boxes} boxes of predict in "
            f"{self.num_pictures} pictures, and {self.num_more} others; they differ by at most "
            f"{self.largest_px:.1e} px and {self.largest_score:.1e} in score"
        )
        if self.usual_hw is None:
            return text
        usual = "x".join(map(str, self.usual_hw))
        return (
            f"{text}; {self.num_filled} of the pictures were filled up to the file's size or made "
            f"smaller (most are {usual} once resized)"
        )


class OnnxModel:
    """An ONNX file of ours in onnxruntime, fed as ``card.json`` says."""

    def __init__(self, path: Path, transform: Resize) -> None:
        """``transform``: the detector's, which knows the size to feed."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._transform = transform
        sides = self._session.get_inputs()[0].shape[1:]
        self.fixed_hw = (sides[0], sides[1]) if all(isinstance(s, int) for s in sides) else None
        """Height and width of every picture that the file takes; ``None``: any."""

    def choose_size(self, pixels: Tensor) -> HeightWidth:
        """Returns the size to which a picture is resized if the file takes every size."""
        return self._transform.resized_hw(*pixels.shape[-2:])

    def detect(self, pixels: Tensor) -> BoxTensors:
        """Returns the detections in a picture, ``[3, H, W]`` float32 in 0..1, in its pixels."""
        height, width = pixels.shape[-2:]
        now = self.choose_size(pixels)
        if self.fixed_hw is not None:
            now = shrink_to_fit(now, self.fixed_hw)
        resized = self._fill_up(resize_image(pixels, *now))
        outputs: Sequence[Any] = self._session.run(None, {INPUT: resized.numpy()})
        boxes, scores, labels = (torch.from_numpy(values) for values in outputs[:3])
        scale = torch.tensor([width / now[1], height / now[0]]).repeat(2)
        is_box = labels > 0
        in_picture = clip_boxes_to_image(boxes * scale, (height, width))
        return in_picture[is_box], scores[is_box], labels[is_box]

    def _fill_up(self, picture: Tensor) -> Tensor:
        """Returns the picture with the mean colour at the right and below, up to the fixed size."""
        if self.fixed_hw is None or tuple(picture.shape[-2:]) == self.fixed_hw:
            return picture
        norm = self._transform.pixel_norm
        colour = norm.mean.index_select(0, norm.channels).cpu()  # from the network's order to RGB
        filled = colour.expand(3, *self.fixed_hw).clone()
        filled[:, : picture.shape[-2], : picture.shape[-1]] = picture
        return filled


def shrink_to_fit(picture_hw: HeightWidth, fixed_hw: HeightWidth) -> HeightWidth:
    """Returns the largest size of the same shape inside a fixed size, at most that of the picture.

    Sides are rounded down.
    """
    scale = min(1.0, *(side / now for side, now in zip(fixed_hw, picture_hw, strict=True)))
    height, width = (
        max(1, min(side, int(now * scale))) for side, now in zip(fixed_hw, picture_hw, strict=True)
    )
    return height, width


def check_onnx(model: TrainedModel, path: Path) -> OnnxCheck:
    """Compares an ONNX file with its model on pictures of the split that its study reports on.

    Without that split, the pictures are noise.
    """
    onnx = OnnxModel(path, model.detector.input_transform)
    pairs = []
    pictures = _choose_pictures(model)
    for pixels in pictures:
        with use_precision(model.config.recipe, model.ctx.device):
            [output] = model.detector.detect([pixels.to(model.ctx.device)])
        mine = (output["boxes_xyxy"], output["scores"], output["labels"])
        pairs.append((tuple(values.cpu() for values in mine), onnx.detect(pixels)))
    check = compare_detections(pairs)
    if onnx.fixed_hw is None:
        return check
    sizes = [onnx.choose_size(pixels) for pixels in pictures]
    num_filled = sum(size != onnx.fixed_hw for size in sizes)
    return replace(check, num_filled=num_filled, usual_hw=Counter(sizes).most_common(1)[0][0])


def _choose_pictures(model: TrainedModel) -> list[Tensor]:
    try:
        index = open_split(model.config.data, model.config.data.report_split)
        paths = [index.entry(int(i)).path for i in index.image_ids[:CHECKED_PICTURES]]
        return [read_rgb(path, ranges=model.level_ranges).float() / 255.0 for path in paths]
    except (DataError, OSError):
        generator = torch.Generator().manual_seed(0)
        return [torch.rand(3, *hw, generator=generator) for hw in MADE_UP_HW]


def compare_detections(pairs: Sequence[tuple[Any, Any]]) -> OnnxCheck:
    """Compares pairs of ``BoxTensors`` of the same pictures."""
    num_boxes, num_others, num_same = 0, 0, 0
    largest_px, largest_score = 0.0, 0.0
    for (boxes, scores, labels), (other_boxes, other_scores, other_labels) in pairs:
        num_boxes, num_others = num_boxes + len(boxes), num_others + len(other_boxes)
        if not len(boxes) or not len(other_boxes):
            continue
        mine, others = (
            torch.cat([b / SAME_PX, s[:, None] / SAME_SCORE], dim=1).float()
            for b, s in ((boxes, scores), (other_boxes, other_scores))
        )
        distance = torch.cdist(mine, others, p=torch.inf)
        nearest, partner = distance.masked_fill(
            labels[:, None] != other_labels[None], torch.inf
        ).min(dim=1)
        same = nearest <= 1
        num_same += len(set(partner[same].tolist()))
        if same.any():
            moved = (boxes - other_boxes[partner])[same].abs().max()
            changed = (scores - other_scores[partner])[same].abs().max()
            largest_px = max(largest_px, float(moved))
            largest_score = max(largest_score, float(changed))
    return OnnxCheck(
        num_pictures=len(pairs),
        num_boxes=num_boxes,
        num_same=num_same,
        num_more=num_others - num_same,
        largest_px=largest_px,
        largest_score=largest_score,
    )
