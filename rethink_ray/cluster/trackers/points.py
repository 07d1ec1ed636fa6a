"""What trackers log: points, each with a card that says which trial it belongs to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rethink_ray.records.types import Member, Purpose, RungDone, TrialEnded
from rethink_ray.spec.space import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCard:
    """The trial that a point belongs to, as a tracker shows it."""

    study: str
    regime: str
    arm: str
    purpose: Purpose
    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A finished rung of a trial, or the end of a trial that the method ended."""

    card: TrialCard
    event: RungDone | TrialEnded

    @property
    def key(self) -> str:
        """Name of the point, unique in its study and the same after every restart."""
        event = self.event
        name = f"{event.length:g}x" if isinstance(event, RungDone) else "ended"
        return f"{event.trial_id}-{name}"


class Tracker(Protocol):
    """A service or folder that points are logged to."""

    def logged_keys(self) -> set[str]:
        """Keys of the points that it has."""
        ...

    def log(self, point: Point) -> None:
        """Take a point; written by now, or lost if this raises."""
        ...


def drop_undefined(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without those that are not defined, such as AP of a size without objects."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def drop_none(params: Mapping[str, Value]) -> dict[str, str | int | float | bool]:
    """Sampled values without those that are ``None``."""
    return {path: value for path, value in params.items() if value is not None}
