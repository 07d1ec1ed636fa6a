"""What claims compare: scores of one method at one schedule length, wherever they come from.

A published number is a sample of one value; a study's sample holds its replicates. A path that the
search tunes has no single value: the sample lists every value that it could have there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, frozenset[str]]
"""Column -> its values; several where a study tunes it."""
SampleKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSample:
    """Scores of one method in one regime at one schedule."""

    labels: Labels
    images: int
    length: float | None
    """In units of 1x; None for a schedule that has no such number (``converged``)."""
    values: Mapping[int, float]
    """Seed -> score; for a published number 0 -> the number; for a study with several searches of
    a cell number of the search -> mean over its replicates."""
    evidence: tuple[str, ...]
    """Trial ids, or the line of the table."""
    configuration: str
    """What two samples share that are one configuration: their values pair by seed. All lengths
    of a cell with several searches share one: they pair by search, and never with those of another
    study."""
    merit: float | None = None
    """What ``best`` is chosen by: the score on the select split; a published number itself."""
    notes: tuple[str, ...] = ()
    looks: int = 1
    """How often its replicates were added to and looked at."""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """Dotted path -> value; empty for published numbers."""
    absent: str = ""
    """Why the search has no best configuration here, as a clause; empty where it has one."""
    all_failed: bool = False
    """The method itself ended every replicate, so that each counts as the worst score."""

    @property
    def schedule(self) -> str:
        """As its table spells it."""
        return next(iter(self.labels["schedule"]))

    @property
    def metric(self) -> str:
        """As its table spells it."""
        return next(iter(self.labels["metric"]))

    @property
    def key(self) -> SampleKey:
        """What makes two samples the same numbers: configuration, schedule and metric."""
        return (self.configuration, self.schedule, self.metric)

    @property
    def regime(self) -> str:
        """Its regime; empty for a table without that column."""
        return next(iter(self.labels.get("regime", frozenset())), "")

    @property
    def arm(self) -> str:
        """Its arm; empty for published numbers."""
        return next(iter(self.labels.get("arm", frozenset())), "")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Its values in order."""
        return tuple(self.values.values())
