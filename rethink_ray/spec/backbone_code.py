"""The code of backbones and detectors that are not ours: numbers depend on it, so ids cover it.

A network of timm or transformers is identified by the library's version, a function by the source
of its module and by the versions of the network libraries that the source imports. Detectors of
torchvision have no code here, because our own families are built on torchvision too. Modules are
located and read, never imported: planning a study does not import torch.
"""

import ast
import itertools
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from rethink_ray.spec.errors import Explanation, SpecError, explain
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.networks import TIMM, is_own
from rethink_ray.spec.own_families import SHIPPED_FAMILIES
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import TrialConfig, base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.settings import value_at
from rethink_ray.spec.study import Study, TeacherFile

LIBRARIES = ("timm", "transformers")
"""Packages whose networks a backbone or a detector may be built from."""
CODE_PATHS = ("detector.backbone", "detector.family")
"""Paths that may name other code."""


def own_backbones_of(study: Study, where: str) -> dict[str, str]:
    """Every backbone and family of other code that a run or a teacher may have -> the key that
    names it."""
    keys: dict[str, str] = {}
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        recipes = [*reachable_recipes(base, space, CODE_PATHS)]
        if isinstance(study.arms[cell.arm].teacher, TeacherFile):
            recipes.append(recipe_of_file(study, cell))
        for path, recipe in itertools.product(CODE_PATHS, recipes):
            if is_own(name := value_at(recipe, path)):
                keys.setdefault(name, f"{where}: {cell.name}: {path}")
    return keys


def code_of(network: str, where: str) -> str:
    """The code of a network on this machine: ``timm 1.0.9``, or the hash of a module's source.

    Raises:
        SpecError: the code is not installed here; ``where`` is the key that names it.
    """
    module, _, _ = network.partition(":")
    shipped = SHIPPED_FAMILIES.get(network)
    library = TIMM.rstrip(":") if network.startswith(TIMM) else None
    if shipped is not None:
        library = shipped.library
    if library is not None:
        if _installed(library) is None:
            must = f"needs {library} on this machine"
            remedy = f"pip install 'rethink-ray[{library}]'."
            raise SpecError(Explanation.of(f"{where} {network}", must, "none installed", remedy))
        return f"{library} {_installed(library)}"
    if shipped is not None:
        return ""
    spec = _find(module)
    if spec is None:
        must = "must be a module on this machine"
        remedy = "Install the package, or put its folder on PYTHONPATH."
        raise SpecError(Explanation.of(f"{where} {network}", must, "no such module", remedy))
    source = _source_of(spec)
    if source is None:
        return _distribution_of(module, network, where)
    used = sorted(set(_imported(source)) & set(LIBRARIES))
    return " ".join([digest_of(source), *(f"{name} {_installed(name)}" for name in used)])


def require_same_code(config: TrialConfig) -> None:
    """The network's code on this machine is the code that the run was resolved with.

    Raises:
        SpecError: this machine has other code, or none.
    """
    detector = config.recipe.detector
    require_code(detector.backbone, config.backbone_code)
    require_code(detector.family, config.family_code, "detector.family")


def require_code(network: str, recorded: str, where: str = "detector.backbone") -> None:
    """The code of a network on this machine is the recorded one, if any was recorded.

    Raises:
        SpecError: this machine has other code, or none.
    """
    if not recorded or not is_own(network):
        return
    if (code := code_of(network, where)) != recorded:
        must = f"must be the code that its numbers were made with ({recorded})"
        remedy = "Install the same code on every machine, or start a new study."
        raise SpecError(explain(f"{where} {network}", must, code, remedy))


def _installed(library: str) -> str | None:
    """The version of a library; ``None`` if it is not installed. A source may import it only in
    some cases, so a missing one is refused when the network is built."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _find(module: str) -> ModuleSpec | None:
    """The location of a module, as an import resolves it, without running any of its parents."""
    spec: ModuleSpec | None = None
    path: Sequence[str] | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        specs = (find(name, path) for find in finders if find is not None)
        spec = next((candidate for candidate in specs if candidate is not None), None)
        if spec is None or (name != module and spec.submodule_search_locations is None):
            return None
        path = spec.submodule_search_locations
    return spec


def _source_of(spec: ModuleSpec) -> str | None:
    """The text of a module; ``None``: it is compiled, or a folder without ``__init__.py``."""
    read = getattr(spec.loader, "get_source", None)
    source: str | None = None if read is None else read(spec.name)
    return source


def _distribution_of(module: str, network: str, where: str) -> str:
    """Name and version of the package that installed a module without source."""
    names = packages_distributions().get(module.partition(".")[0], [])
    if not names:
        must = "must have its source, or come from an installed package"
        raise SpecError(Explanation.of(f"{where} {network}", must, "neither"))
    return " ".join(f"{name} {version(name)}" for name in sorted(set(names)))


def _imported(source: str) -> Iterator[str]:
    """Top-level names of the modules that a source imports, anywhere in it."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return  # building the network names the line
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
