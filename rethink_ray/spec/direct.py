"""Direct pre-training (Li et al. 2021): the recipe of its first stage, and what both must share."""

import math
from collections.abc import Mapping

from rethink_ray.spec.batches import Batch, check_split
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import (
    DecaySpec,
    DetectorSpec,
    EvaluationSpec,
    InitSpec,
    JointSpec,
    LabelsSpec,
    Recipe,
    ScheduleSpec,
)
from rethink_ray.spec.study import ResourceSpec

ONLY_DETECTING = ("candidates", "score_threshold", "nms_iou", "detections")
"""Settings of a detector that its training never reads: with other values it is the same asset."""


def direct_recipe(recipe: Recipe, num_images: int) -> Recipe:
    """What the first stage trains with, on so many images; its 1x is the whole of it."""
    direct = recipe.direct
    return recipe.model_copy(
        update={
            "detector": _smaller(recipe),
            "init": InitSpec(),
            "labels": LabelsSpec(),
            "joint": JointSpec(),
            "evaluation": EvaluationSpec(),
            "augment": direct.augment,
            "optimizer": direct.optimizer,
            "schedule": ScheduleSpec(
                unit=direct_steps(recipe, num_images),
                lengths=(1.0,),
                warmup=direct.warmup,
                decay=DecaySpec(kind="constant"),
            ),
            "batch_size": direct.batch_size,
        }
    )


def direct_steps(recipe: Recipe, num_images: int) -> int:
    """Updates of the first stage: so many that every image is seen ``passes`` times."""
    return max(1, math.ceil(recipe.direct.passes * num_images / recipe.direct.batch_size))


def check_direct(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    """The second stage can take over the first one's norms, and its batches divide.

    Raises:
        SpecError: with the remedy.
    """
    if recipe.init.source != "direct":
        return
    direct, norm = recipe.direct, recipe.detector.norm
    if (direct.norm == "gn") != (norm == "gn"):
        must = f"must agree with direct.norm {direct.norm}, which its weights are trained with"
        remedy = (
            "Set direct.norm: gn." if norm == "gn" else "Set direct.norm: bn, or detector.norm: gn."
        )
        raise SpecError(explain(f"{where}: detector.norm", must, norm, remedy))
    stage = Batch(
        key="direct.batch_size",
        norm_key="direct.norm_batch",
        num_images=direct.batch_size,
        norm=direct.norm,
        norm_batch=direct.norm_batch,
        padding_group=recipe.detector.padding_group,
    )
    check_split(stage, where, resources)


def check_passes(recipe: Recipe, num_images: int, where: str) -> None:
    """The first stage lasts longer than its warm-up, at least by one update.

    Raises:
        SpecError: with the remedy.
    """
    steps = direct_steps(recipe, num_images)
    if recipe.init.source == "direct" and steps <= recipe.direct.warmup:
        must = f"must end within the first stage's {steps} updates"
        remedy = "Shorten it, ask for more direct.passes, or make direct.batch_size smaller."
        raise SpecError(explain(f"{where}: direct.warmup", must, recipe.direct.warmup, remedy))


DIRECT_PATHS = (
    *("init.source", "detector.norm"),
    *("direct.norm", "direct.norm_batch", "direct.batch_size", "detector.padding_group"),
)
"""What ``check_direct`` reads."""


PASSES_PATHS = ("init.source", "direct.passes", "direct.batch_size", "direct.warmup")
"""What ``check_passes`` reads."""


def _smaller(recipe: Recipe) -> DetectorSpec:
    detector, direct = recipe.detector, recipe.direct
    plain = DetectorSpec()
    update: Mapping[str, object] = {
        "min_side_px": direct.min_side_px or round(detector.min_side_px * direct.resolution),
        "max_side_px": direct.max_side_px or round(detector.max_side_px * direct.resolution),
        "norm": direct.norm,
        "head_norm": "none" if detector.norm == "frozen_bn" else detector.head_norm,
        "norm_batch": direct.norm_batch,
        "cascade_from": 0,  # counted in updates of the second stage, and all of it must be learned
        **{name: getattr(plain, name) for name in ONLY_DETECTING},
    }
    return detector.model_copy(update=update)
