"""Precision by recall, and average precision by class: the mean over an arm's replicates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rethink_ray.analysis.read.detected import LabelDetections, precision_curves
from rethink_ray.analysis.read.kept_boxes import ArmBoxes, KeptStudy

IOU_ROWS = {0.5: 0, 0.75: 5}
"""IoU threshold -> its row among COCO's ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCurve:
    """One arm's precision at 101 recalls from 0 to 1."""

    arm: str
    iou: float
    precision: tuple[float, ...]
    """0..1, the mean over classes, then over replicates."""

    def at(self, recall: float) -> float:
        """The precision at a recall that is a multiple of 0.01."""
        return self.precision[round(100 * recall)]


def measure_precision_curves(kept: KeptStudy) -> tuple[PrecisionCurve, ...]:
    """Each arm's curve at IoU 0.5 and at 0.75."""
    return tuple(
        PrecisionCurve(arm=arm.arm, iou=iou, precision=tuple(curves[row].tolist()))
        for arm in kept.arms
        for curves in [_average(arm)]
        for iou, row in IOU_ROWS.items()
    )


def _average(arm: ArmBoxes) -> npt.NDArray[np.float64]:
    """[10, 101]: mean over classes, then over replicates."""
    each = [np.mean([*_curves(labels)], axis=0) for labels in arm.by_label]
    mean: npt.NDArray[np.float64] = np.mean(each, axis=0)
    return mean


def _curves(labels: tuple[LabelDetections, ...]) -> Iterator[npt.NDArray[np.float64]]:
    for label in labels:
        curves = precision_curves(label)
        if curves is not None:
            yield curves
