"""Names of everything that is measured of a replicate: COCO's and VOC's scores, costs of a run."""

import math

BOX_METRICS = (
    "ap",
    "ap50",
    "ap75",
    "ap_s",
    "ap_m",
    "ap_l",
    "ar1",
    "ar10",
    "ar100",
    "ar_s",
    "ar_m",
    "ar_l",
)
"""In COCO's order: average precision (all, IoU 0.5, 0.75, by size), average recall (by detections
of a category per image, by size)."""
AREA_RANGES_PX2 = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 10**10)}
"""Size of an object -> the smallest and the largest area that COCO counts among them."""
MASK_METRICS = tuple(f"mask_{name}" for name in BOX_METRICS)
"""The same twelve, with the overlap of masks."""
KEYPOINT_METRICS = tuple(
    f"keypoint_{name}"
    for name in (
        "ap",
        "ap50",
        "ap75",
        "ap_m",
        "ap_l",
        "ar",
        "ar50",
        "ar75",
        "ar_m",
        "ar_l",
    )
)
"""In COCO's order; its keypoint task has no small objects, and counts 20 detections of a category
in an image."""
VOC_METRICS = ("voc_ap50", "voc07_ap50")
"""PASCAL VOC's average precision at IoU 0.5, of 2010 and later and of 2007. They are scored where a
study decides on one of them."""
SCORES = (*BOX_METRICS, *MASK_METRICS, *KEYPOINT_METRICS, *VOC_METRICS)
FREQUENCIES = ("rare", "common", "frequent")
"""Bins of categories by how many training images show them."""
FREQUENCY_METRICS = tuple(f"{kind}_{name}" for kind in ("ap", "mask_ap") for name in FREQUENCIES)
COSTS = (
    "backbone_drift",
    "step_ms",
    "step_gflops",
    "trained_share",
    "peak_gb",
    "pretrain_hours",
)
"""Costs that claims compare."""
MEASURED = (*SCORES, *FREQUENCY_METRICS, "loss", *COSTS)
"""Every name that a claim may select as its metric."""

_COUNTED = {
    "s": "small objects",
    "m": "medium-sized objects",
    "l": "large objects",
    **{name: f"objects of {name} categories" for name in FREQUENCIES},
}
"""Last part of a metric's name -> the objects that it counts."""


def score_text(metric: str, value: float, width: int = 0, decimals: int = 3) -> str:
    """A score in points, or a dash and the reason why the split has none: ``- (no large objects)``.

    Args:
        metric: its name, with or without its split: ``test/ap_l``.
        value: NaN where the split has no object that the metric counts.
        width: columns of the number or dash.
        decimals: of the number.
    """
    if not math.isnan(value):
        return f"{value:{width}.{decimals}f}"
    return f"{'-':>{max(1, width)}} ({say_uncounted(metric)})"


def say_uncounted(metric: str) -> str:
    """What a split lacks that has no number for a metric: ``no large objects``."""
    return f"no {_COUNTED.get(metric.rpartition('_')[2], 'objects')}"
