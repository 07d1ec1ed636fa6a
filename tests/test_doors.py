"""Who may import whom, as docs and README draw it: an AST walk of every import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rethink_ray"
MAY_SEE = {
    "spec": set(),
    "records": {"spec"},
    "data": {"spec", "records"},
    "detection": {"spec", "records"},
    "training": {"spec", "records", "data", "detection"},
    "search": {"spec", "records"},
    "cluster": {"spec", "records", "data", "detection", "training", "search"},
    "analysis": {"spec", "records"},
}
NEVER = {
    "spec": {"ray", "torch", "torchvision", "optuna", "pyarrow"},
    "records": {"ray", "torch", "torchvision", "optuna"},
    "data": {"ray", "optuna"},
    "detection": {"ray", "optuna"},
    "training": {"ray", "optuna"},
    "search": {"ray", "torch", "torchvision"},
    "analysis": {"ray", "torch", "torchvision", "optuna"},
    "cluster": set(),
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("room", sorted(MAY_SEE))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files, f"room {room} is empty"
    for path in files:
        for name in imports_of(path):
            top, *rest = name.split(".")
            assert top not in NEVER[room], f"{path.name} imports {name}"
            if top == "rethink_ray" and rest:
                assert rest[0] in MAY_SEE[room] | {room}, f"{path.name} imports {name}"


def test_every_room_is_listed_here() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and list(p.glob("*.py"))}
    assert rooms == set(MAY_SEE) | {"commands"}
