"""Which weights a run can start from, and which stages can then stay frozen."""

from rethink_ray.spec.networks import (
    OWN_NORM,
    WEIGHTS_OF_TORCHVISION,
    from_torchvision,
    is_own,
    names_weights_of_torchvision,
)
from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.rules.rule import Breach, Rule


def _weights_norm(recipe: Recipe) -> str | None:
    """The norm that the weights were trained with; ``None``: unknown, or it does not matter."""
    if recipe.detector.backbone in OWN_NORM:
        return None
    return {"torchvision": "bn", "file": recipe.init.weights_norm}.get(recipe.init.source)


def _is_direct_with_gn_on_one_side(recipe: Recipe) -> bool:
    differ = (recipe.direct.norm == "gn") != (recipe.detector.norm == "gn")
    return recipe.init.source == "direct" and differ


def _is_no_name_of_torchvision(run: Run) -> bool | Breach:
    recipe = run.recipe
    if recipe.init.source != "torchvision":
        return False
    backbone, name = recipe.detector.backbone, recipe.init.weights or ""
    known = WEIGHTS_OF_TORCHVISION.get(backbone)
    if known is None or names_weights_of_torchvision(backbone, name):
        return False
    return Breach(came=name, words={"known": ", ".join(known)})


DIRECT_NORM_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.norm",
        reads=("init.source", "direct.norm"),
        broken=lambda run: (
            run.recipe.detector.norm == "gn" and _is_direct_with_gn_on_one_side(run.recipe)
        ),
        must="must agree with direct.norm {direct.norm}, which its weights are trained with",
        remedy="Set direct.norm: gn.",
    ),
    Rule(
        key="detector.norm",
        reads=("init.source", "direct.norm"),
        broken=lambda run: _is_direct_with_gn_on_one_side(run.recipe),
        must="must agree with direct.norm {direct.norm}, which its weights are trained with",
        remedy="Set direct.norm: bn, or detector.norm: gn.",
    ),
)
WEIGHT_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="init.weights",
        reads=("init.source",),
        broken=lambda run: (
            run.recipe.init.source in ("torchvision", "file") and not run.recipe.init.weights
        ),
        must="must name the weights to load",
        remedy="Write IMAGENET1K_V1 for torchvision's, or the path of a file of weights.",
    ),
    Rule(
        key="init.source",
        reads=("detector.backbone",),
        broken=lambda run: (
            run.recipe.init.source == "torchvision"
            and from_torchvision(run.recipe.detector.backbone) is None
        ),
        must="must name weights that exist: torchvision has no weights for {detector.backbone!r}",
        remedy="Use init.source: upstream or file, or a backbone of torchvision.",
    ),
    Rule(
        key="init.weights_norm",
        reads=("init.source", "detector.backbone", "detector.family"),
        broken=lambda run: (
            run.recipe.init.source == "file"
            and run.recipe.init.weights_norm is None
            and not is_own(run.recipe.detector.family)
            and run.recipe.detector.backbone not in OWN_NORM
        ),
        must="must say which norm the file was trained with",
        remedy="Write gn or bn.",
    ),
    Rule(
        key="detector.norm",
        reads=("init.source", "init.weights_norm", "detector.backbone"),
        broken=lambda run: run.recipe.detector.norm == "gn" and _weights_norm(run.recipe) == "bn",
        must="must match weights that were trained with bn",
        remedy="Use norm bn or sync_bn; or a local GroupNorm classifier (init.source: file, "
        "init.weights_norm: gn); or init.source: upstream, which trains one per norm.",
    ),
    Rule(
        key="detector.norm",
        reads=("init.source", "init.weights_norm", "detector.backbone"),
        broken=lambda run: run.recipe.detector.norm != "gn" and _weights_norm(run.recipe) == "gn",
        must="must match weights that were trained with gn",
        remedy="Use norm gn.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source", "detector.backbone"),
        broken=_is_no_name_of_torchvision,
        must="must be a torchvision weights name of {detector.backbone}",
        remedy="Known: {known}.",
    ),
)
FROZEN_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="init.frozen",
        reads=("init.source",),
        broken=lambda run: run.recipe.init.source == "random" and run.recipe.init.frozen != "none",
        must="must be none on random weights",
        remedy="Frozen random layers cost 3.3 AP (Detectron's old default); load weights first.",
    ),
    Rule(
        key="detector.norm",
        reads=("init.source",),
        broken=lambda run: (
            run.recipe.init.source == "random" and run.recipe.detector.norm == "frozen_bn"
        ),
        must="must be trainable on random weights",
        remedy="Use gn, bn or sync_bn.",
    ),
)
