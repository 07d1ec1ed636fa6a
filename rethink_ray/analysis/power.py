"""Before anything runs: which differences a study could see, given the noise between replicates.

Simulated, because Welch's degrees of freedom vary from study to study, which at three replicates
costs a tenth of the power that a formula with fixed ones promises.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rethink_ray.analysis.pairs import build_pair, judged_at, reference_arm, twins
from rethink_ray.analysis.read.samples import study_samples
from rethink_ray.analysis.read.searches import cell_results
from rethink_ray.analysis.read.trials import read_cells
from rethink_ray.judge.matching import Comparison, comparisons
from rethink_ray.judge.samples import Sample
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, LEVEL, MIN_REPLICATES, POWER
from rethink_ray.judge.verdicts import ALPHA
from rethink_ray.judge.wording import UNITS, unit_name
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.spec.claim import Claim, about, paper_claims
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

REPEATS = 20_000
MOST_REPLICATES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What one comparison can show with the replicates of a plan."""

    name: str
    num_places: int
    """How often it is made: regimes, lengths."""
    num_groups: int
    """Independent groups of replicates in it: 2 for a difference, 4 for one of differences."""
    level: float
    """Of error, divided by the family."""
    smallest: float
    """The difference found four times in five."""
    equal: float
    """Chance to show that equal contenders are equal, or not behind, within the margin."""
    equal_replicates: int | None
    """Replicates with which that chance is four in five; None: more than thirty."""
    one_sided: bool
    """``equal`` is about not being behind."""


def plan_power(study: Study, facts: DataFacts, noise: float, seed: int = 0) -> tuple[Power, ...]:
    """Headlines first, then every claim that the design can test, the study's own before others.

    Args:
        study: as planned.
        facts: of its data.
        noise: standard deviation in points between replicates, or between searches (each the mean
            of its replicates) where a cell has several.
        seed: of the simulation.

    Raises:
        SpecError: noise that is no number above zero, or too few replicates for an interval.
    """
    if not (math.isfinite(noise) and noise > 0.0):
        remedy = "0.1 to 0.2 AP on COCO, 0.4 to 0.5 on VOC, 1 and more on small data."
        raise SpecError(explain("plan --noise", "must be a number above zero", noise, remedy))
    num = num_values(study)
    if num < MIN_REPLICATES:
        must = f"must be at least {MIN_REPLICATES} for an interval"
        raise SpecError(explain(f"budget.{unit_name(study)}", must, num))
    headlines, samples = _design(study, facts)
    claims = about(study.objective.metric, study.claims)
    own = {n: _places(c, samples) for n, c in claims.items()}
    family = headlines + sum(max(1, len(own[n])) for n, c in claims.items() if c.primary)
    simulated = _Simulated(noise=noise, margin=study.margin, seed=seed)
    found = []
    if headlines:
        plain = Claim(says="headline", side={}, against={})
        name = f"headlines: {judged_at(study)}"
        found.append(simulated.power(name, headlines, 2, ALPHA / family, plain, num))
    everyone: Mapping[str, Claim] = {**claims, **paper_claims()}
    for name, claim in everyone.items():
        places = own[name] if name in own else _places(claim, samples)
        level = ALPHA / family if claim.primary else ALPHA
        if places and not _of_two_metrics(claim) and not _of_no_score(places):
            groups = _num_groups(claim, places[0])
            found.append(simulated.power(name, len(places), groups, level, claim, num))
    return tuple(found)


def num_values(study: Study) -> int:
    """Values an arm will have at a length: replicates of one search's best, or searches."""
    budget = study.budget
    return budget.searches if budget.searches > 1 else budget.replicates


