"""What a recipe's values mean together: weights, norms, frozen stages, batches, schedules.

Each rule is checked for every combination of its own paths that the search could reach, so that no
trial is lost to one hours later.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

from rethink_ray.spec.batches import BATCH_PATHS, check_batch
from rethink_ray.spec.direct import DIRECT_PATHS, PASSES_PATHS, check_direct, check_passes
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.network_rules import NETWORK_PATHS, check_network
from rethink_ray.spec.networks import OWN_NORM, from_torchvision
from rethink_ray.spec.recipe import TWO_STAGE, WITH_KEYPOINTS, Recipe
from rethink_ray.spec.settings import LENGTH_PATH, value_at, with_settings
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import ResourceSpec

MAX_UPDATES = 10**9
"""More is a slip of the keyboard, and would not fit the tables."""
MAX_COUNT = 64
"""A whole-number range up to this size is looked at number by number, a larger one at its ends."""
ONE_PROCESS = ResourceSpec()
Rule = Callable[[Recipe, str, ResourceSpec], None]


def check_recipe(recipe: Recipe, where: str, resources: ResourceSpec = ONE_PROCESS) -> None:
    """Weights, norm and frozen stages mean something together; batches divide; schedules fit.

    Raises:
        SpecError: with the remedy.
    """
    for rule, _ in RULES:
        rule(recipe, where, resources)


def check_reachable(
    recipe: Recipe,
    space: Mapping[str, Parameter],
    where: str,
    resources: ResourceSpec = ONE_PROCESS,
) -> None:
    """``check_recipe`` for everything that a search of ``space`` can make of ``recipe``.

    Raises:
        SpecError: with the remedy.
    """
    for rule, paths in RULES:
        for reachable in reachable_recipes(recipe, space, paths):
            rule(reachable, where, resources)


def check_first_stages(
    recipe: Recipe, space: Mapping[str, Parameter], num_images: int, where: str
) -> None:
    """Whatever a search makes of direct pre-training, its first stage outlasts its warm-up.

    Raises:
        SpecError: with the remedy.
    """
    for reachable in reachable_recipes(recipe, space, PASSES_PATHS):
        check_passes(reachable, num_images, where)


def reachable_recipes(
    recipe: Recipe, space: Mapping[str, Parameter], paths: tuple[str, ...]
) -> Iterator[Recipe]:
    """The recipe with every combination of searched values at ``paths`` and their conditions."""
    asked = [path for path in paths if path in space]
    conditions = [c for path in asked for c in space[path].when if c in space]
    names = list(dict.fromkeys([*conditions, *asked]))
    base = {c: value_at(recipe, c) for path in asked for c in space[path].when}
    for values in itertools.product(*(_options(space[name]) for name in names)):
        chosen: dict[str, Value] = dict(zip(names, values, strict=True))
        active = {p: v for p, v in chosen.items() if space[p].active({**base, **chosen})}
        yield with_settings(recipe, active, "search")


def _options(parameter: Parameter) -> tuple[Value, ...]:
    if parameter.choice is not None:
        return parameter.choice
    low, high = parameter.bounds
    if parameter.kind == "int_uniform" and high - low < MAX_COUNT:
        return tuple(range(int(low), int(high) + 1))
    return (int(low), int(high)) if parameter.kind == "int_uniform" else (low, high)


def _check_weights(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    init, norm = recipe.init, recipe.detector.norm
    trained_with = {"torchvision": "bn", "file": init.weights_norm}.get(init.source)
    if init.source in ("torchvision", "file") and not init.weights:
        must = "must name the weights to load"
        raise SpecError(explain(f"{where}: init.weights", must, init.weights))
    if init.source == "torchvision" and from_torchvision(recipe.detector.backbone) is None:
        must = f"has no weights for {recipe.detector.backbone!r}"
        remedy = "Use init.source: upstream or file, or a backbone of torchvision."
        raise SpecError(explain(f"{where}: init.source", must, "torchvision", remedy))
    if recipe.detector.backbone in OWN_NORM:
        return
    if init.source == "file" and init.weights_norm is None:
        must = "must say which norm the file was trained with"
        raise SpecError(explain(f"{where}: init.weights_norm", must, None, "Write gn or bn."))
    if trained_with == "bn" and norm == "gn":
        must = "must match weights that were trained with bn"
        remedy = (
            "Use norm bn or sync_bn; or a local GroupNorm classifier (init.source: file, "
            "init.weights_norm: gn); or init.source: upstream, which trains one per norm."
        )
        raise SpecError(explain(f"{where}: detector.norm", must, norm, remedy))
    if trained_with == "gn" and norm != "gn":
        must = "must match weights that were trained with gn"
        raise SpecError(explain(f"{where}: detector.norm", must, norm, "Use norm gn."))


def _check_head_norm(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    asked = recipe.detector
    if asked.head_norm == "same":
        return
    key, remedy = f"{where}: detector.head_norm", "Write same."
    if asked.neck != "fpn":
        raise SpecError(explain(key, f"must be same under {asked.neck}", "none", remedy))
    if asked.family == "fcos" and asked.norm == "gn":
        must = "must be same for fcos under gn, whose towers cannot do without"
        raise SpecError(explain(key, must, "none", remedy))


def _check_frozen(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    init, norm = recipe.init, recipe.detector.norm
    if init.source != "random":
        return
    if init.frozen != "none":
        must = "must be none on random weights"
        remedy = "Frozen random layers cost 3.3 AP (Detectron's old default); load weights first."
        raise SpecError(explain(f"{where}: init.frozen", must, init.frozen, remedy))
    if norm == "frozen_bn":
        must = "must be trainable on random weights"
        raise SpecError(explain(f"{where}: detector.norm", must, norm, "Use gn, bn or sync_bn."))


def _check_labels(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    labels = recipe.labels
    if labels.kind == "continued" and labels.start != "teacher":
        must = "must be teacher where the teacher is continued"
        remedy = "Or take labels.kind: human, which starts from init."
        raise SpecError(explain(f"{where}: labels.start", must, labels.start, remedy))
    if labels.kind == "self_training" and recipe.detector.family in WITH_KEYPOINTS:
        must = "must be without keypoints: a teacher's are no labels here"
        remedy = "Self-train a family of boxes or masks."
        came = recipe.detector.family
        raise SpecError(explain(f"{where}: detector.family", must, came, remedy))
    if labels.kind == "self_training" and labels.threshold < recipe.detector.score_threshold:
        floor = recipe.detector.score_threshold
        must = f"must be at least detector.score_threshold = {floor:g}"
        remedy = "Lower detector.score_threshold to see more of what the teacher finds."
        raise SpecError(explain(f"{where}: labels.threshold", must, labels.threshold, remedy))


def _check_joint(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    joint = recipe.joint
    if not joint.weight:
        return
    if recipe.init.frozen == "backbone":
        must = "must be 0 on a frozen backbone, which cannot learn to classify"
        raise SpecError(explain(f"{where}: joint.weight", must, joint.weight))
    if joint.batch_size % max(resources.workers, 1):
        must = f"must divide among {resources.workers} workers"
        raise SpecError(explain(f"{where}: joint.batch_size", must, joint.batch_size))


def _check_schedule(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    schedule = recipe.schedule
    lengths = schedule.lengths
    if not lengths or any(b <= a for a, b in itertools.pairwise(lengths)):
        raise SpecError(
            explain(f"{where}: schedule.lengths", "must be increasing, at least one", list(lengths))
        )
    if lengths[-1] * schedule.unit > MAX_UPDATES:
        must = f"must end within {MAX_UPDATES:,} updates"
        came = f"{lengths[-1]:g}x of {schedule.unit:,}"
        raise SpecError(explain(f"{where}: schedule.lengths", must, came))
    for length in lengths:
        _check_length(recipe, length, where)


def _check_length(recipe: Recipe, length: float, where: str) -> None:
    schedule = recipe.schedule
    decay = schedule.decay
    if (
        decay.kind == "step"
        and isinstance(decay.before_end, dict)
        and (f"{length:g}" not in decay.before_end)
    ):
        key = f"{where}: schedule.decay.before_end"
        raise SpecError(explain(key, f"must have an entry '{length:g}'", list(decay.before_end)))
    first = max(schedule.points(length), default=0)
    if schedule.steps(length) - first < schedule.warmup:
        must = f"warm-up + first decay point must fit into {length:g}x"
        came = f"{schedule.warmup} + {first} > {schedule.steps(length)} updates"
        remedy = "Start the ladder at a longer length, or shorten the warm-up."
        raise SpecError(explain(f"{where}: schedule", must, came, remedy))


def _check_matching(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    asked = recipe.detector
    if asked.family == "retinanet" and asked.background_iou > asked.foreground_iou:
        must = f"must be at most detector.foreground_iou = {asked.foreground_iou:g}"
        raise SpecError(explain(f"{where}: detector.background_iou", must, asked.background_iou))


def _check_box_heads(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    asked = recipe.detector
    if asked.box_head is not None and asked.family not in TWO_STAGE:
        must = f"must be left out: {asked.family} has no box head"
        raise SpecError(explain(f"{where}: detector.box_head", must, asked.box_head))
    if any(later < one for one, later in itertools.pairwise(asked.cascade_ious)):
        must, came = "must not fall from stage to stage", list(asked.cascade_ious)
        raise SpecError(explain(f"{where}: detector.cascade_ious", must, came))


def _check_joining(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    joins_at, schedule = recipe.detector.cascade_from, recipe.schedule
    if "cascade" not in recipe.detector.family or not joins_at:
        return
    ends_at = schedule.steps(min(schedule.lengths, default=0.0))
    if ends_at <= joins_at:
        must = f"must be under the {ends_at} updates of the shortest length"
        remedy = "Start the ladder at a longer length, or let the cascade join earlier."
        raise SpecError(explain(f"{where}: detector.cascade_from", must, joins_at, remedy))


RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (check_direct, DIRECT_PATHS),
    (
        _check_weights,
        (
            "detector.backbone",
            "detector.norm",
            "init.source",
            "init.weights",
            "init.weights_norm",
        ),
    ),
    (
        _check_head_norm,
        ("detector.head_norm", "detector.neck", "detector.family", "detector.norm"),
    ),
    (check_network, NETWORK_PATHS),
    (_check_frozen, ("detector.norm", "init.source", "init.frozen")),
    (check_batch, BATCH_PATHS),
    (_check_joint, ("joint.weight", "joint.batch_size", "init.frozen")),
    (
        _check_labels,
        (
            "labels.kind",
            "labels.start",
            "labels.threshold",
            "detector.score_threshold",
            "detector.family",
        ),
    ),
    (_check_matching, ("detector.family", "detector.foreground_iou", "detector.background_iou")),
    (_check_box_heads, ("detector.family", "detector.box_head", "detector.cascade_ious")),
    (
        _check_joining,
        ("detector.family", "detector.cascade_from", LENGTH_PATH, "schedule.unit"),
    ),
    (
        _check_schedule,
        (LENGTH_PATH, "schedule.unit", "schedule.warmup", "schedule.decay.kind"),
    ),
)
"""Each rule with the paths it reads."""
