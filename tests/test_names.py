"""No public name stands in two modules of the package with different meanings."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "rethink_ray"


def public_names(path: Path) -> Iterator[str]:
    """Functions, classes and constants that a module defines, without a leading underscore."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                nodes = [one for target in targets for one in ast.walk(target)]
                names = [one.id for one in nodes if isinstance(one, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def doubled_names() -> dict[str, list[str]]:
    """Name -> the modules that define it, if there are several."""
    modules: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in sorted(set(public_names(path))):
            modules[name].append(str(path.relative_to(PACKAGE)))
    return {name: where for name, where in modules.items() if len(where) > 1}


def test_no_public_name_stands_in_two_modules() -> None:
    assert doubled_names() == {}, "give one of them a name that says what it is"
