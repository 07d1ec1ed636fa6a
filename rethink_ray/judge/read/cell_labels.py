"""A cell in the columns of published tables: what claims select rows by, and match them on.

Labels keep apart what a claim must not mix: a student is no supervised run, S4 is no S1, NAS-FPN is
no FPN. A path that the search tunes has one label for each value it could have.
"""

import itertools
from collections.abc import Mapping

from rethink_ray.spec.batches import count_passes
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import AUGMENT_LEVELS, AugmentSpec, Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, copied_cell, space_of
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

Texts = frozenset[str]
SOURCES = {"torchvision": "imagenet"}
"""``init.source`` -> the word of published tables, where it is another one."""
SHUFFLED = {"upstream": "upstream.labels", "detector": "upstream_detector.labels"}
"""``init.source`` -> the path whose value ``shuffled`` makes it a control."""
NECKS = {"nas_fpn": "nasfpn"}
CASCADES = {"cascade_rcnn": "faster_rcnn", "cascade_mask_rcnn": "mask_rcnn"}
P1X_PASSES = 48.0
"""Li et al. 2021: passes over the regime's images that their table calls P1x."""
PASSES = ("batch_size", "schedule.unit", "labels.share", "direct.passes", "init.source")
MOST_OPTIONS = 64


def cell_labels(study: Study, cell: Cell, facts: DataFacts) -> dict[str, Texts]:
    """A cell's columns but for schedule and metric, and its recipe path by path."""
    recipe, space = base_recipe(study, cell), space_of(study, cell)
    paths = recipe_labels(recipe, space)
    copied = copied_cell(study, cell)
    images = facts.regime_sizes.get(cell.regime, 0)
    plain = {
        "source": study.study,
        "dataset": study.data.dataset if isinstance(study.data.dataset, str) else "own",
        "table": "-",
        "regime": cell.regime,
        "arm": cell.arm,
        "images": str(images),
        "split": study.data.report_split,
        "seeds": str(study.budget.num_replicates),
        "tuning": f"on {copied.arm}" if copied else "its own search",
        "note": "",
    }
    return {
        **paths,
        **{column: frozenset({text}) for column, text in plain.items()},
        **_sizes(recipe, space, images),
        "detector": _detector(paths),
        "backbone": _of_our_networks(paths, "detector.backbone"),
        "norm": _of_our_networks(paths, "detector.norm"),
        "init": _init(paths),
        "frozen": _frozen(paths),
        "batch": paths["batch_size"],
        "augment": augment_labels(recipe.augment, space),
        "method": _method(recipe, space),
        **{c: frozenset({word}) for c, word in study.arms[cell.arm].stands_for.items()},
    }


def recipe_labels(recipe: Recipe, space: Mapping[str, Parameter]) -> dict[str, Texts]:
    """Dotted path -> every value it could have in the cell."""
    labels = {path: frozenset({as_text(value)}) for path, value in flatten(recipe).items()}
    return labels | {p: _options(parameter) for p, parameter in space.items() if p in labels}


def passes_labels(
    recipe: Recipe, space: Mapping[str, Parameter], length: float, images: int
) -> dict[str, Texts]:
    """How often a run of this length has seen the regime's labelled images, first stage included.

    A teacher's updates do not count; of a student's batch, only the human part counts. Empty if the
    search decides on it.
    """
    if not images or any(path in space for path in PASSES):
        return {}
    seen = count_passes(recipe, recipe.schedule.steps(length), images)
    first = recipe.direct.passes if recipe.init.source == "direct" else 0.0
    return {"passes": frozenset({str(round(seen + first))})}


def augment_labels(augment: AugmentSpec, space: Mapping[str, Parameter]) -> Texts:
    """``s4``, ``flip+scale_0.5_2+color_0.4``; ``tuned`` if the search tunes more than the level."""
    tuned = {path for path in space if path.startswith("augment.")}
    if tuned == {"augment.level"}:
        return _options(space["augment.level"])
    if tuned:
        return frozenset({"tuned"})
    bundle = augment.unbundled()
    level = next((n for n, keys in AUGMENT_LEVELS.items() if _is_bundle(bundle, keys)), "")
    parts = [
        level or ("flip" if augment.flip else ""),
        *([] if level else _jitter(bundle)),
        f"color_{augment.color:g}" if augment.color else "",
        f"copy_paste_{augment.copy_paste:g}" if augment.copy_paste else "",
    ]
    return frozenset({"+".join(part for part in parts if part) or "none"})


