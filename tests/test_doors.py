"""Who may import whom, as docs/architecture.md draws it: an AST walk of every import of every file.

Imports inside functions and under ``TYPE_CHECKING`` count like all others, for doors and for
cycles: a reader has to know both files either way.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rethink_ray"
RULES = {"spec", "records", "protocol"}
BELOW_SESSION = RULES | {"judge", "search", "data", "detection", "training", "cluster", "analysis"}
MAY_SEE: dict[str, set[str]] = {
    "spec": set(),
    "records": {"spec"},
    "data": {"spec", "records"},
    "detection": {"spec", "records"},
    "training": {"spec", "records", "data", "detection"},
    "protocol": {"spec", "records"},
    "judge": RULES,
    "search": RULES | {"judge"},
    "cluster": RULES | {"judge", "search", "data", "detection", "training"},
    "analysis": RULES | {"judge"},
    "session": BELOW_SESSION,
    "drafting": BELOW_SESSION | {"session"},
    "reporting": BELOW_SESSION,
    "api": BELOW_SESSION | {"session", "drafting", "reporting"},
    "commands": BELOW_SESSION | {"session", "drafting", "reporting", "api"},
    "cli": {"spec", "commands"},
    "__init__": {"api"},
}
"""Room, or file beside the rooms -> the rooms it may import."""
FILES_AND_CLOCKS = {"os", "pathlib", "shutil", "time", "datetime"}
NEVER: dict[str, set[str]] = {
    "spec": {"ray", "torch", "torchvision", "optuna", "pyarrow"},
    "records": {"ray", "torch", "torchvision", "optuna"},
    "data": {"ray", "optuna"},
    "detection": {"ray", "optuna"},
    "training": {"ray", "optuna"},
    "protocol": {"ray", "torch", "torchvision", "optuna"} | FILES_AND_CLOCKS,
    "judge": {"ray", "torch", "torchvision", "optuna"} | FILES_AND_CLOCKS,
    "search": {"ray", "torch", "torchvision"},
    "analysis": {"ray", "torch", "torchvision", "optuna"},
    "session": {"ray", "torch", "torchvision", "optuna", "pyarrow"},
    "drafting": {"ray", "torch", "torchvision", "optuna"},
    "reporting": {"ray", "torch", "torchvision", "optuna", "pyarrow"},
    "api": {"ray", "torch", "torchvision", "optuna"},
    "commands": {"ray", "torch", "torchvision", "optuna"},
    "cli": {"ray", "torch", "torchvision", "optuna", "pyarrow", "pydantic"},
}
"""Room -> packages that it never imports; ``protocol`` and ``judge`` have no file and no clock."""
RECORDS_AS_DATA = {"rethink_ray.records.types", "rethink_ray.records.state"}
"""The rooms without files may see these files of ``records``."""
KNOWN_PACKAGES = {
    ("rethink_ray.protocol.retention", "pathlib"),
}
"""Imports of packages that must go."""
KNOWN_DOORS: set[tuple[str, str]] = set()
"""Imports that must go: (room, what it imports). A line that is no longer true fails the test."""
KNOWN_CYCLES: list[set[str]] = []
"""Import cycles that must go. One that is gone, or has other files, fails the test."""


@cache
def files() -> dict[str, Path]:
    """Module -> its file, of the whole package."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def room_of(module: str) -> str:
    """``records`` for ``rethink_ray.records.log``; ``__init__`` for the package itself."""
    return module.split(".")[1] if "." in module else "__init__"


@cache
def imports_of(module: str) -> frozenset[str]:
    """What a module imports, each as the module it is in: ``from x import y`` is x.y if a file."""
    imported = set()
    for node in ast.walk(ast.parse(files()[module].read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.add(inner if inner in files() else str(node.module))
    return frozenset(imported - {module})


def broken_doors() -> Iterator[tuple[str, str, str]]:
    """(room, importing module, imported module) of each import that a room may not have."""
    for module in files():
        room = room_of(module)
        for name in imports_of(module) & files().keys():
            if room_of(name) not in MAY_SEE[room] | {room}:
                yield room, module, name


def test_every_room_and_every_file_beside_the_rooms_is_listed_here() -> None:
    assert {room_of(module) for module in files()} == set(MAY_SEE)


def test_a_room_imports_only_the_rooms_below_it() -> None:
    broken = sorted(broken_doors())
    new = [f"{module} imports {name}" for room, module, name in broken]
    assert {(room, name) for room, _, name in broken} == KNOWN_DOORS, "\n".join(new)


def test_a_room_never_imports_the_packages_that_it_must_not_need() -> None:
    broken = {
        (module, package)
        for module in files()
        for package in {name.partition(".")[0] for name in imports_of(module)}
        if package in NEVER.get(room_of(module), set()) | {"tests", "scripts"}
    }
    assert broken == KNOWN_PACKAGES


@pytest.mark.parametrize("room", ["protocol", "judge"])
def test_a_room_without_files_sees_records_as_data_only(room: str) -> None:
    for module in (m for m in files() if room_of(m) == room):
        records = {name for name in imports_of(module) if name.startswith("rethink_ray.records")}
        assert records <= RECORDS_AS_DATA, module


def test_no_file_imports_itself_through_others() -> None:
    cycles = sorted(find_cycles(), key=min)
    assert cycles == KNOWN_CYCLES, "\n".join(" <-> ".join(sorted(cycle)) for cycle in cycles)


def find_cycles() -> list[set[str]]:
    """The largest sets of two or more files each of which reaches all others by imports."""
    reach = {module: reachable_from(module) for module in files()}
    cycles: list[set[str]] = []
    for module, reached in reach.items():
        cycle = {other for other in reached if module in reach[other]}
        if cycle and cycle not in cycles:
            cycles.append(cycle)
    return cycles


def reachable_from(module: str) -> set[str]:
    """Every file that a file imports, directly or through others; itself only in a cycle."""
    reached: set[str] = set()
    ahead = [module]
    while ahead:
        for name in imports_of(ahead.pop()) & files().keys() - reached:
            reached.add(name)
            ahead.append(name)
    return reached


def test_a_cycle_through_a_lazy_import_is_noticed() -> None:
    """The walk itself, on the one lazy import that every call from Python takes."""
    assert "rethink_ray.api" in imports_of("rethink_ray")
    assert "rethink_ray.records.log" in reachable_from("rethink_ray")
