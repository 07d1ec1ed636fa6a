"""The code of backbones from elsewhere: numbers depend on it, so it belongs to an id.

A network of timm is named by timm's version, a function by the source of its module and by the
versions of the network libraries that source imports. Modules are found and read, never imported:
planning a study does not import torch.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.networks import TIMM, is_own
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import TrialConfig, base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.study import Study, TeacherFile

LIBRARIES = ("timm", "transformers")
"""Distributions whose networks a backbone may be made of."""
BACKBONE_PATHS = ("detector.backbone",)


def own_backbones_of(study: Study, where: str) -> dict[str, str]:
    """Every backbone from elsewhere that a run or a teacher may have -> the key that names it."""
    found: dict[str, str] = {}
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        recipes = [*reachable_recipes(base, space, BACKBONE_PATHS)]
        if isinstance(study.arms[cell.arm].teacher, TeacherFile):
            recipes.append(recipe_of_file(study, cell))
        for name in (recipe.detector.backbone for recipe in recipes):
            if is_own(name):
                found.setdefault(name, f"{where}: {cell.name}: detector.backbone")
    return found


def code_of(backbone: str, where: str) -> str:
    """``timm 1.0.9``, or the hash of a module's source, as it is on this machine.

    Raises:
        SpecError: it is not installed here; ``where`` names it.
    """
    module, _, _ = backbone.partition(":")
    if backbone.startswith(TIMM):
        if _installed(module) is None:
            must, remedy = "needs timm on this machine", "pip install 'rethink-ray[timm]'."
            raise SpecError(explain(f"{where} {backbone}", must, "none installed", remedy))
        return f"{module} {_installed(module)}"
    found = _find(module)
    if found is None:
        must = "must be a module on this machine"
        remedy = "Install the package, or put its folder on PYTHONPATH."
        raise SpecError(explain(f"{where} {backbone}", must, "no such module", remedy))
    source = _source_of(found)
    if source is None:
        return _distribution_of(module, backbone, where)
    used = sorted(set(_imported(source)) & set(LIBRARIES))
    return " ".join([digest_of(source), *(f"{name} {_installed(name)}" for name in used)])


def require_same_code(config: TrialConfig) -> None:
    """The backbone's code on this machine is the code that the run was resolved with.

    Raises:
        SpecError: it is not, or it is not installed here.
    """
    require_code(config.recipe.detector.backbone, config.backbone_code)


def require_code(backbone: str, recorded: str) -> None:
    """The same of a backbone by its name. Nothing is asked where no code was recorded.

    Raises:
        SpecError: it is not the code of then, or it is not installed here.
    """
    if not recorded or not is_own(backbone):
        return
    where = "detector.backbone"
    if (found := code_of(backbone, where)) != recorded:
        must = f"must be the code that its numbers were made with ({recorded})"
        remedy = "Install the same code on every machine, or start a new study."
        raise SpecError(explain(f"{where} {backbone}", must, found, remedy))


def _installed(library: str) -> str | None:
    """Its version. A source that imports what is not here may do without, or is refused later."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _find(module: str) -> ModuleSpec | None:
    """Where a module lies, found as an import finds it, without running any of its parents."""
    found: ModuleSpec | None = None
    path: Sequence[str] | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        specs = (find(name, path) for find in finders if find is not None)
        found = next((spec for spec in specs if spec is not None), None)
        if found is None or (name != module and found.submodule_search_locations is None):
            return None
        path = found.submodule_search_locations
    return found


def _source_of(found: ModuleSpec) -> str | None:
    """``None``: a compiled module, or a folder without ``__init__.py``."""
    read = getattr(found.loader, "get_source", None)
    source: str | None = None if read is None else read(found.name)
    return source


def _distribution_of(module: str, backbone: str, where: str) -> str:
    """Name and version of what installed a module without source."""
    names = packages_distributions().get(module.partition(".")[0], [])
    if not names:
        must = "must have its source, or come from an installed package"
        raise SpecError(explain(f"{where} {backbone}", must, "neither"))
    return " ".join(f"{name} {version(name)}" for name in sorted(set(names)))


def _imported(source: str) -> Iterator[str]:
    """Top-level names of what a source imports, anywhere in it."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return  # building the network names the line
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