def _is_bundle(augment: AugmentSpec, keys: Mapping[str, object]) -> bool:
    """Whether single keys say what a level says, its usual flip included."""
    plain = AugmentSpec()
    names = ("flip", "scale", "short_side_px", "policy", "magnitude", "operations")
    return all(getattr(augment, n) == keys.get(n, getattr(plain, n)) for n in names)


def _jitter(augment: AugmentSpec) -> list[str]:
    sides, policy = augment.short_side_px, str(augment.policy)
    if policy == "randaugment":
        policy = f"randaugment_{augment.operations}_{augment.magnitude:g}"
    return [
        f"scale_{augment.scale[0]:g}_{augment.scale[1]:g}" if augment.scale != (1.0, 1.0) else "",
        f"side_{sides[0]}_{sides[1]}" if sides else "",
        policy if policy != "none" else "",
    ]


def _detector(paths: Mapping[str, Texts]) -> Texts:
    """``retinanet``, ``faster_rcnn+fpn``, ``faster_rcnn+nasfpn+cascade``."""
    labels = set()
    for family, neck in itertools.product(paths["detector.family"], paths["detector.neck"]):
        if is_own(family):
            labels.add(family)
            continue
        name = CASCADES.get(family, family)
        if neck != "fpn" or name == "faster_rcnn":
            name += f"+{NECKS.get(neck, neck)}"
        labels.add(name + ("+cascade" if family in CASCADES else ""))
    return frozenset(labels)


def _of_our_networks(paths: Mapping[str, Texts], path: str) -> Texts:
    """A setting of our networks; ``its own`` for a detector that is not ours, which brings it."""
    is_other = {is_own(family) for family in paths["detector.family"]}
    ours = paths[path] if False in is_other else frozenset()
    return ours | ({"its own"} if True in is_other else set())


def _init(paths: Mapping[str, Texts]) -> Texts:
    """The source of the weights.

    A classifier or a detector of shuffled labels is a control, not one as a paper means it:
    ``upstream_shuffled``, ``detector_shuffled``.
    """
    sources = {SOURCES.get(name, name) for name in paths["init.source"]}
    for source, labels in SHUFFLED.items():
        if source in sources and "shuffled" in paths[labels]:
            sources.add(f"{source}_shuffled")
            if paths[labels] == {"shuffled"}:
                sources.discard(source)
    return frozenset(sources)


def _frozen(paths: Mapping[str, Texts]) -> Texts:
    """``init.frozen``, ``backbone+adapters`` for a frozen backbone that has some, and
    ``neck+unfrozen`` for a neck that trains from ``init.unfreeze`` on."""
    frozen, adapters = paths["init.frozen"], paths["detector.adapters"]
    if paths["init.unfreeze"] != {as_text(None)}:
        return frozenset(f"{f}+unfrozen" for f in frozen)
    with_some = {f"{f}+adapters" if f == "backbone" else f for f in frozen}
    if adapters == {"0"}:
        return frozen
    return frozenset(with_some | frozen if "0" in adapters else with_some)


def _method(recipe: Recipe, space: Mapping[str, Parameter]) -> Texts:
    """``supervised``, ``self_training``, ``continued``, ``imported``, ``P1x``; ``+joint`` with
    joint training, ``+ema`` where averaged weights are scored."""
    if any(path in space for path in ("labels.kind", "direct.passes", "joint.weight")):
        return frozenset({"tuned"})
    if recipe.labels.kind != "human":
        method: str = recipe.labels.kind
    elif recipe.init.source == "direct":
        method = f"P{recipe.direct.passes / P1X_PASSES:.3g}x"
    else:
        method = "supervised"
    ema = "+ema" if recipe.optimizer.ema is not None else ""
    return frozenset({method + ("+joint" if recipe.joint.weight else "") + ema})


def _sizes(recipe: Recipe, space: Mapping[str, Parameter], images: int) -> dict[str, Texts]:
    """Shorter sides of the two stages of direct pre-training; only if the search tunes neither."""
    tuned = any(path.endswith(("_side_px", ".resolution")) for path in space)
    if recipe.init.source != "direct" or tuned or not images:
        return {}
    first = direct_recipe(recipe, images).detector.min_side_px
    second = recipe.detector.min_side_px
    return {"stage_1_px": frozenset({str(first)}), "stage_2_px": frozenset({str(second)})}


def _options(parameter: Parameter) -> Texts:
    """Every value that a search could give a path; a range in words."""
    if parameter.choice is not None:
        return frozenset(as_text(option) for option in parameter.choice)
    low, high = parameter.bounds
    if parameter.kind == "int_uniform" and high - low < MOST_OPTIONS:
        return frozenset(str(n) for n in range(int(low), int(high) + 1))
    return frozenset({f"tuned in [{low:g}, {high:g}]"})
