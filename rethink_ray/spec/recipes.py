"""Named base recipes. A study names one and lists only what differs from it.

The ``tiny_*`` recipes exist so that a study ends in minutes on two CPU cores; ``*_r50`` are the
papers' scale, and ``*_r50_v1`` and ``*_r50_v2`` torchvision's networks.
"""

from collections.abc import Callable
from typing import Any

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import (
    TWO_STAGE,
    WITH_KEYPOINTS,
    WITH_MASKS,
    AugmentSpec,
    DecaySpec,
    DetectorSpec,
    Family,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
)
from rethink_ray.spec.settings import nearest
from rethink_ray.spec.torchvision_recipes import TORCHVISION_RECIPES


def _tiny(family: Family) -> Recipe:
    """96 px, 0.3-0.5 M parameters, batch 8; counts cut down because they dominate CPU time.

    Keypoints are the five of ``shapes``. No paper has these recipes. Their box losses are
    torchvision's (``l1`` in RetinaNet, beta 1/9 in box heads), and ``canonical_scale_px`` is half
    the published one, as their anchors are: at 224 every region of a 96 px image would be pooled
    from P2.
    """
    return Recipe(
        detector=DetectorSpec(
            family=family,
            backbone="tiny",
            norm="bn" if family in TWO_STAGE else "gn",
            neck_channels=32,
            head_convs=2,
            box_head_features=128,
            min_side_px=96,
            max_side_px=96,
            anchor_base_px=16,
            canonical_scale_px=112,
            rpn_pre_nms_train=200,
            rpn_pre_nms_test=200,
            rpn_post_nms_train=100,
            rpn_post_nms_test=100,
            rpn_batch=64,
            box_batch=32,
            candidates=200,
        ).model_copy(update=_tiny_losses(family) | _tiny_branches(family)),
        augment=AugmentSpec(flip=0.5),
        optimizer=OptimizerSpec(lr=0.05, weight_decay=1e-4, clip_norm=10.0),
        schedule=ScheduleSpec(
            unit=150,
            lengths=(2.0, 4.0, 6.0),
            warmup=20,
            decay=DecaySpec(before_end=(0.4, 0.13)),
        ),
        batch_size=8,
    )


def _tiny_losses(family: Family) -> dict[str, Any]:
    """torchvision's box loss, where it is not the published one."""
    if family == "retinanet":
        return {"box_loss": "l1"}
    return {"box_loss_beta": 1 / 9} if family in TWO_STAGE else {}


def _tiny_branches(family: Family) -> dict[str, int]:
    """The smaller mask or keypoint branch of a family that has one."""
    branches: dict[str, int] = {}
    if family in WITH_MASKS:
        branches |= {"mask_head_convs": 2, "mask_head_channels": 32}
    if family in WITH_KEYPOINTS:
        branches |= {"keypoint_head_convs": 4, "keypoint_head_channels": 32, "num_keypoints": 5}
    return branches


def _full_size(family: Family, lr: float) -> Recipe:
    """ResNet-50 with GroupNorm at 800 x 1333, He et al. 2018's optimizer and schedule (sec. 3).

    **Two-stage ones** are the paper's, by Detectron
    (``configs/04_2018_gn_baselines/scratch_e2e_mask_rcnn_R-50-FPN_3x_gn.yaml``): 4conv1fc box head,
    four 256-wide convolutions in the mask head and GroupNorm in both; keypoint heads as in He et
    al. 2017, without a norm. Box loss smooth L1 with beta 1 in the box head
    (``detectron/modeling/fast_rcnn_heads.py``) and 1/9 in the proposal network
    (``detectron/modeling/FPN.py``); 2,000 proposals a level before NMS in training, 1,000 in
    scoring, 1,000 an image after it; canonical scale 224; box predictors drawn with deviations of
    0.01 (scores) and 0.001 (boxes), fully connected layers by ``XavierFill``. A cascade has one
    mask head, on its last stage, joins when ``cascade_from`` says (sec. 4.1), trains with 2,000
    proposals (detectron2, ``configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml``), and has beta 1 in
    every stage (``zhaoweicai/Detectron-Cascade-RCNN``, ``detectron/modeling``).

    Deviations: Detectron keeps 2,000 proposals of the two images of a GPU together, we 1,000 of
    each, as detectron2 does; it trains its proposal network on no anchor that crosses the border of
    the image; regions are drawn afresh in every stage of a cascade.

    **RetinaNet**, which the paper has none of, is Detectron's
    (``configs/12_2017_baselines/retinanet_R-50-FPN_1x.yaml``): half the two-stage rate, focal loss
    with gamma 2 and alpha 0.25, smooth L1 with beta 0.11, negatives below an overlap of 0.4, NMS
    0.5. Deviations: P6 from P5 (Detectron: C5, which is ``p6_from: c5``), GroupNorm in the towers.

    **FCOS** is Tian et al. 2019's (``tianzhi0549/FCOS``, ``fcos_core/config/defaults.py``): focal
    loss with gamma 2 and alpha 0.25, P6 from P5, NMS 0.6. Deviations are torchvision's: generalised
    IoU loss (there -log IoU), centre sampling with a radius of 1.5 strides (there none).
    """
    return Recipe(
        detector=DetectorSpec(family=family),
        optimizer=OptimizerSpec(lr=lr),
        schedule=ScheduleSpec(lengths=(2.0, 3.0, 4.0, 5.0, 6.0)),
    )


