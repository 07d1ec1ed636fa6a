"""Names and sentences that CONTRIBUTING.md asks for, as far as a machine can tell."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "rethink_ray"
EMPTY_NAMES = frozenset({"found", "told", "asked", "wanted", "place", "own", "what"})
"""They do not say what they hold: ``scores``, ``missing_tensors`` would."""
WITHOUT_A_NOUN = re.compile(r"\b([Ww]hoever|[Ww]homever|[Nn]obody|[Ss]omebody)\b")


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def names_given_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every variable, parameter and function that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.FunctionDef):
            yield node.lineno, node.name


def test_a_name_says_what_it_names() -> None:
    empty = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in files()
        for line, name in names_given_in(ast.parse(path.read_text()))
        if name in EMPTY_NAMES
    ]
    assert not empty, "\n".join(empty)


def test_every_subject_is_a_noun() -> None:
    lines = [
        f"{path.relative_to(PACKAGE)}:{number} {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if WITHOUT_A_NOUN.search(line)
    ]
    assert not lines, "\n".join(lines)


def refusals_in(tree: ast.Module) -> Iterator[ast.Call]:
    """Every message of an error, as ``explain`` and ``Explanation.of`` put it together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("explain", "Explanation.of"):
            yield node


def test_every_refusal_of_a_users_folder_says_what_to_do() -> None:
    """Where, what must hold, what came, and the remedy: the fourth part."""
    rooms = ("drafting", "data/layouts", "data/sources")
    silent = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for room in rooms
        for path in sorted((PACKAGE / room).glob("*.py"))
        for call in refusals_in(ast.parse(path.read_text()))
        if len(call.args) < 4 and "remedy" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not silent, "\n".join(silent)
