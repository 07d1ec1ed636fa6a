"""One cell's curve: the objective on the report split against schedule length, from replicates.

The curve follows the incumbent *of each length*; the one-configuration curve follows the longest
length's incumbent down the ladder (He et al. 2018's protocol). Which length is best is chosen on
the select split, from search trials, so that the report split only ever judges.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rethink_ray.judge.questions import find_best_lengths
from rethink_ray.judge.read.trials import FAILED, CellRecord, Trial
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.protocol.convergence import Convergence
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.spec.resolve import base_recipe
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Replicates of one incumbent at one length; or several searches, each with its own."""

    length: float
    incumbent: str
    select: float | None
    """What the incumbent's search trial scored on the select split: best of many, so biased.
    Of several searches: their mean."""
    values: Mapping[int, float]
    """Seed -> score on the report split; a replicate the method ended counts as the worst.
    Of several searches: number of the search -> mean over its replicates."""
    trial_ids: tuple[str, ...]
    failed: tuple[str, ...]
    """Trial ids among them that the method ended before this length."""
    waiting: int
    """Replicates the budget asks for that have not come here yet; none of what cannot run."""
    looks: int = 1
    """How often it was replicated and looked at: 1, unless the study was resumed with more. Looks
    that the study planned are paid for by their levels, and count as 1."""
    unscored: int = 0
    """Replicates that came here and have no finite score: the split has no such object."""
    of_searches: Mapping[int, "CurvePoint"] = field(default_factory=dict)
    """Number of the search -> its own point; empty for a study with one search. ``incumbent`` is
    the best of theirs on the select split."""
    barren: tuple[int, ...] = ()
    """Searches that ended without anything here; each counts as the worst."""
    order: tuple[int, ...] = ()
    """Seeds (or numbers of searches) as they were proposed, with those that have no score (yet)."""

    @property
    def mean(self) -> Estimate | None:
        """Mean over replicates; None without any."""
        return mean_of(list(self.values.values()))

    @property
    def singles(self) -> tuple["CurvePoint", ...]:
        """One point per search: this one, if there is one search."""
        return tuple(self.of_searches.values()) or (self,)

    @property
    def of_incumbent(self) -> "CurvePoint":
        """The replicates of ``incumbent`` alone."""
        return next(p for p in self.singles if p.incumbent == self.incumbent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a cell's search found best, for the lengths it is best at."""

    trial_id: str
    lengths: tuple[float, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What one cell came to."""

    regime: str
    arm: str
    source: str
    """``init.source`` of the arm: random, torchvision, file or upstream."""
    lengths: tuple[float, ...]
    """The cell's whole ladder, reached or not."""
    points: tuple[CurvePoint, ...]
    one_configuration: tuple[CurvePoint, ...]
    best_length: float | None
    """Best incumbent on the select split; None before any search trial finished."""
    shortest_within: float | None
    """Shortest length whose incumbent is within the margin of it, on the select split."""
    configurations: tuple[Configuration, ...]
    states: Mapping[str, int]
    """State -> how many search trials ended so."""
    convergence: Convergence | None = None
    """Where its ladder ended; ``lengths`` then are those up to there."""

    def point(self, length: float) -> CurvePoint | None:
        """The curve at one length; None if no search trial finished there."""
        return next((p for p in self.points if p.length == length), None)


def cell_result(study: Study, record: CellRecord) -> CellResult:
    """The curve, best length and best configurations of one cell."""
    best = {length: trial for length in record.lengths if (trial := record.incumbent(length))}
    points = tuple(_point(study, record, trial, length) for length, trial in best.items())
    longest = best[max(best)] if best else None
    best_length, shortest = best_lengths(study, points)
    return CellResult(
        regime=record.cell.regime,
        arm=record.cell.arm,
        source=base_recipe(study, record.cell).init.source,
        lengths=record.lengths,
        points=points,
        one_configuration=_one_configuration(study, record, longest) if longest else (),
        best_length=best_length,
        shortest_within=shortest,
        configurations=tuple(
            Configuration(
                trial_id=trial.trial_id,
                lengths=tuple(n for n, t in best.items() if t.trial_id == trial.trial_id),
                params=trial.params,
            )
            for trial in {t.trial_id: t for t in best.values()}.values()
        ),
        states=dict(sorted(Counter(t.state for t in record.search).items())),
        convergence=record.convergence,
    )


def _point(study: Study, record: CellRecord, incumbent: Trial, length: float) -> CurvePoint:
    values: dict[int, float] = {}
    trial_ids, failed, unscored = [], [], 0
    rounds: set[int] = set()
    proposed = [r for r in record.replicates if r.of == incumbent.trial_id]
    num_expected = record.num_replicates if incumbent.can_run else len(proposed)
    for replicate in proposed:
        score = record.scores.get((replicate.trial_id, length))
        value = score.report if score else None
        if value is None and replicate.state in FAILED:
            value = WORST_SCORE
            failed.append(replicate.trial_id)
        if value is not None:
            values[replicate.seed] = value
            trial_ids.append(replicate.trial_id)
            rounds.add(replicate.round)
        elif score:
            unscored += 1
    best_score = record.scores.get((incumbent.trial_id, length))
    return CurvePoint(
        length=length,
        incumbent=incumbent.trial_id,
        select=best_score.select if best_score else None,
        values=values,
        trial_ids=tuple(trial_ids),
        failed=tuple(failed),
        waiting=max(0, num_expected - len(values) - unscored),
        looks=1 if has_looks(study) else max(1, len(rounds)),
        unscored=unscored,
        order=tuple(replicate.seed for replicate in proposed),
    )


def _one_configuration(study: Study, record: CellRecord, trial: Trial) -> tuple[CurvePoint, ...]:
    points = (_point(study, record, trial, length) for length in record.lengths)
    return tuple(p for p in points if p.values)


def best_lengths(study: Study, points: tuple[CurvePoint, ...]) -> tuple[float | None, float | None]:
    """(best, shortest within the margin of it) on the select split; of equals the shorter one."""
    merits = {p.length: p.select for p in points if p.select is not None}
    return find_best_lengths(merits, study.margin)
