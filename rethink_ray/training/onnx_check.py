"""Compares ``model.onnx``, run by onnxruntime, with what ``predict`` finds in the same pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethink_ray.data.pictures import read_rgb
from rethink_ray.data.splits import open_split
from rethink_ray.detection.onnx_file import INPUT
from rethink_ray.detection.resize import Resize, resize_image
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

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        return (
            f"onnxruntime finds {self.num_same} of {self.num_boxes} boxes of predict in "
            f"{self.num_pictures} pictures, and {self.num_more} others; they differ by at most "
            f"{self.largest_px:.1e} px and {self.largest_score:.1e} in score"
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

    def detect(self, pixels: Tensor) -> BoxTensors:
        """Returns the detections in a picture, ``[3, H, W]`` float32 in 0..1, in its pixels."""
        height, width = pixels.shape[-2:]
        now = self._transform.resized_hw(height, width)
        resized = resize_image(pixels, *now)
        outputs: Sequence[Any] = self._session.run(None, {INPUT: resized.numpy()})
        boxes, scores, labels = (torch.from_numpy(values) for values in outputs[:3])
        scale = torch.tensor([width / now[1], height / now[0]]).repeat(2)
        is_box = labels > 0
        return (boxes * scale)[is_box], scores[is_box], labels[is_box]


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
    return compare_detections(pairs)


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
