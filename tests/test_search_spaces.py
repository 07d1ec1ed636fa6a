"""Every study that ships: it loads, and what it resolves to is written down in ``tests/golden``.

A changed default shows here as a changed file. Rewrite them with
``REWRITE_GOLDEN=1 pytest tests/test_search_spaces.py`` and read the difference before committing.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.resolve import (
    base_recipe,
    base_values,
    cells_of,
    keep_of,
    lengths_of,
    space_of,
)
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.study import Study

HERE = Path(__file__).resolve().parent
STEMS = sorted(path.stem for path in (HERE.parent / "search_spaces").glob("*.yaml"))


def resolved(study: Study) -> dict[str, Any]:
    """Every cell: its whole base recipe, its space and its ladder."""
    return {
        cell.name: {
            "recipe": flatten(base_recipe(study, cell)),
            "space": {
                path: parameter.model_dump(mode="json", exclude_defaults=True)
                for path, parameter in sorted(space_of(study, cell).items())
            },
            "base": base_values(study, cell),
            "lengths": lengths_of(study, cell),
            "keep": keep_of(study, cell),
        }
        for cell in cells_of(study)
    }


@pytest.mark.parametrize("stem", STEMS)
def test_a_study_that_ships_resolves_to_what_is_written_down(stem: str) -> None:
    study, text = load_study(find_study(stem))
    assert study.study == stem
    for word in ("# Question:", "# Cost:", "# Expected:", "# Command:"):
        assert word in text, f"the header lacks {word}"
    told = json.dumps(resolved(study), indent=1, sort_keys=True) + "\n"
    golden = HERE / "golden" / f"{stem}.json"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told)
    assert golden.read_text() == told


def test_the_schema_that_editors_read_is_the_studys_own() -> None:
    golden = HERE.parent / "docs" / "study.schema.json"
    told = json.dumps(Study.model_json_schema(), indent=1) + "\n"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(told)
    assert golden.read_text() == told
