"""The recipe of an upstream detector: the run's own detector, trained on other images."""

from rethink_ray.spec.direct import ONLY_DETECTING
from rethink_ray.spec.recipe import (
    DecaySpec,
    DetectorSpec,
    InitSpec,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
)

DROPS = (1 / 3, 1 / 9)
"""When the rate falls, as shares of the whole run before its end. Source: Detectron (60,000 and
80,000 of 90,000 updates)."""


def upstream_detector_recipe(recipe: Recipe) -> Recipe:
    """The recipe under which the upstream detector of a run of ``recipe`` is trained.

    Its 1x is the whole run. It follows the run in network, precision and input of pixels alone.
    """
    upstream = recipe.upstream_detector
    return Recipe(
        detector=_train_all(recipe),
        init=InitSpec(input=recipe.init.input),
        optimizer=OptimizerSpec(
            name=upstream.optimizer,
            lr=upstream.lr,
            weight_decay=upstream.weight_decay,
            clip_norm=upstream.clip_norm,
        ),
        schedule=ScheduleSpec(
            unit=upstream.steps,
            lengths=(1.0,),
            warmup=upstream.warmup,
            decay=DecaySpec(before_end=DROPS),
        ),
        batch_size=upstream.batch_size,
        precision=recipe.precision,
    )


def _train_all(recipe: Recipe) -> DetectorSpec:
    """The run's detector with a norm that learns, as settings that only scoring reads have it."""
    detector, upstream, plain = recipe.detector, recipe.upstream_detector, DetectorSpec()
    learning = detector.with_norm("bn") if detector.norm == "frozen_bn" else detector
    return learning.model_copy(
        update={
            "norm_batch": None,
            "cascade_from": 0,  # it counts updates of the run; upstream all stages train at once
            "min_side_px": upstream.min_side_px or detector.min_side_px,
            "max_side_px": upstream.max_side_px or detector.max_side_px,
            **{name: getattr(plain, name) for name in ONLY_DETECTING},
        }
    )
