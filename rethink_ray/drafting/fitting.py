"""Chooses the design whose study, planned job by job, ends within the hours."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from rethink_ray.judge.power import Simulation
from rethink_ray.judge.questions import ask_about_arms
from rethink_ray.judge.rules import rule_of
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.records.run_progress import HoursRange
from rethink_ray.search.design import (
    Design,
    DesignRequest,
    find_smallest_design,
    rank_designs,
    refuse_hours,
)
from rethink_ray.search.hours import estimate_hours
from rethink_ray.search.paces import Paces
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study

ATTEMPTS = 4
CORRECTED = ("primary", "secondary")
"""Families of comparisons that are corrected together."""
ENOUGH_USED = 0.85
"""A study that takes this share of the hours at most is not made longer."""
SAFETY = 0.97
"""The next attempt aims at this share of the hours, since designs come in steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedDesign:
    """A design, its study, and what that takes and can tell."""

    design: Design
    study: Study
    hours: HoursRange
    detectable: tuple[float, float]
    """The smallest difference that is found at 80 % power, at the low and the high noise."""


def fit_design(
    request: DesignRequest,
    build_study: Callable[[Design], Study],
    facts: DataFacts,
    paces: Paces,
) -> FittedDesign:
    """The best design whose study ends within the hours even where much goes slowly.

    A design's own cost is a bound that nearly every study stays below. So its study is planned job
    by job, and the budget of the next attempt is corrected by the ratio of the two.

    Args:
        request: the hours and all else.
        build_study: design -> its study.
        facts: of the data, with every regime that a design may have.
        paces: of the arms, and of assets if they are known.

    Raises:
        SpecError: no sensible design fits; the message says how many hours the smallest one needs.
    """
    best: tuple[float, Design, Study, HoursRange] | None = None
    budget, tried, ratio = request.hours, set[Design](), 1.0
    for _ in range(ATTEMPTS):
        try:
            rated = rank_designs(replace(request, hours=budget))[0]
        except SpecError:
            break
        if rated.design in tried:
            break
        tried.add(rated.design)
        study = build_study(rated.design)
        sobol = study.model_copy(
            update={"sampler": "quasi_random"}
        )  # as many jobs, proposed faster
        hours = estimate_hours(sobol, facts, paces, slots=request.slots)
        ratio = hours.high / rated.hours
        if hours.high <= request.hours and (best is None or rated.worth > best[0]):
            best = (rated.worth, rated.design, study, hours)
        if ENOUGH_USED * request.hours <= hours.high <= request.hours:
            break
        budget = SAFETY * request.hours / ratio
    if best is None:
        raise refuse_hours(request, find_smallest_design(request), max(ratio, 1.0))
    _, design, study, hours = best
    return FittedDesign(
        design=design, study=study, hours=hours, detectable=find_detectable(study, request)
    )


def find_detectable(study: Study, request: DesignRequest) -> tuple[float, float]:
    """The smallest difference between two arms that four studies in five find, for the low and the
    high end of the noise.

    Comparisons are corrected in families, as ``plan --noise`` does it; the largest one counts.
    """
    families = Counter(question.family for question in ask_about_arms(study))
    largest = max(num for name, num in families.items() if name in CORRECTED)
    searches = num_searches(study)
    noise = request.noise.between_searches() if searches > 1 else request.noise
    num = searches if searches > 1 else study.budget.num_replicates
    rule = rule_of("above", study.margin, apart_by=largest)
    low, high = (
        Simulation(noise=sd, seed=0).find_smallest(2, num, rule) for sd in (noise.low, noise.high)
    )
    return low, high
