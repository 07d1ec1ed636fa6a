"""Optional sections: one file each, one registry, and nothing else that knows them."""

import ast
from pathlib import Path

from rethink_ray.analysis.sections.registry import DETECTION_SECTIONS, ON_REQUEST, SECTIONS

ROOM = Path(__file__).resolve().parent.parent.parent / "rethink_ray"
SHARED = {"section", "registry"}
"""What other files may import from the folder."""


def _sections_imported_by(path: Path) -> set[str]:
    imported = {
        node.module or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    inside = {
        m.rpartition(".")[2] for m in imported if m.startswith("rethink_ray.analysis.sections.")
    }
    return inside - SHARED


def test_only_the_registry_imports_a_section() -> None:
    importing = {
        str(path.relative_to(ROOM)) for path in ROOM.rglob("*.py") if _sections_imported_by(path)
    }
    assert importing == {"analysis/sections/registry.py"}


def test_every_section_file_is_in_the_registry() -> None:
    folder = ROOM / "analysis" / "sections"
    files = {path.stem for path in folder.glob("*.py")} - SHARED - {"__init__"}
    assert _sections_imported_by(folder / "registry.py") == files
    assert len(SECTIONS) + len(ON_REQUEST) + len(DETECTION_SECTIONS) == len(files)


def test_keys_and_titles_name_one_section_each() -> None:
    every = (*SECTIONS, *ON_REQUEST, *DETECTION_SECTIONS)
    assert len({section.key for section in every}) == len(every)
    assert len({section.title for section in every}) == len(every)
