"""The base of everything a study file can say, and the number types that its fields share.

The sentence below a field is its description in the JSON Schema. It is read from the source when a
schema is asked for: pydantic's ``use_attribute_docstrings`` reads it whenever a process imports
these classes, which costs each of them 0.1 s (2 cores of an AMD EPYC, 2026-11-28).
"""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from rethink_ray.spec.rules.rule import Rule, find_breach, refusal_of

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Lengths = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class Spec(BaseModel):
    """A frozen group of keys that refuses unknown names and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    rules: ClassVar[tuple[Rule[Any], ...]] = ()
    """What the keys of this group mean together."""

    @model_validator(mode="after")
    def _breaks_no_rule(self) -> Self:
        if self.rules and (explanation := find_breach(self.rules, self, dict(self))):
            raise refusal_of(explanation)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """The JSON Schema, in which each property is described by its docstring."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, sentence in read_field_docstrings(cls).items():
            key = cls.model_fields[name].alias or name
            if key in properties:
                properties[key]["description"] = sentence
        return schema


@cache
def read_field_docstrings(model: type[Spec]) -> dict[str, str]:
    """Field -> the docstring below it in the source, as one line; none without a source file."""
    sentences: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, Spec) and parent is not Spec:
            sentences |= _docstrings_below_fields(parent)
    return sentences


def _docstrings_below_fields(model: type[Spec]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except OSError:  # a class of a notebook, or a package without its sources
        return {}
    sentences: dict[str, str] = {}
    for field, below in pairwise(ast.iter_child_nodes(tree.body[0])):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                sentences[name] = " ".join(text.split())
    return sentences