def power_lines(powers: tuple[Power, ...], noise: float, study: Study) -> Iterator[str]:
    """The plan's power as text."""
    num, unit = num_values(study), unit_name(study)
    yield (
        f"with noise {noise:g} AP between {unit} and {num} {unit} an arm "
        f"(margin {study.margin:g}; {REPEATS:,} simulated studies):"
    )
    head = ("comparison", "places", "level", "smallest", "shows equal")
    yield "{:<46} {:>6} {:>7} {:>9} {:>12}  at 80 %".format(*head)
    for power in powers:
        needed = power.equal_replicates
        more = f"{needed} {unit}" if needed else f"more than {MOST_REPLICATES}"
        kind = " (not behind)" if power.one_sided else ""
        yield (
            f"{power.name:<46} {power.num_places:>6} {power.level:>7.3g} "
            f"{power.smallest:>6.2f} AP {power.equal:>11.0%}  {more}{kind}"
        )
    yield (
        "smallest: the true difference found four times in five. shows equal: the chance that "
        "contenders that are equal are shown to be, within the margin."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulated:
    noise: float
    margin: float
    seed: int

    def power(
        self, name: str, places: int, groups: int, level: float, claim: Claim, num: int
    ) -> Power:
        one_sided = claim.expect in ("not_below", "catches_up")
        margin = claim.margin_within(self.margin)
        chance, needed = self._equal(groups, num, margin, one_sided), None
        for more in range(MIN_REPLICATES, MOST_REPLICATES + 1):
            if self._equal(groups, more, margin, one_sided) >= POWER:
                needed = more
                break
        error, se, df = self._draw(groups, num)
        threshold = stdtrit(df, 1.0 - level / 2.0) * se - error
        return Power(
            name=name,
            num_places=places,
            num_groups=groups,
            level=level,
            smallest=float(np.quantile(threshold, POWER)),
            equal=chance,
            equal_replicates=needed,
            one_sided=one_sided,
        )

    def _equal(self, groups: int, num: int, margin: float, one_sided: bool) -> float:
        error, se, df = self._draw(groups, num)
        half = stdtrit(df, 0.5 + (LEVEL if one_sided else EQUIVALENCE_LEVEL) / 2.0) * se
        inside = error - half > -margin
        if not one_sided:
            inside &= error + half < margin
        return float(np.mean(inside))

    def _draw(
        self, groups: int, num: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Errors of the estimate, its standard errors and degrees of freedom, one per study."""
        rng = np.random.default_rng([self.seed, groups, num])
        error = rng.normal(0.0, self.noise * math.sqrt(groups / num), REPEATS)
        chi = rng.chisquare(num - 1, (REPEATS, groups))
        parts = self.noise**2 * chi / (num - 1) / num
        total = parts.sum(axis=1)
        df = total**2 / (parts**2 / (num - 1)).sum(axis=1)
        return error, np.sqrt(total), df


def _design(study: Study, facts: DataFacts) -> tuple[int, list[Sample]]:
    """How many headlines there will be, and the samples there will be, still empty."""
    tables = build_tables(study, StudyState([]), facts)
    records = read_cells(tables)
    results = cell_results(study, records)
    second_names, headlines = twins(study), 0
    for regime in study.regimes:
        cells = {arm: results[Cell(regime, arm)] for arm in study.arms}
        reference = reference_arm(study, cells)
        for arm, cell in cells.items():
            if arm != reference and arm not in second_names:
                headlines += bool(build_pair(study, cells[reference], cell).rungs)
    return headlines, list(study_samples(study, facts, records, results))


def _places(claim: Claim, samples: list[Sample]) -> tuple[Comparison, ...]:
    found = comparisons(claim, samples)
    return () if isinstance(found, str) else found


def _of_two_metrics(claim: Claim) -> bool:
    """The noise of AP75 minus AP50 inside one run is not the noise that was given."""
    return claim.more is not None and "metric" in claim.more


def _of_no_score(places: tuple[Comparison, ...]) -> bool:
    """Drift and costs have a noise of their own."""
    return places[0].matched_pairs[0].side.metric in UNITS


def _num_groups(claim: Claim, place: Comparison) -> int:
    """Groups of replicates in one place; a ladder is tested rung by rung."""
    matched_pairs = (
        place.matched_pairs[-1:] if claim.expect == "catches_up" else place.matched_pairs
    )
    return sum(1 if m.against is None else 2 for m in matched_pairs)
