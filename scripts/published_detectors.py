"""torchvision's published detectors: their AP, and pipelines that run their weights for the scorer.

A pipeline is a function from an image to its detections: torchvision's network with its own resize,
the same network with our antialiased resize, or our network with the same weights.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.loader import Loading, eval_batches
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import rename_to_ours, select_categories
from rethink_ray.detection.masks import INSIDE, encode_mask
from rethink_ray.detection.norms import replace_batch_norms
from rethink_ray.detection.resize import Resize
from rethink_ray.detection.scoring import Detection
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import WITH_KEYPOINTS, Family, InitSpec, Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.training.evaluate import DetectedSplit, build_detection, build_truth
from rethink_ray.training.precision import use_precision

Pipeline = Callable[[Tensor, ImageEntry], Detection]
FP32 = Recipe()
"""A recipe says in which precision a network computes; the default one says float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A detector with published weights."""

    name: str
    """torchvision's name of the detector; the weights are its ``COCO_V1``."""
    family: Family
    recipe: str | None
    """Our recipe of it; ``None``: our network does not run."""
    published: Mapping[str, float]
    """Metric -> AP. Source: torchvision, ``meta`` of the weights."""
    frozen_eps: float | None = None
    """Epsilon of the backbone's frozen norms; ``None``: its norms are batch norms."""
    ours: Mapping[str, Any] = field(default_factory=dict)
    """Settings of our network, if not the recipe's."""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of torchvision's network, if not its own."""

    @property
    def weights(self) -> Any:
        """torchvision's entry for the weights."""
        return torchvision.models.get_model_weights(self.name)["COCO_V1"]

    @property
    def file(self) -> str:
        """File name of the weights."""
        return Path(self.weights.url).name


ANCHORS = (
    Anchor(
        name="fasterrcnn_resnet50_fpn",
        family="faster_rcnn",
        recipe="faster_rcnn_r50_v1",
        published={"ap": 37.0},
        frozen_eps=0.0,
    ),
    Anchor(
        name="retinanet_resnet50_fpn",
        family="retinanet",
        recipe="retinanet_r50_v1",
        published={"ap": 36.4},
        frozen_eps=0.0,
    ),
    Anchor(
        name="maskrcnn_resnet50_fpn",
        family="mask_rcnn",
        recipe="mask_rcnn_r50_v1",
        published={"ap": 37.9, "mask_ap": 34.6},
        frozen_eps=0.0,
    ),
    Anchor(
        name="fcos_resnet50_fpn",
        family="fcos",
        recipe="fcos_r50_v1",
        published={"ap": 39.2},
        frozen_eps=1e-5,
    ),
    Anchor(
        name="keypointrcnn_resnet50_fpn",
        family="keypoint_rcnn",
        recipe="keypoint_rcnn_r50_v1",
        published={"ap": 54.6, "keypoint_ap": 65.0},
        frozen_eps=0.0,
    ),
    Anchor(
        name="fasterrcnn_resnet50_fpn_v2",
        family="faster_rcnn",
        recipe="faster_rcnn_r50_v2",
        published={"ap": 46.7},
    ),
    Anchor(
        name="retinanet_resnet50_fpn_v2",
        family="retinanet",
        recipe="retinanet_r50_v2",
        published={"ap": 41.5},
    ),
    Anchor(
        name="maskrcnn_resnet50_fpn_v2",
        family="mask_rcnn",
        recipe="mask_rcnn_r50_v2",
        published={"ap": 47.4, "mask_ap": 41.8},
    ),
)


class AntialiasedResize(Resize):
    """Our resize of images; boxes, masks and keypoints return to the image as in torchvision."""

    postprocess = GeneralizedRCNNTransform.postprocess


def build_published(anchor: Anchor, state: Mapping[str, Tensor] | None) -> Any:
    """Builds torchvision's detector, with the norms that published weights have."""
    build = torchvision.models.get_model
    network = build(anchor.name, weights=None, weights_backbone=None, **anchor.sizes)
    if anchor.frozen_eps is not None:
        replace_batch_norms(network.backbone.body, "frozen_bn")
        overwrite_eps(network.backbone.body, anchor.frozen_eps)
    if state is not None:
        network.load_state_dict(state)
    return network.eval()


