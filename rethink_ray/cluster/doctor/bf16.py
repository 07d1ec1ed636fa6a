"""Preflight of the precision: proposes bf16 where a CPU computes it much faster than fp32."""

from collections.abc import Iterator

from rethink_ray.cluster.doctor.check import Check
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study
from rethink_ray.training.amx import AMX_SPEEDS


def propose_bf16(study: Study | None, *, has_amx: bool) -> Iterator[Check]:
    """Yields a proposal if this machine has AMX and would run fp32 on its CPUs.

    The study stays as it is: a machine never chooses how a number is rounded.

    Args:
        study: the study that would run here; None: any.
        has_amx: what ``training.amx`` says of this machine.
    """
    if has_amx and (study is None or _computes_in_fp32(study)):
        detail = (
            f"this CPU has AMX. With settings: {{precision: bf16}} an update is {AMX_SPEEDS}. "
            "Results differ from those in fp32, so choose before the study starts"
        )
        yield Check(name="precision", ok=True, detail=detail)


def _computes_in_fp32(study: Study) -> bool:
    """Whether any trial of the study may compute in fp32 on a CPU."""
    if study.resources.gpus_per_worker:
        return False
    return any(
        recipe.precision == "fp32"
        for cell in cells_of(study)
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), ("precision",)
        )
    )
