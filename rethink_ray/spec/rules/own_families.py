"""Settings that mean nothing to a detector that is not ours, in one table with their remedies.

Which keys of ``detector`` such a family reads stands in ``spec.own_families``; ``rules.effects``
refuses the others where a study sets or searches them. ``init.frozen: backbone``, ``init.unfreeze``
and ``optimizer.backbone_rate`` work with a detector that names its backbone, which is known only
once it is built (``training.start_checks``); ``optimizer.ema`` works with each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import axes_of
from rethink_ray.spec.reach import Run
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import value_at


@dataclass(frozen=True, slots=True)
class RefusedAxis:
    """One setting, and its only values under a family that is not ours."""

    path: str
    allowed: tuple[Any, ...]
    must: str
    remedy: str


REFUSED_AXES = (
    RefusedAxis(
        "init.source",
        ("random", "file"),
        "must be random or file with {detector.family}: it has no backbone of ours to load, and "
        "which of its rows belong to which class is not known",
        "Write init.source: file with a file of its own weights, such as an export of a study: "
        "all but the rows of classes are loaded.",
    ),
    RefusedAxis(
        "init.keep_classes",
        ("by_name",),
        "must be left out with {detector.family}, whose rows of classes are always drawn anew",
        "Remove it.",
    ),
    RefusedAxis(
        "init.frozen",
        ("none", "backbone"),
        "must be none or backbone with {detector.family}: it has no stages, neck or heads of ours",
        "Freeze its whole backbone, or nothing.",
    ),
    RefusedAxis(
        "optimizer.layer_decay",
        (1.0,),
        "must be 1 with {detector.family}: its backbone has no stages of ours",
        "Use optimizer.backbone_rate, a factor for the whole backbone.",
    ),
    RefusedAxis(
        "init.input",
        (None,),
        "must be left out with {detector.family}, whose own code normalises pixels",
        "Remove it.",
    ),
    RefusedAxis(
        "init.weights_norm",
        (None,),
        "must be left out with {detector.family}, which has its own norms",
        "Remove it.",
    ),
    RefusedAxis(
        "init.zero_init_residual",
        (False,),
        "must be false with {detector.family}, which draws its own weights",
        "Remove it.",
    ),
    RefusedAxis(
        "augment.short_side_px",
        (None,),
        "must be left out with {detector.family}, which resizes every image itself",
        "Use augment.scale.",
    ),
    RefusedAxis(
        "evaluation.scales",
        ((1.0,), [1.0]),
        "must be [1] with {detector.family}, which resizes every image itself",
        "Leave it out, or take a family of ours.",
    ),
    RefusedAxis(
        "evaluation.flip",
        (False,),
        "must be false with {detector.family}: detections of several views are merged by our NMS",
        "Leave it out, or take a family of ours.",
    ),
    RefusedAxis(
        "joint.weight",
        (0.0,),
        "must be 0 with {detector.family}: it has no backbone of ours that could classify",
        "Leave joint out, or take a family of ours.",
    ),
)
"""Axes that belong to our networks alone."""


def _is_set_otherwise(axis: RefusedAxis) -> Callable[[Run], bool | Breach]:
    def broken(run: Run) -> bool | Breach:
        value = value_at(run.recipe, axis.path)
        is_refused = is_own(run.recipe.detector.family) and value not in axis.allowed
        return is_refused and Breach(came=value)

    return broken


def _is_no_square(run: Run) -> bool | Breach:
    """The sides are not those of the only input that the family has."""
    detector = run.recipe.detector
    axes, sides = axes_of(detector.family), (detector.min_side_px, detector.max_side_px)
    if axes is None or axes.square_px is None or set(sides) == {axes.square_px}:
        return False
    return Breach(came=list(sides), words={"side": axes.square_px})


def _is_no_multiple(run: Run) -> bool | Breach:
    """The sides are not those of a square that the family's strides divide."""
    detector = run.recipe.detector
    axes, sides = axes_of(detector.family), (detector.min_side_px, detector.max_side_px)
    if axes is None or axes.multiple_px is None:
        return False
    if len(set(sides)) == 1 and sides[0] % axes.multiple_px == 0:
        return False
    return Breach(came=list(sides), words={"multiple": axes.multiple_px})


def _has_frozen_random_norms(run: Run) -> bool:
    axes = axes_of(run.recipe.detector.family)
    return axes is not None and axes.frozen_norms and run.recipe.init.source == "random"


def _cannot_share(run: Run) -> bool:
    axes = axes_of(run.recipe.detector.family)
    return axes is not None and axes.shares_batches is False


OWN_FAMILY_RULES: tuple[Rule[Run], ...] = (
    *(
        Rule(
            key=axis.path,
            reads=("detector.family",),
            broken=_is_set_otherwise(axis),
            must=axis.must,
            remedy=axis.remedy,
        )
        for axis in REFUSED_AXES
    ),
    Rule(
        key="init.source",
        reads=("detector.family",),
        broken=_has_frozen_random_norms,
        must="must load weights with {detector.family}, whose batch norms never learn",
        remedy="Write init.source: file, or take transformers:rtdetr_v2_r18vd.",
    ),
    Rule(
        key="detector.min_side_px",
        reads=("detector.family", "detector.max_side_px"),
        broken=_is_no_square,
        must="must be {side}, like detector.max_side_px: the only input of {detector.family}",
        remedy="Write {side} for both.",
    ),
    Rule(
        key="detector.min_side_px",
        reads=("detector.family", "detector.max_side_px"),
        broken=_is_no_multiple,
        must="must equal detector.max_side_px, and be a multiple of {multiple}: {detector.family} "
        "has a square input",
        remedy="Write 640 for both, as published.",
    ),
    Rule(
        key="resources.workers",
        reads=("detector.family",),
        broken=lambda run: (
            run.num_workers > 1 and _cannot_share(run) and Breach(came=run.resources.workers)
        ),
        must="must be 0 or 1: the losses of {detector.family} need a whole batch in one process",
        remedy="Give it one worker; trials still run side by side.",
    ),
    Rule(
        key="resources.images_per_step",
        reads=("detector.family", "batch_size"),
        broken=lambda run: (
            _cannot_share(run)
            and (run.resources.images_per_step or run.recipe.batch_size) < run.recipe.batch_size
            and Breach(came=run.resources.images_per_step)
        ),
        must="must be left out: the losses of {detector.family} need a whole batch in one pass",
        remedy="Make batch_size smaller if memory is short.",
    ),
)