def _ssdlite320() -> Recipe:
    """The smallest detector of torchvision, for a CPU: 320 px, 2.2 M parameters, batch 16.

    Scores, suppression and counts are torchvision's (``torchvision/models/detection/ssdlite.py``).
    Its reference (pytorch/vision, ``references/detection/README.md``) has a rate of 0.15 for 192
    images, 660 epochs of COCO and a cosine. Deviations: the rate falls with the batch (0.0125 for
    16), a short schedule in steps, and scale jitter in the place of random crops.
    """
    return Recipe(
        detector=DetectorSpec(
            family="torchvision:ssdlite320_mobilenet_v3_large",
            min_side_px=320,
            max_side_px=320,
            score_threshold=0.001,
            detections=300,
            candidates=300,
        ),
        augment=AugmentSpec(flip=0.5, scale=(0.8, 1.2)),
        optimizer=OptimizerSpec(lr=0.0125, weight_decay=4e-5, norm_weight_decay=4e-5),
        schedule=ScheduleSpec(
            unit=300,
            lengths=(2.0, 4.0, 6.0),
            warmup=50,
            decay=DecaySpec(before_end=(0.4, 0.13)),
        ),
        batch_size=16,
    )


def _ssd300() -> Recipe:
    """torchvision's SSD on VGG16 at 300 px, as its reference trains it on COCO.

    A rate of 0.002 for 32 images, decay 5e-4, 120 epochs that end in steps at 80 and 110, warm-up
    of 1,000 updates: pytorch/vision, ``references/detection/README.md`` and ``train.py``. 1x is 20
    epochs of 117,266 images. Deviation: scale jitter and colours in the place of zooming out and
    random crops.
    """
    return Recipe(
        detector=DetectorSpec(
            family="torchvision:ssd300_vgg16",
            min_side_px=300,
            max_side_px=300,
            score_threshold=0.01,
            detections=200,
            candidates=400,
        ),
        augment=AugmentSpec(flip=0.5, scale=(0.5, 2.0), color=0.4),
        optimizer=OptimizerSpec(lr=0.002, weight_decay=5e-4, norm_weight_decay=5e-4),
        schedule=ScheduleSpec(
            unit=73_290,
            lengths=(3.0, 4.0, 5.0, 6.0),
            warmup=1000,
            decay=DecaySpec(before_end=(2.0, 0.5)),
        ),
        batch_size=32,
    )


def _rtdetr_r18() -> Recipe:
    """RT-DETRv2-S at 640 px: AdamW at a constant rate of 1e-4, 120 epochs of COCO (6x) at batch 16.

    Source: lyuwenyu/RT-DETR, ``rtdetrv2_pytorch/configs/rtdetrv2`` (``include/optimizer.yml``,
    ``rtdetrv2_r18vd_120e_coco.yml``). Deviations: one input size in the place of multi-scale
    batches, and scale jitter in the place of its zooms and crops.
    """
    return Recipe(
        detector=DetectorSpec(
            family="transformers:rtdetr_v2_r18vd",
            min_side_px=640,
            max_side_px=640,
            score_threshold=0.0,
            detections=300,
        ),
        augment=AugmentSpec(flip=0.5, scale=(0.5, 2.0), color=0.4),
        optimizer=OptimizerSpec(name="adamw", lr=1e-4, weight_decay=1e-4, clip_norm=0.1),
        schedule=ScheduleSpec(
            unit=146_580,
            lengths=(2.0, 3.0, 4.0, 5.0, 6.0),
            warmup=2000,
            decay=DecaySpec(kind="constant"),
        ),
        batch_size=16,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny_retinanet": lambda: _tiny("retinanet"),
    "tiny_fcos": lambda: _tiny("fcos"),
    "tiny_faster_rcnn": lambda: _tiny("faster_rcnn"),
    "tiny_cascade_rcnn": lambda: _tiny("cascade_rcnn"),
    "tiny_mask_rcnn": lambda: _tiny("mask_rcnn"),
    "tiny_cascade_mask_rcnn": lambda: _tiny("cascade_mask_rcnn"),
    "tiny_keypoint_rcnn": lambda: _tiny("keypoint_rcnn"),
    "ssdlite320": _ssdlite320,
    "ssd300_vgg16": _ssd300,
    "rtdetr_v2_r18": _rtdetr_r18,
    "retinanet_r50": lambda: _full_size("retinanet", 0.01),
    "fcos_r50": lambda: _full_size("fcos", 0.01),
    "faster_rcnn_r50": lambda: _full_size("faster_rcnn", 0.02),
    "cascade_rcnn_r50": lambda: _full_size("cascade_rcnn", 0.02),
    "mask_rcnn_r50": lambda: _full_size("mask_rcnn", 0.02),
    "cascade_mask_rcnn_r50": lambda: _full_size("cascade_mask_rcnn", 0.02),
    "keypoint_rcnn_r50": lambda: _full_size("keypoint_rcnn", 0.02),
    **TORCHVISION_RECIPES,
}


def build_recipe(name: str) -> Recipe:
    """The named base recipe.

    Raises:
        SpecError: no recipe has this name.
    """
    if name not in RECIPES:
        raise SpecError(
            explain("recipe", "must name a base recipe", name, nearest(name, list(RECIPES)))
        )
    return RECIPES[name]()
