"""An option that only some studies use is read in few rooms: the others ask ``protocol``.

Otherwise each new option adds branches everywhere. ``spec`` declares and checks all of them, so it
does not count.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rethink_ray"
COMPARES_STUDIES = PACKAGE / "protocol" / "extension.py"
"""It reads every key, to tell one study from another; that adds no behaviour."""
MOST_ROOMS = 3
OPTIONS = (
    "budget.num_searches",
    "budget.sequential",
    "budget.audit",
    "budget.keep",
    "replicate.vary",
    "schedule.converged",
    "tuning.copy_from",
    "checkpoints.models",
    "checkpoints.trunks",
    "checkpoints.detections",
    "resources.images_per_step",
    "init.unfreeze",
    "data.unlabelled",
    "data.upstream_detection",
    "data.duplicates",
    "data.split",
    "data.keep_empty",
    "data.min_keypoints",
    "data.voc_offset",
    "data.frequency",
)
IN_PROTOCOL = (
    "budget.num_searches",
    "budget.audit",
    "replicate.vary",
    "schedule.converged",
    "checkpoints.trunks",
)
"""Options that no room but ``protocol`` reads."""


def rooms_that_read(option: str) -> set[str]:
    """Folders of the package in which an expression ends in ``group.leaf``."""
    group, leaf = option.split(".")
    return {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path, attributes in attributes_by_file().items()
        if (group, leaf) in attributes
    } - {"spec"}


@cache
def attributes_by_file() -> Mapping[Path, frozenset[tuple[str, str]]]:
    files = set(PACKAGE.rglob("*.py")) - {COMPARES_STUDIES}
    return {path: frozenset(attributes_in(ast.parse(path.read_text()))) for path in files}


def attributes_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """``(group, leaf)`` for every ``...group.leaf``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Attribute):
                yield node.value.attr, node.attr
            elif isinstance(node.value, ast.Name):
                yield node.value.id, node.attr


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_read_in_at_most_three_rooms(option: str) -> None:
    rooms = rooms_that_read(option)
    assert rooms, "the option was renamed or removed"
    assert len(rooms) <= MOST_ROOMS, f"{option} is read in {sorted(rooms)}"


@pytest.mark.parametrize("option", IN_PROTOCOL)
def test_these_options_end_in_protocol(option: str) -> None:
    assert rooms_that_read(option) == {"protocol"}
