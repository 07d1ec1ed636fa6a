"""Named base recipes. A study names one and says only what differs from it.

The ``tiny_*`` recipes exist so that a study ends in minutes on two CPU cores; the others are the
papers' scale.
"""

from collections.abc import Callable

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import (
    AugmentSpec,
    DecaySpec,
    DetectorSpec,
    Family,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
)
from rethink_ray.spec.settings import nearest


def _tiny(family: Family) -> Recipe:
    """96 px, 0.3-0.4 M parameters, batch 8; counts cut down because they dominate CPU time."""
    return Recipe(
        detector=DetectorSpec(
            family=family,
            backbone="tiny",
            norm="bn" if family == "faster_rcnn" else "gn",
            neck_channels=32,
            head_convs=2,
            box_head_features=128,
            min_side_px=96,
            max_side_px=96,
            anchor_base_px=16,
            rpn_pre_nms=200,
            rpn_post_nms=100,
            rpn_batch=64,
            box_batch=32,
            candidates=200,
        ),
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


def _full_size(family: Family, lr: float) -> Recipe:
    """ResNet-50 with GroupNorm at 800 x 1333, He et al. 2018's optimizer and schedule (sec. 3).

    One-stage detectors use half the two-stage rate (Detectron's convention for RetinaNet).
    """
    return Recipe(
        detector=DetectorSpec(family=family),
        optimizer=OptimizerSpec(lr=lr),
        schedule=ScheduleSpec(lengths=(2.0, 3.0, 4.0, 5.0, 6.0)),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny_retinanet": lambda: _tiny("retinanet"),
    "tiny_fcos": lambda: _tiny("fcos"),
    "tiny_faster_rcnn": lambda: _tiny("faster_rcnn"),
    "retinanet_r50": lambda: _full_size("retinanet", 0.01),
    "fcos_r50": lambda: _full_size("fcos", 0.01),
    "faster_rcnn_r50": lambda: _full_size("faster_rcnn", 0.02),
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