def build_ours(
    anchor: Anchor, recipe: str, state: Mapping[str, Tensor], categories: Sequence[str]
) -> Detector:
    """Builds our detector of the data set's categories with torchvision's weights."""
    spec = build_recipe(recipe).detector.model_copy(update=dict(anchor.ours))
    detector = build_detector(spec, InitSpec(), len(categories), seed=0)
    expected = detector.state_dict()
    renamed = rename_to_ours(state, expected)
    if anchor.family not in WITH_KEYPOINTS:  # which have one category, as their annotations have
        renamed = select_categories(renamed, expected, categories, None, anchor.name)
    load_whole_detector(detector, renamed, anchor.name)
    return detector.eval()


@torch.no_grad()
def detect_as_published(
    network: Any, transform: Any, labels: Tensor, image: Tensor, entry: ImageEntry
) -> Detection:
    """Detects by torchvision's network; ``labels``: ours of each of its outputs, 0 for none."""
    network.transform = transform
    output = network([image])[0]
    ours = labels[output["labels"]]
    if "masks" in output:
        output["masks"] = output["masks"][:, 0] > INSIDE
    kept = {key: values[ours > 0].cpu() for key, values in output.items()}
    masks, keypoints = kept.get("masks"), kept.get("keypoints")
    return Detection(
        image_id=entry.image_id,
        boxes_xyxy=kept["boxes"].numpy(),
        scores=kept["scores"].numpy(),
        labels=ours[ours > 0].cpu().numpy(),
        masks=None if masks is None else [encode_mask(mask.numpy()) for mask in masks],
        keypoints=None if keypoints is None else keypoints.numpy(),
    )


def detect_as_ours(detector: Detector, image: Tensor, entry: ImageEntry) -> Detection:
    """Detects by our network."""
    return build_detection(entry, detector.detect([image])[0])


def list_pipelines(
    anchor: Anchor, state: Mapping[str, Tensor], index: AnnotationIndex, device: torch.device
) -> dict[str, Pipeline]:
    """Returns a function that detects for each key of ``COLUMNS`` that the anchor has."""
    network = build_published(anchor, state).to(device)
    theirs = network.transform
    resize = AntialiasedResize(theirs.min_size[-1], theirs.max_size)
    resize.pixel_norm.set_input(
        InputSpec.model_validate({"mean": theirs.image_mean, "std": theirs.image_std})
    )
    resize.eval().to(device)
    categories = list(index.categories)
    numbers = [
        categories.index(name) + 1 if name in categories else 0
        for name in anchor.weights.meta["categories"]
    ]
    labels = torch.tensor(numbers, device=device)
    pipelines: dict[str, Pipeline] = {
        "torchvision": partial(detect_as_published, network, theirs, labels),
        "our_resize": partial(detect_as_published, network, resize, labels),
    }
    if anchor.recipe is not None:
        # torchvision has renamed the tensors of its older files on loading them
        ours = build_ours(anchor, anchor.recipe, network.state_dict(), categories)
        pipelines["our_network"] = partial(detect_as_ours, ours.to(device))
    return pipelines


def detect_images(
    pipelines: Mapping[str, Pipeline],
    index: AnnotationIndex,
    family: Family,
    device: torch.device,
    limit: int | None = None,
    loader_workers: int = 0,
) -> tuple[dict[str, DetectedSplit], float]:
    """Detects in every image by each pipeline; returns images per second of the first one, too."""
    truths, seconds = [], dict.fromkeys(pipelines, 0.0)
    seen = {name: list[Detection]() for name in pipelines}
    image_ids = [int(image_id) for image_id in index.image_ids[:limit]]
    for (image,), (entry,) in eval_batches(
        index, image_ids, 1, Loading(num_workers=loader_workers)
    ):
        pixels = image.to(device)
        truths.append(build_truth(entry, index, family))
        for name, detect in pipelines.items():
            started = time.perf_counter()
            with use_precision(FP32, device):
                seen[name].append(detect(pixels, entry))
            seconds[name] += time.perf_counter() - started
    splits = {
        name: DetectedSplit(truths=truths, seen=detections, num_categories=len(index.categories))
        for name, detections in seen.items()
    }
    return splits, len(image_ids) / next(iter(seconds.values()))
