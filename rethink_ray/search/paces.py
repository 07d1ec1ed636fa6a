"""How fast a machine works: seconds per update, per scored image, and to start a job, arm by arm.

Paces are data: ``new`` measures them, a file keeps them, or the records of a study hold them.
``hours.py`` turns them into hours.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from rethink_ray.spec.errors import SpecError, explain

PACE_SUFFIX = ".pace.json"
"""``photos.pace.json`` beside ``photos.yaml`` has the paces of the machine that it is written
for."""
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
ONE_MEASUREMENT_SPREAD = 0.1
"""The spread of a pace that was measured once: a quiet machine repeats itself within a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the parts of a job take, while all ``slots`` work side by side."""

    seconds_per_update: Seconds
    """Of one whole batch."""
    seconds_per_scored_image: Seconds
    seconds_to_start: Seconds
    """Everything of a job but updates and scoring: build the network, read indexes, save files."""
    spread: Seconds = ONE_MEASUREMENT_SPREAD
    """Standard deviation of the logarithm of a duration, from job to job and from day to day."""

    __pydantic_config__ = ConfigDict(extra="forbid")


Paces = Mapping[str, Pace]
"""Arm -> its pace. Three more kinds of keys: ``regime/arm`` for one cell, which comes before the
arm; ``asset <kind>`` for assets (``asset classifier``); and ``ANY_ARM`` for every other arm."""
ANY_ARM = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPaces:
    """Paces of one machine, as a file holds them."""

    machine: str
    """The machine, for people."""
    slots: Annotated[int, Field(ge=1)]
    """Jobs that ran side by side when the paces were measured."""
    arms: dict[str, Pace]
    """See ``Paces``."""

    __pydantic_config__ = ConfigDict(extra="forbid")


def pace_of(paces: Paces, regime: str, arm: str) -> Pace | None:
    """The pace of a cell: its own, its arm's, or that of any arm; None: nothing is known."""
    return paces.get(f"{regime}/{arm}") or paces.get(arm) or paces.get(ANY_ARM)


def read_paces(path: Path) -> MeasuredPaces:
    """The paces in a file.

    Raises:
        SpecError: there is no such file, or it holds no paces.
    """
    remedy = "After a study on that machine: rethink-ray status DIR --write-pace FILE."
    try:
        return TypeAdapter(MeasuredPaces).validate_json(path.read_bytes())
    except OSError as error:
        must = "must be a file of paces"
        raise SpecError(explain(str(path), must, error.strerror, remedy)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        must = "must hold machine, slots and arms, each arm with the seconds of its parts"
        fault = f"{first['msg']}" + (f" at {key}" if key else "")
        raise SpecError(explain(str(path), must, fault, remedy)) from None


def write_paces(path: Path, measured: MeasuredPaces) -> None:
    """``path`` holds the paces as JSON, rounded to four digits."""
    tree = _round(asdict(measured))
    path.write_text(json.dumps(tree, indent=1) + "\n")


def _round(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _round(value) for key, value in tree.items()}
    if isinstance(tree, float) and tree and math.isfinite(tree):
        return float(f"{tree:.4g}")
    return tree
