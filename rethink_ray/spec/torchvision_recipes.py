"""Recipes of torchvision's detectors: networks that fit its COCO weights, trained as they were.

``*_v1`` are ``*_resnet50_fpn``, ``*_v2`` are ``*_resnet50_fpn_v2``. 1x is 12 epochs of COCO, as
elsewhere; a study of other images sets ``schedule.unit``.

The second detectors normalise 16 and 64 images together, so a smaller batch is refused. Runs that
start from their weights take ``detector.norm: frozen_bn`` with ``head_norm: gn`` (RetinaNet) or
``frozen_bn`` (the others), which keeps the statistics and scales that were loaded.
"""

from collections.abc import Callable

from rethink_ray.spec.recipe import (
    AugmentSpec,
    DecaySpec,
    DetectorSpec,
    Family,
    InitSpec,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
)

TRAIN_IMAGES = 117_266
"""Images of COCO's train2017 with annotations. Source: detectron2's log of loading COCO;
torchvision drops the others too (``references/detection/coco_utils.py``)."""
EPOCHS_IN_1X = 12
"""Detectron's 90,000 updates of 16 images are 12.3 epochs."""
LARGE_SCALE_JITTER = (0.1, 2.0)


def _first(family: Family, lr: float = 0.02) -> Recipe:
    """torchvision's first detectors: an ImageNet backbone with frozen batch norm, 26 epochs.

    **Network.** Neither pyramid nor heads have a norm, but FCOS's towers GroupNorm; P6 is computed
    from P5; stem and first stage never train. The epsilon of frozen norms is 0, in FCOS 1e-5. Box
    head of two fully connected layers, box losses L1 (RetinaNet), generalised IoU (FCOS), smooth L1
    with beta 1/9 (others); 2,000 proposals a picture in training. RetinaNet keeps 300 detections;
    FCOS drops those that score below 0.2. Source: ``pytorch/vision``,
    ``torchvision/models/detection``.

    **Training.** Batches of 16, SGD, rate 0.02 (0.01 in one-stage families) after a warm-up of
    1,000 updates, divided by ten at epochs 16 and 22; weight decay 1e-4, on norms too. Keypoint
    R-CNN is trained for 46 epochs of fewer pictures, which are about as many updates, with drops at
    36 and 43, and a shorter side of 640 to 800 px. Source: ``references/detection`` (``README.md``,
    ``train.py``, ``engine.py``), ``torchvision/models/detection/keypoint_rcnn.py``.

    Deviations: losses of RetinaNet are divided by the foreground of the batch, not of each image;
    which anchors and regions are sampled; FCOS trains in float32; resizing is antialiased.
    """
    has_keypoints = family == "keypoint_rcnn"
    drops = (36 / 46 * 26, 43 / 46 * 26) if has_keypoints else (16.0, 22.0)
    of_family: dict[Family, dict[str, object]] = {
        "retinanet": {"box_loss": "l1", "detections": 300},
        "fcos": {"norm_epsilon": None, "score_threshold": 0.2},
    }
    of_regions = {"box_head": "2fc", "box_loss_beta": 1 / 9, "rpn_post_nms_train": 2000}
    detector = DetectorSpec(family=family, norm="frozen_bn", norm_epsilon=0.0)
    return Recipe(
        detector=detector.model_copy(update=of_family.get(family, of_regions)),
        init=InitSpec(source="torchvision", weights="IMAGENET1K_V1", frozen="layer1"),
        augment=AugmentSpec(short_side_px=(640, 800) if has_keypoints else None),
        optimizer=OptimizerSpec(lr=lr, norm_weight_decay=1e-4),
        schedule=_schedule(26, 16, drops),
        batch_size=16,
    )


def _second_retinanet() -> Recipe:
    """torchvision's second RetinaNet: GroupNorm in the heads, P6 from C5, trained by AdamW.

    The pyramid has no norm. Rate 1e-4, decay 0.05 but none on norms, 26 epochs of batches of 16
    with drops at 16 and 22; generalised IoU loss; the shorter side is drawn from 480 to 800 px;
    batch norm over the eight workers, from ImageNet's second weights. Source: ``pytorch/vision``
    pull request 5756, ``references/detection/presets.py`` (``multiscale``).

    Deviations: as in ``_first``; the shorter side is any whole number, there a multiple of 32;
    statistics of the frozen first stage stay fixed, there they move.
    """
    return Recipe(
        detector=DetectorSpec(
            family="retinanet",
            norm="sync_bn",
            norm_batch=16,
            neck_norm="none",
            head_norm="gn",
            p6_from="c5",
            box_loss="giou",
            detections=300,
        ),
        init=InitSpec(source="torchvision", weights="IMAGENET1K_V2", frozen="layer1"),
        augment=AugmentSpec(short_side_px=(480, 800)),
        optimizer=OptimizerSpec(name="adamw", lr=1e-4, weight_decay=0.05, norm_weight_decay=0.0),
        schedule=_schedule(26, 16, (16, 22)),
        batch_size=16,
    )


def _second_two_stage(family: Family) -> Recipe:
    """torchvision's second Faster and Mask R-CNN: batch norm everywhere, 400 epochs from scratch.

    Batch norm in backbone, pyramid, box head (4conv1fc) and mask head; a proposal network of two
    convolutions; box losses as in ``_first``. SGD, rate 0.1 for batches of 64, decay 4e-5, norms
    included, drops at epochs 352 and 384; scale jitter of 0.1 to 2. Source: ``pytorch/vision`` pull
    requests 5763 and 5773, ``references/detection/presets.py`` (``lsj``).

    Deviations: as in ``_first``; jitter crops and pads to the picture's own shape at 800 px, there
    to squares of 1024 px.
    """
    return Recipe(
        detector=DetectorSpec(
            family=family,
            norm="sync_bn",
            norm_batch=64,
            box_head="4conv1fc",
            box_loss_beta=1 / 9,
            rpn_convs=2,
            rpn_post_nms_train=2000,
        ),
        augment=AugmentSpec(scale=LARGE_SCALE_JITTER),
        optimizer=OptimizerSpec(lr=0.1, weight_decay=4e-5, norm_weight_decay=4e-5),
        schedule=_schedule(400, 64, (352, 384)),
        batch_size=64,
    )


def _schedule(epochs: int, batch_size: int, drops: tuple[float, ...]) -> ScheduleSpec:
    """A schedule of some epochs of COCO whose rate drops at ``drops``, epochs too."""
    return ScheduleSpec(
        unit=round(EPOCHS_IN_1X * TRAIN_IMAGES / batch_size),
        lengths=(_in_units(epochs),),
        warmup=1000,
        decay=DecaySpec(before_end=tuple(_in_units(epochs - drop) for drop in drops)),
    )


def _in_units(epochs: float) -> float:
    return round(epochs / EPOCHS_IN_1X, 3)


TORCHVISION_RECIPES: dict[str, Callable[[], Recipe]] = {
    "retinanet_r50_v1": lambda: _first("retinanet", 0.01),
    "fcos_r50_v1": lambda: _first("fcos", 0.01),
    "faster_rcnn_r50_v1": lambda: _first("faster_rcnn"),
    "mask_rcnn_r50_v1": lambda: _first("mask_rcnn"),
    "keypoint_rcnn_r50_v1": lambda: _first("keypoint_rcnn"),
    "retinanet_r50_v2": _second_retinanet,
    "faster_rcnn_r50_v2": lambda: _second_two_stage("faster_rcnn"),
    "mask_rcnn_r50_v2": lambda: _second_two_stage("mask_rcnn"),
}
