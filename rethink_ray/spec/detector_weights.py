"""The whole detectors that a run can start from: torchvision's by name, a file, one trained here.

Source of the names: vision, ``torchvision/models/detection/{faster_rcnn,retinanet,fcos,mask_rcnn,
keypoint_rcnn}.py``. All of these have ResNet-50.
"""

import re
from collections.abc import Mapping
from typing import Literal

from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec

UPSTREAM_DETECTOR = "upstream_detector"
"""``init.weights`` of a detector that this program trains first, on another data set."""
PUBLISHED_BACKBONE = "resnet50"
PUBLISHED_DETECTORS: Mapping[str, Family] = {
    "RetinaNet_ResNet50_FPN_Weights.COCO_V1": "retinanet",
    "RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1": "retinanet",
    "FCOS_ResNet50_FPN_Weights.COCO_V1": "fcos",
    "FasterRCNN_ResNet50_FPN_Weights.COCO_V1": "faster_rcnn",
    "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1": "faster_rcnn",
    "MaskRCNN_ResNet50_FPN_Weights.COCO_V1": "mask_rcnn",
    "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1": "mask_rcnn",
    "KeypointRCNN_ResNet50_FPN_Weights.COCO_LEGACY": "keypoint_rcnn",
    "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1": "keypoint_rcnn",
}
"""Name of torchvision's weights -> the family of ``detector.family`` that they are of."""
_NAME_OF_TORCHVISION = re.compile(r"\w+_Weights\.[A-Z][A-Z0-9_]*|COCO_[A-Z0-9_]+")
"""Its members are upper-case: ``my_Weights.pth`` is a file."""
DetectorOrigin = Literal["torchvision", "file", "upstream_detector"]


def find_detector_origin(init: InitSpec) -> DetectorOrigin | None:
    """Where the whole detector comes from; ``None`` if a run does not start from one."""
    if init.source != "detector" or not init.weights:
        return None
    if init.weights == UPSTREAM_DETECTOR:
        return "upstream_detector"
    return "torchvision" if _NAME_OF_TORCHVISION.fullmatch(init.weights) else "file"


def starts_from_file(init: InitSpec) -> bool:
    """Whether the weights of a backbone or of a whole detector lie in a file with a path."""
    return init.source == "file" or find_detector_origin(init) == "file"


def list_published_names(detector: DetectorSpec) -> tuple[str, ...]:
    """Torchvision's names of the weights that exist for this family and backbone."""
    if detector.backbone != PUBLISHED_BACKBONE:
        return ()
    return tuple(n for n, family in PUBLISHED_DETECTORS.items() if family == detector.family)


def find_published_name(detector: DetectorSpec, name: str) -> str | None:
    """The full name of torchvision's weights; ``None`` if there are none, or more than one.

    The part after the dot is enough where family and backbone leave one choice.
    """
    known = list_published_names(detector)
    fitting = [full for full in known if name in (full, full.rpartition(".")[2])]
    return fitting[0] if len(fitting) == 1 else None
