"""Types, defaults, metrics and sources of docs/reference.md in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.spec.metrics import FREQUENCY_METRICS, KEYPOINT_METRICS, MASK_METRICS, VOC_METRICS

Schema = Mapping[str, Any]

ANY_VALUE = {"string", "integer", "number", "boolean", "null"}


MEASURES = {
    ("ap", "ap50", "ap75"): "Average precision of boxes: the mean over overlaps (IoU) from 0.5 to "
    "0.95, at 0.5, and at 0.75.",
    ("ap_s", "ap_m", "ap_l"): "Average precision of small, medium and large objects: up to 32 x 32 "
    "px, up to 96 x 96 px, and larger.",
    ("ar1", "ar10", "ar100"): "Average recall of boxes with at most 1, 10 and 100 detections of a "
    "category in an image.",
    ("ar_s", "ar_m", "ar_l"): "Average recall of small, medium and large objects with at most 100 "
    "detections of a category in an image.",
    MASK_METRICS: "The same twelve, where the overlap is that of masks.",
    KEYPOINT_METRICS: "The same with object keypoint similarity in place of overlap, and at most "
    "20 detections of a category in an image. COCO's keypoint task has no small objects.",
    VOC_METRICS: "PASCAL VOC's average precision of boxes at 0.5, as its devkit has it: the area "
    "under the curve (2010 and later), and 11 points (2007). Difficult objects and crowds are "
    "ignored by overlap. They are scored where `objective.metric` is one of them.",
    FREQUENCY_METRICS: "Average precision over classes that few, some and many training images "
    "show (`data.frequency`).",
    ("loss",): "Mean training loss, from the update at which a rung leaves the trunk to its end.",
    ("backbone_drift",): "Distance of the backbone's weights from their start, as a share of "
    "their norm at the start.",
    ("step_ms",): "Milliseconds per update.",
    ("step_gflops",): "Floating-point operations of one update, in 10^9.",
    ("trained_share",): "Share of the parameters that train, in percent.",
    ("peak_gb",): "Peak memory on the GPU, in GB.",
    ("pretrain_hours",): "Hours of slots that built what a replicate starts from.",
}
"""Metrics that share a sentence -> the sentence."""
SOURCES = {
    "Cai & Vasconcelos 2018": "Cascade R-CNN: Delving into High Quality Object Detection",
    "Cubuk et al. 2019": "RandAugment: Practical Automated Data Augmentation",
    "Ghiasi et al. 2019": "NAS-FPN: Learning Scalable Feature Pyramid Architecture",
    "Ghiasi et al. 2021": "Simple Copy-Paste Is a Strong Data Augmentation Method",
    "Goyal et al. 2017": "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    "Gupta et al. 2019": "LVIS: A Dataset for Large Vocabulary Instance Segmentation",
    "Hägele et al. 2024": "Scaling Laws and Compute-Optimal Training Beyond Fixed "
    "Training Durations",
    "He et al. 2017": "Mask R-CNN",
    "He et al. 2018": "Rethinking ImageNet Pre-training",
    "Hwang et al. 1990": "Group Sequential Designs Using a Family of Type I Error "
    "Probability Spending Functions",
    "Kumar et al. 2022": "Fine-Tuning can Distort Pretrained Features and Underperform "
    "Out-of-Distribution",
    "Lan & DeMets 1983": "Discrete Sequential Boundaries for Clinical Trials",
    "Li et al. 2021": "Rethinking Training from Scratch for Object Detection",
    "Li et al. 2022": "Exploring Plain Vision Transformer Backbones for Object Detection (ViTDet)",
    "Lin et al. 2017": "Feature Pyramid Networks for Object Detection (pyramid and box head), and "
    "Focal Loss for Dense Object Detection (RetinaNet)",
    "Liu et al. 2016": "SSD: Single Shot MultiBox Detector",
    "Loshchilov & Hutter 2017": "SGDR: Stochastic Gradient Descent with Warm Restarts",
    "Lv et al. 2024": "RT-DETRv2: Improved Baseline with Bag-of-Freebies for Real-Time Detection "
    "Transformer",
    "Rebuffi et al. 2017": "Learning Multiple Visual Domains with Residual Adapters",
    "Ren et al. 2015": "Faster R-CNN: Towards Real-Time Object Detection",
    "Sandler et al. 2018": "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "Tan et al. 2020": "EfficientDet: Scalable and Efficient Object Detection",
    "Tian et al. 2019": "FCOS: Fully Convolutional One-Stage Object Detection",
    "Wang et al. 2020": "Frustratingly Simple Few-Shot Object Detection",
    "Zoph et al. 2019": "Learning Data Augmentation Strategies for Object Detection",
    "Zoph et al. 2020": "Rethinking Pre-training and Self-training",
}
"""Papers that descriptions name -> title."""


def type_words(value: Schema) -> str:
    """What a JSON Schema of one value accepts: ``whole number from 1 or `null` ``."""
    branches = value.get("anyOf", [value])
    is_any = {branch.get("type") for branch in branches} >= ANY_VALUE
    words = ["any value"] if is_any else []
    for branch in branches:
        if not (is_any and branch.get("type") in ANY_VALUE):
            words += _options(branch)
    return join_words(list(dict.fromkeys(words)), "or")


def _options(value: Schema) -> list[str]:
    """Each value, or kind of value, that a schema without alternatives accepts."""
    if "$ref" in value:
        return ["group of keys"]
    if "const" in value:
        return [as_yaml(value["const"])]
    if "enum" in value:
        return [as_yaml(option) for option in value["enum"]]
    match value.get("type"):
        case "null":
            return ["`null`"]
        case "boolean":
            return ["`true`", "`false`"]
        case "integer" | "number":
            return [_number_words(value)]
        case "array":
            return [_list_words(value)]
        case "object":
            return [_mapping_words(value)]
        case _:
            return ["share such as `20%`" if "%" in value.get("pattern", "") else "text"]


def _number_words(value: Schema, plural: str = "") -> str:
    noun = "whole number" if value["type"] == "integer" else "number"
    noun += plural
    low, high = value.get("minimum"), value.get("maximum")
    above, below = value.get("exclusiveMinimum"), value.get("exclusiveMaximum")
    if above is not None and below is not None:
        return f"{noun} between {above:g} and {below:g}"
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}"
    if low is not None and below is not None:
        return f"{noun} from {low:g} to below {below:g}"
    if above is not None:
        return f"{noun} above {above:g}"
    return noun if low is None else f"{noun} from {low:g}"


def _list_words(value: Schema) -> str:
    if len(value.get("prefixItems", ())) == 3:
        return f"three {_plural(value['prefixItems'][0])}, one for each channel"
    if "prefixItems" in value:
        return f"two {_plural(value['prefixItems'][0])}, [low, high]"
    return f"list of {_plural(value['items'])}"


def _plural(value: Schema) -> str:
    if value.get("type") in ("integer", "number"):
        return _number_words(value, "s")
    words = type_words(value)
    return {"text": "texts", "any value": "values"}.get(words, words)


def _mapping_words(value: Schema) -> str:
    inner = value.get("additionalProperties")
    if not isinstance(inner, Mapping):
        return "mapping of paths to values"
    if "$ref" in inner:
        return "mapping of names to groups of keys"
    words = "values" if type_words(inner).startswith("any value") else _plural(inner)
    return f"mapping to {words}"


def as_yaml(value: Any) -> str:
    """A value as a study file would hold it, in backticks; nothing at all as a word."""
    if value in ("", {}, []) or value == ():
        return "empty"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(_yaml(item) for item in value)}]"
        case "true" | "false" | "null":  # a text, which YAML reads as something else
            return f"'{value}'"
        case dict():
            return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
        case _:
            return str(value)


def join_words(words: Sequence[str], last: str) -> str:
    """``a, b or c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def split_source(description: str) -> tuple[str, str]:
    """A description in Markdown without its source, and the source without its full stop."""
    text = " ".join(description.split()).replace("``", "`")
    sentence, _, source = text.partition(" Source: ")
    return sentence, source.removesuffix(".")
