"""What claims compare: the scores of one method at one schedule length, as a ``ScoreSample``.

A row of a table of published numbers is a sample of one value; a study's sample holds the scores of
its replicates. A setting that the search tunes has no single value: the sample lists every value
that it could have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Labels = Mapping[str, frozenset[str]]
"""Column -> its values; several where a study tunes it."""
SampleKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSample:
    """Scores of one method in one regime at one schedule."""

    labels: Labels
    """What the sample is of (detector, arm, regime, metric, ...): claims select samples by it."""
    images: int
    """Training images."""
    length: float | None
    """In units of 1x; None for a schedule that has no such number (``converged``)."""
    values: Mapping[int, float]
    """Seed -> score. If a study repeats its searches: number of the search -> mean score of its
    replicates. A published number has one entry, 0 -> the number."""
    evidence: tuple[str, ...]
    """Trial ids, or the line of the table."""
    configuration: str
    """Id of the configuration. Two samples with the same id are two lengths or metrics of the same
    runs, so their values pair by seed. If a study repeats its searches, all lengths of a cell share
    one id and pair by search."""
    merit: float | None = None
    """The score on the select split, which the best length is chosen by; of a published number the
    number itself."""
    notes: tuple[str, ...] = ()
    """Caveats about this sample, as clauses."""
    looks: int = 1
    """How often results were read while replicates were added, or before the cell was; see
    ``statistics``."""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """Dotted path of the recipe -> value; empty for published numbers."""
    absent: str = ""
    """Why the search has no best configuration here, as a clause; empty where it has one."""
    all_failed: bool = False
    """The method itself ended every replicate, so that each counts as the worst score."""
    order: tuple[int, ...] = ()
    """Keys of ``values`` as they were proposed, with those that have no score (yet); empty: the
    order of ``values``."""
    failed: frozenset[int] = frozenset()
    """Keys of the values that count as the worst because the method itself ended the run."""

    @property
    def schedule(self) -> str:
        """Its schedule as the table spells it, such as ``6x``."""
        return next(iter(self.labels["schedule"]))

    @property
    def metric(self) -> str:
        """Its metric as the table spells it, such as ``ap``."""
        return next(iter(self.labels["metric"]))

    @property
    def key(self) -> SampleKey:
        """Configuration, schedule and metric: samples with equal keys hold the same numbers."""
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

    def up_to(self, num: int) -> "ScoreSample":
        """The same sample with its first ``num`` replicates (or searches) alone."""
        keys = (self.order or tuple(self.values))[:num]
        values = {key: value for key, value in self.values.items() if key in keys}
        evidence = self.evidence
        if len(evidence) == len(self.values):
            pairs = zip(self.values, evidence, strict=True)
            evidence = tuple(trial for key, trial in pairs if key in values)
        return replace(
            self,
            values=values,
            evidence=evidence,
            order=keys,
            failed=self.failed.intersection(keys),
            all_failed=bool(values) and self.failed.issuperset(values),
        )
