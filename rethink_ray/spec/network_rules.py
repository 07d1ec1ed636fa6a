"""What backbone, norm, adapters and neck mean together."""

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import OWN_NORM, RESIDUAL
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.study import ResourceSpec

NETWORK_PATHS = (
    *("detector.backbone", "detector.norm", "detector.adapters", "detector.neck"),
    *("init.source", "init.frozen", "init.zero_init_residual"),
)


def check_network(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    """Norms stand where they can, adapters in frozen backbones, zeros in residual ones.

    Raises:
        SpecError: with the remedy.
    """
    _check_norm(recipe, where)
    _check_neck(recipe, where)
    _check_adapters(recipe, where)
    _check_zero_init(recipe, where)


def _check_norm(recipe: Recipe, where: str) -> None:
    asked = recipe.detector
    if asked.backbone in OWN_NORM and asked.norm == "frozen_bn":
        must = f"must be gn, bn or sync_bn: {asked.backbone} has no batch norm to freeze"
        remedy = "It then stands in neck and heads alone."
        raise SpecError(explain(f"{where}: detector.norm", must, asked.norm, remedy))


def _check_neck(recipe: Recipe, where: str) -> None:
    asked = recipe.detector
    if asked.neck != "fpn" and asked.norm == "frozen_bn":
        must = f"must have a norm that learns under detector.neck: {asked.neck}"
        remedy = (
            "Use gn, bn or sync_bn; with init.frozen: backbone the backbone's own statistics and "
            "scales stay fixed under bn and sync_bn too."
        )
        raise SpecError(explain(f"{where}: detector.norm", must, asked.norm, remedy))


def _check_adapters(recipe: Recipe, where: str) -> None:
    adapters = recipe.detector.adapters
    if adapters and recipe.init.frozen != "backbone":
        must = "must be 0 unless the whole backbone is frozen: adapters learn in its place"
        remedy = "Set init.frozen: backbone."
        raise SpecError(explain(f"{where}: detector.adapters", must, adapters, remedy))
    if adapters and recipe.init.source == "direct":
        must = "must be 0 with init.source: direct: its first stage would train them as well"
        remedy = "Start from a classifier, or leave adapters out."
        raise SpecError(explain(f"{where}: detector.adapters", must, adapters, remedy))


def _check_zero_init(recipe: Recipe, where: str) -> None:
    asked, init = recipe.detector, recipe.init
    if init.zero_init_residual and (init.source != "random" or asked.backbone not in RESIDUAL):
        must = "is about residual networks that start from random weights"
        came = f"true with init.source {init.source} and detector.backbone {asked.backbone}"
        raise SpecError(explain(f"{where}: init.zero_init_residual", must, came, "Leave it out."))
