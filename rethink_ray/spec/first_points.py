"""``try_first: {from: studies/other}``: what another study found is tried first.

Its best values are copied into the study when it starts, so the other directory may vanish.
"""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic_core import ErrorDetails

from rethink_ray.spec.model import Spec
from rethink_ray.spec.space import Value

FirstValues = Annotated[dict[str, Value], Field(min_length=1)]
"""Dotted path of a search parameter -> the value that it has in one configuration."""


class CopiedPoints(Spec):
    """Configurations that were copied from another study, and how that study chose them."""

    study: str
    """Name of the study that they come from."""
    data: str
    """Fingerprint of its data."""
    select_on: str
    """The split on which it chose them."""
    points: dict[str, tuple[FirstValues, ...]]
    """``regime/arm`` of this study and its points, in the order in which they are tried."""


class FirstFromStudy(Spec):
    """Another study whose best configurations a search tries first."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: Annotated[str, Field(min_length=1, alias="from")]
    """Directory or URI of a study that has results. Each arm tries the incumbents of the arm of its
    name there: of the regime of the same name, or else of the largest. All arms of a regime try
    equally many, so an arm with fewer incumbents adds its next best trials."""
    copied: CopiedPoints | None = Field(None, exclude_if=lambda copied: copied is None)
    """The points. The program writes them into the study's own file when the study starts, and
    reads the other study no more. Null in a file that names a study whose points are yet to be
    copied."""


def drop_source_errors(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """The errors without those of a mapping as another study, where it names none with ``from``.

    Such a mapping is an entry without the list around it, which another of the errors says.
    """
    inside = [error for error in errors if _is_about_source(error)]
    if not any(e["type"] == "missing" and e["loc"][-1] == "from" for e in inside):
        return errors
    return [error for error in errors if error not in inside]


def _is_about_source(error: ErrorDetails) -> bool:
    return any(FirstFromStudy.__name__ in str(part) for part in error["loc"])
