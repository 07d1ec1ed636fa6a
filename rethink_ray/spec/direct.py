"""Direct pre-training (Li et al. 2021): the recipe of its first stage."""

import math
from collections.abc import Mapping

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

ONLY_DETECTING = (
    *("candidates", "score_threshold", "nms_iou", "detections"),
    *("rpn_pre_nms_test", "rpn_post_nms_test"),
)
"""Settings of a detector that training never reads: other values of them make the same asset."""


def direct_recipe(recipe: Recipe, num_images: int) -> Recipe:
    """The recipe of the first stage on ``num_images`` images; its 1x is the whole stage."""
    direct = recipe.direct
    return recipe.model_copy(
        update={
            "detector": _smaller(recipe),
            "init": InitSpec(input=recipe.init.input),
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
    """Updates of the first stage: each image is seen ``direct.passes`` times."""
    return max(1, math.ceil(recipe.direct.passes * num_images / recipe.direct.batch_size))


def _smaller(recipe: Recipe) -> DetectorSpec:
    detector, direct = recipe.detector, recipe.direct
    plain = DetectorSpec()
    shorter = direct.min_side_px or round(detector.min_side_px * direct.resolution)
    is_square = direct.augment.canvas == "square"
    longer = shorter if is_square else round(detector.max_side_px * direct.resolution)
    update: Mapping[str, object] = {
        "min_side_px": shorter,
        "max_side_px": direct.max_side_px or longer,
        "norm_batch": direct.norm_batch,
        "cascade_from": 0,  # it counts updates of the second stage; the first one trains all stages
        **{name: getattr(plain, name) for name in ONLY_DETECTING},
    }
    return detector.with_norm(direct.norm).model_copy(update=update)
