"""The reference: every key of a study and every path of a recipe, from the specifications."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rethink_ray.spec.assets import ClassifierAsset, DetectorAsset, PseudoLabelsAsset
from rethink_ray.spec.model import Spec, read_field_docstrings
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.settings import known_paths
from rethink_ray.spec.study import Study

ROOT = Path(__file__).resolve().parents[2]
AGAIN = "docs/{} is stale. Write it anew: python scripts/write_reference.py"


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that writes both files."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("write_reference")


def properties_of(model: type[Spec]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """``Group.key`` and schema of every property that a model's JSON Schema has."""
    tree = model.model_json_schema()
    for group, schema in {**tree["$defs"], model.__name__: tree}.items():
        for name, value in schema.get("properties", {}).items():
            yield f"{group}.{name}", value


@pytest.mark.parametrize("model", [Study, Recipe])
def test_every_property_of_the_json_schema_has_a_description(model: type[Spec]) -> None:
    properties = dict(properties_of(model))
    assert len(properties) > 100
    assert [name for name, value in properties.items() if not value.get("description")] == []


@pytest.mark.parametrize("model", [ClassifierAsset, DetectorAsset, PseudoLabelsAsset])
def test_every_field_of_an_asset_has_a_description(model: type[Spec]) -> None:
    assert read_field_docstrings(model).keys() == model.model_fields.keys()


def test_a_description_is_the_docstring_below_the_field_on_one_line() -> None:
    class Example(Spec):
        """Two keys."""

        lr: float = 0.1
        """The peak
        rate."""
        silent: int = 0

    properties = Example.model_json_schema()["properties"]
    assert properties["lr"]["description"] == "The peak rate."
    assert "description" not in properties["silent"]


def test_the_reference_is_what_the_specifications_say(writer: ModuleType) -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == writer.reference_text(), AGAIN.format(
        "reference.md"
    )


def test_the_schema_that_editors_read_is_the_studys_own(writer: ModuleType) -> None:
    assert (ROOT / "docs" / "study.schema.json").read_text() == writer.schema_text(), AGAIN.format(
        "study.schema.json"
    )


def test_the_reference_names_every_path_of_a_recipe_and_every_key_of_a_study() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    assert len(known_paths()) >= 111
    assert [path for path in known_paths() if f'<a id="{path}"></a>**`{path}`**' not in text] == []
    keys = {name.split(".")[1] for name, _ in properties_of(Study)}
    shown = {line.split("**`")[1].split("`**")[0].split(".")[-1] for line in _heads(text)}
    assert keys <= shown


def test_no_cell_of_a_table_in_the_reference_holds_a_paragraph() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    cells = [cell for line in text.splitlines() if line[:1] == "|" for cell in line.split("|")]
    assert len(cells) > 50
    assert [cell for cell in cells if len(cell) > 130] == []


def _heads(text: str) -> list[str]:
    """The first line of every key."""
    return [line for line in text.splitlines() if line.startswith('- <a id="')]
