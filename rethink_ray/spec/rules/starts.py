"""Which weights a run can start from, and which stages can then stay frozen."""

import re

from rethink_ray.spec.detector_weights import (
    find_detector_origin,
    find_published_name,
    list_published_names,
    starts_from_file,
)
from rethink_ray.spec.freezing import ABOVE_BACKBONE, WHOLE_BACKBONE
from rethink_ray.spec.networks import (
    TIMM,
    WEIGHTS_OF_TORCHVISION,
    from_torchvision,
    has_own_norm,
    has_timm_tag,
    is_own,
    names_weights_of_torchvision,
)
from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.weight_keys import FROM_HUB

TIMM_TAG = re.compile(r"\w+")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def _weights_norm(recipe: Recipe) -> str | None:
    """The norm that the weights were trained with; ``None``: unknown, or it does not matter."""
    if has_own_norm(recipe.detector.backbone):
        return None
    source = find_detector_origin(recipe.init) or recipe.init.source
    stated = recipe.init.weights_norm
    return {"torchvision": "bn", "file": stated, "timm": stated, "hub": stated}.get(source)


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


def _starts_whole(recipe: Recipe) -> bool:
    """Whether neck and heads were trained before, too."""
    return recipe.init.source in ("detector", "direct") or recipe.labels.goes_on


def keeps_backbone(recipe: Recipe) -> bool:
    """Whether the whole backbone stays as it was loaded, to the end of the run."""
    return recipe.init.frozen in WHOLE_BACKBONE and recipe.init.unfreeze is None


def _is_no_published_detector(run: Run) -> bool | Breach:
    recipe = run.recipe
    if find_detector_origin(recipe.init) != "torchvision":
        return False
    name = recipe.init.weights or ""
    if find_published_name(recipe.detector, name):
        return False
    known = ", ".join(list_published_names(recipe.detector))
    return Breach(came=name, words={"known": f"Known: {known}" if known else "There are none"})


def _names_no_detector(run: Run) -> bool | Breach:
    recipe = run.recipe
    if recipe.init.source != "detector" or recipe.init.weights:
        return False
    names = list_published_names(recipe.detector)
    return Breach(came=None, words={"choices": "".join(f"{name}, " for name in names)})


def _is_misspelt(recipe: Recipe, source: str, form: re.Pattern[str]) -> bool:
    weights = recipe.init.weights
    return recipe.init.source == source and bool(weights) and not form.fullmatch(weights or "")


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
            run.recipe.init.source in FROM_HUB | {"torchvision", "file"}
            and not run.recipe.init.weights
        ),
        must="must name the weights to load",
        remedy="Write IMAGENET1K_V1 for torchvision's, the path of a file of weights, a tag of "
        "timm's such as lvd142m, or org/name for a repository of the hub.",
    ),
    Rule(
        key="init.source",
        reads=("detector.backbone",),
        broken=lambda run: (
            run.recipe.init.source in FROM_HUB and not run.recipe.detector.backbone.startswith(TIMM)
        ),
        must="must name weights that exist: those of timm and of a hub are for timm's networks, "
        "not for {detector.backbone!r}",
        remedy="Write detector.backbone: timm:<name>, or choose another source.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source",),
        broken=lambda run: _is_misspelt(run.recipe, "timm", TIMM_TAG),
        must="must be a tag of timm's weights, such as lvd142m or a1_in1k",
        remedy="timm:<name>.<tag> has the tag after its dot.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source",),
        broken=lambda run: _is_misspelt(run.recipe, "hub", HUB_NAME),
        must="must be a repository of the hub, org/name or org/name@revision",
        remedy="For a file write init.source: file.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source", "detector.backbone"),
        broken=lambda run: (
            run.recipe.init.source == "timm"
            and has_timm_tag(run.recipe.detector.backbone)
            and run.recipe.detector.backbone.partition(".")[2] != run.recipe.init.weights
        ),
        must="must be the tag of {detector.backbone}",
        remedy="Write the tag in one of the two places, or the same in both.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source", "detector.family", "detector.backbone"),
        broken=_names_no_detector,
        must="must name the detector to load",
        remedy="Write {choices}the path of a file, or upstream_detector.",
    ),
    Rule(
        key="init.weights",
        reads=("init.source", "detector.family", "detector.backbone"),
        broken=_is_no_published_detector,
        must="must be the name of one set of torchvision's weights for a {detector.family} on "
        "{detector.backbone}",
        remedy="{known}. Or name a file, or upstream_detector.",
    ),
    Rule(
        key="init.keep_classes",
        reads=("init.source",),
        broken=lambda run: (
            run.recipe.init.keep_classes != "by_name" and run.recipe.init.source != "detector"
        ),
        must="must be by_name (the default) unless a whole detector is loaded",
        remedy="Leave it out, or set init.source: detector.",
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
        reads=("init.source", "init.weights", "detector.backbone", "detector.family"),
        broken=lambda run: (
            starts_from_file(run.recipe.init)
            and run.recipe.init.weights_norm is None
            and not is_own(run.recipe.detector.family)
            and not has_own_norm(run.recipe.detector.backbone)
        ),
        must="must say which norm the file was trained with",
        remedy="Write gn or bn.",
    ),
    Rule(
        key="detector.norm",
        reads=("init.source", "init.weights", "init.weights_norm", "detector.backbone"),
        broken=lambda run: (
            run.recipe.init.source == "detector"
            and run.recipe.detector.norm == "gn"
            and _weights_norm(run.recipe) == "bn"
        ),
        must="must match a detector that was trained with bn",
        remedy="Use frozen_bn, which small batches need, or bn or sync_bn; or init.weights: "
        "upstream_detector, which is trained with the norm of the recipe.",
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
        reads=("init.source", "labels.kind", "labels.start"),
        broken=lambda run: (
            run.recipe.init.source == "random"
            and run.recipe.init.frozen != "none"
            and not run.recipe.labels.goes_on
        ),
        must="must be none on random weights",
        remedy="Frozen random layers cost 3.3 AP (Detectron's old default); load weights first.",
    ),
    Rule(
        key="init.frozen",
        reads=("init.source", "labels.kind", "labels.start"),
        broken=lambda run: (
            run.recipe.init.frozen in ABOVE_BACKBONE and not _starts_whole(run.recipe)
        ),
        must="must be backbone or less where neck and heads start from random weights",
        remedy="Start from a whole detector (init.source: detector or direct, or a student with "
        "labels.start: teacher), or set init.frozen: backbone.",
    ),
    Rule(
        key="init.unfreeze",
        reads=("init.frozen",),
        broken=lambda run: (
            run.recipe.init.frozen == "none"
            and run.recipe.init.unfreeze is not None
            and Breach(came=f"after: {run.recipe.init.unfreeze.after:g}")
        ),
        must="must be left out where nothing is frozen",
        remedy="Set init.frozen: backbone, or leave it out.",
    ),
    Rule(
        key="optimizer.backbone_rate",
        reads=("init.frozen", "init.unfreeze"),
        broken=lambda run: keeps_backbone(run.recipe) and run.recipe.optimizer.backbone_rate != 1.0,
        must="must be 1 where the whole backbone is frozen: it has no rate",
        remedy="Leave it out, freeze fewer stages, or set init.unfreeze.",
    ),
    Rule(
        key="optimizer.layer_decay",
        reads=("init.frozen", "init.unfreeze"),
        broken=lambda run: keeps_backbone(run.recipe) and run.recipe.optimizer.layer_decay != 1.0,
        must="must be 1 where the whole backbone is frozen: its stages have no rate",
        remedy="Leave it out, freeze fewer stages, or set init.unfreeze.",
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
