"""What replicates detected, file by file, and the AP of these detections on any draw of images."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rethink_ray.judge.verdicts import Finding
from rethink_ray.records.detections import detections_folder, from_bits
from rethink_ray.records.directory import StudyDirectory

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's; AP is the mean precision at these."""
ImageWeights = npt.NDArray[np.float64]
"""[I]: how often each image counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDetections:
    """One replicate's detections of one label, highest score first."""

    label: int
    """Counts from 1."""
    image: npt.NDArray[np.int64]
    """[D]: index of the image among all of the split."""
    right: npt.NDArray[np.bool_]
    """[10, D]: matches an object, per IoU threshold."""
    wrong: npt.NDArray[np.bool_]
    """[10, D]: matches none; neither right nor wrong where it is ignored."""
    objects: npt.NDArray[np.float64]
    """[I]: how many objects of the label each image holds."""

    @property
    def num_objects(self) -> int:
        """Objects of the label in all images."""
        return int(self.objects.sum())


def fetch_detections(findings: Iterable[Finding], directory: StudyDirectory) -> None:
    """The detections of the headlines' replicates are on this machine, wherever the study lives."""
    trial_ids = {t for f in findings if f.family == "primary" for t in f.evidence}
    directory.fetch(*(detections_folder(trial_id) for trial_id in sorted(trial_ids)))


def split_by_label(table: pa.Table) -> tuple[LabelDetections, ...]:
    """The rows of a detections file, label by label, of labels that some image holds."""
    image_ids, labels, matched, ignored = (
        np.array([value or 0 for value in table.column(name).to_pylist()], dtype=np.int64)
        for name in ("image_id", "label", "matched", "ignored")
    )
    num_objects = table.column("objects").to_pylist()
    is_count = np.array([num is not None for num in num_objects], dtype=np.bool_)
    images = np.unique(image_ids[is_count])
    index = np.searchsorted(images, image_ids)
    scores = np.array([s or 0.0 for s in table.column("score").to_pylist()], dtype=np.float64)
    held = np.array([num or 0 for num in num_objects], dtype=np.float64)
    by_label = []
    for label in np.unique(labels[is_count & (held > 0)]):
        counts = is_count & (labels == label)
        rows = np.flatnonzero(~is_count & (labels == label))
        rows = rows[np.lexsort((image_ids[rows], -scores[rows]))]
        objects = np.zeros(len(images))
        objects[index[counts]] = held[counts]
        ignore = from_bits(ignored[rows].astype(np.uint16))
        right = from_bits(matched[rows].astype(np.uint16))
        by_label.append(
            LabelDetections(
                label=int(label),
                image=index[rows],
                right=right & ~ignore,
                wrong=~right & ~ignore,
                objects=objects,
            )
        )
    return tuple(by_label)


def average_precision(labels: Sequence[LabelDetections], weights: ImageWeights) -> float:
    """COCO's AP in points if image ``i`` counted ``weights[i]`` times; NaN without any object."""
    each = [ap for label in labels if (ap := _label_precision(label, weights)) is not None]
    return 100.0 * float(np.mean(each)) if each else math.nan


def _label_precision(label: LabelDetections, weights: ImageWeights) -> float | None:
    curves = precision_curves(label, weights)
    return None if curves is None else float(curves.mean(axis=1).sum()) / len(curves)


def precision_curves(
    label: LabelDetections, weights: ImageWeights | None = None
) -> npt.NDArray[np.float64] | None:
    """COCO's precision of one label, [10 IoU thresholds, 101 recalls], 0..1; None without objects.

    Args:
        label: what one replicate detected.
        weights: how often each image counts; None: once.
    """
    weight_of = np.ones(len(label.objects)) if weights is None else weights
    num_objects = float(label.objects @ weight_of)
    if num_objects == 0.0:
        return None
    weight = weight_of[label.image]
    right = np.cumsum(label.right * weight, axis=1)
    wrong = np.cumsum(label.wrong * weight, axis=1)
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(right / (right + wrong))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    curves = np.zeros((len(label.right), len(RECALLS)))
    for curve, recall, best in zip(curves, right / num_objects, precision, strict=True):
        at = np.searchsorted(recall, RECALLS, side="left")
        reached = at < len(best)
        curve[reached] = best[at[reached]]
    return curves
