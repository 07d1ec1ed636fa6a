"""Preflight of deterministic runs on GPUs: whether PyTorch can compile there.

torchvision's ROIAlign is not deterministic on GPUs. Under ``resources.deterministic`` torchvision
runs another one instead, which PyTorch compiles when it is first called. That needs Triton and a C
compiler; without them the first update fails.
"""

import os
import shutil
from importlib import metadata, util

from rethink_ray.cluster.doctor.check import Check, build_check
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import TWO_STAGE
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study

C_COMPILERS = ("cc", "gcc", "clang")
LACKS = "no "
COMPILER_REMEDY = (
    "install triton and a C compiler (gcc), or set resources.deterministic: false, "
    "or choose a one-stage family"
)


def is_compiled(study: Study) -> bool:
    """Whether a run of the study compiles ROIAlign: deterministic, on a GPU, in two stages."""
    resources = study.resources
    if not (resources.deterministic and resources.gpus_per_worker):
        return False
    return any(
        recipe.detector.family in TWO_STAGE
        for cell in cells_of(study)
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), ("detector.family",)
        )
    )


def describe_compiler() -> str:
    """What this machine compiles with, or what it lacks: ``triton 3.5.0 and cc``."""
    triton = (
        f"triton {metadata.version('triton')}" if util.find_spec("triton") else f"{LACKS}triton"
    )
    named = [os.environ["CC"]] if os.environ.get("CC") else C_COMPILERS
    compiler = next((name for name in named if shutil.which(name)), f"{LACKS}C compiler")
    return f"{triton} and {compiler}"


def check_compiler(*machines: tuple[str, str]) -> Check:
    """Whether every machine can compile.

    ``machines``: (host, what ``describe_compiler`` says there).
    """
    lacking = [f"{fact} on {host}" for host, fact in sorted(machines) if LACKS in fact]
    fact = "; ".join(lacking) or "; ".join(sorted({fact for _, fact in machines}))
    return build_check("compiler", fact, not lacking, COMPILER_REMEDY)
