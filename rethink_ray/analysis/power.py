"""Before anything runs: which differences a study could see, given the noise between replicates."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rethink_ray.judge.look_errors import read_look_errors, rule_at_last_look
from rethink_ray.judge.matching import Comparison, find_comparisons
from rethink_ray.judge.measurements import expectation_of
from rethink_ray.judge.power import MOST_PLANNED, SIMULATED_STUDIES, Simulation
from rethink_ray.judge.questions import ask_about_arms, describe_headlines
from rethink_ray.judge.read.study_scores import read_scores
from rethink_ray.judge.rules import DecisionRule, rule_of
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES, pool_sds
from rethink_ray.judge.wording import UNITS, listed, unit_name
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.spec.claim import Claim, about, paper_claims
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What one comparison can show with the replicates of a plan."""

    name: str
    num_comparisons: int
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
    of_study = {n: _comparisons(c, samples) for n, c in claims.items()}
    family = headlines + sum(max(1, len(of_study[n])) for n, c in claims.items() if c.primary)
    simulation = Simulation(noise=noise, seed=seed)
    powers = []
    if headlines:
        name = f"headlines: {describe_headlines(study)}"
        rule = rule_of("above", study.margin, apart_by=family, margin_by=family)
        rule = _primary_rule(study, rule)
        powers.append(_power(simulation, rule, name, (headlines, 2), num))
    everyone: Mapping[str, Claim] = {**claims, **paper_claims()}
    for name, claim in everyone.items():
        comparisons = of_study[name] if name in of_study else _comparisons(claim, samples)
        if comparisons and not _is_of_two_metrics(claim) and not _is_of_no_score(comparisons):
            by = family if claim.primary else 1
            margin = claim.margin_within(study.margin)
            rule = rule_of(expectation_of(claim), margin, apart_by=by, margin_by=by)
            if claim.primary:
                rule = _primary_rule(study, rule)
            groups = _num_groups(claim, comparisons[0])
            powers.append(_power(simulation, rule, name, (len(comparisons), groups), num))
    return tuple(powers)


def _primary_rule(study: Study, rule: DecisionRule) -> DecisionRule:
    """The rule of a primary comparison; with looks, that of the last one."""
    errors = read_look_errors(study)
    return rule if errors is None else rule_at_last_look(errors, rule)


def measure_noise(study: Study, facts: DataFacts, state: StudyState) -> float:
    """The scatter between equal runs of a study so far: the standard deviation inside arms, pooled
    over arms, regimes and lengths. It says nothing of any difference.

    Raises:
        SpecError: no arm has two results yet.
    """
    samples = read_scores(build_tables(study, state, facts)).list_objective_samples()
    pooled = pool_sds(sample.numbers for sample in samples)
    if not pooled:
        must = f"must follow a study with two {unit_name(study)} of an arm that differ"
        remedy = "Give a number, such as --noise 1, or run the study for a while."
        raise SpecError(explain("plan --noise measured", must, "none so far", remedy))
    return pooled


def _power(
    simulation: Simulation, rule: DecisionRule, name: str, counts: tuple[int, int], num: int
) -> Power:
    """The power of one kind of comparison; ``counts``: how often it is made, and its groups."""
    num_comparisons, num_groups = counts
    simulated = simulation.power(num_groups, num, rule)
    return Power(
        name=name,
        num_comparisons=num_comparisons,
        num_groups=num_groups,
        level=rule.apart,
        smallest=simulated.smallest,
        equal=simulated.equal,
        equal_replicates=simulated.equal_replicates,
        one_sided=rule.expects in ("not_below", "catches_up"),
    )


def num_values(study: Study) -> int:
    """Values an arm will have at a length: replicates of one search's best, or searches."""
    searches = num_searches(study)
    return searches if searches > 1 else study.budget.num_replicates


def _look_lines(study: Study) -> Iterator[str]:
    """What looks add to the plan's power; nothing with a plain number."""
    errors = read_look_errors(study)
    if errors is not None:
        looks = listed([str(num) for num in errors.plan.looks])
        yield (
            f"the figures are those of the last look. The study looks at {looks} "
            f"{unit_name(study)}, and a comparison stops at the first look that decides it, or "
            "from which on further ones could hardly decide it."
        )


def power_lines(powers: tuple[Power, ...], noise: float, study: Study) -> Iterator[str]:
    """The plan's power as text."""
    num, unit = num_values(study), unit_name(study)
    yield (
        f"with noise {noise:g} AP between {unit} and {num} {unit} an arm "
        f"(margin {study.margin:g}; {SIMULATED_STUDIES:,} simulated studies):"
    )
    head = ("comparison", "places", "level", "smallest", "shows equal")
    yield "{:<46} {:>6} {:>7} {:>9} {:>12}  at 80 %".format(*head)
    for power in powers:
        needed = power.equal_replicates
        more = f"{needed} {unit}" if needed else f"more than {MOST_PLANNED}"
        kind = " (not behind)" if power.one_sided else ""
        yield (
            f"{power.name:<46} {power.num_comparisons:>6} {power.level:>7.3g} "
            f"{power.smallest:>6.2f} AP {power.equal:>11.0%}  {more}{kind}"
        )
    yield (
        "places: how often it is compared (regimes, lengths). level: p values below it count. "
        "smallest: the true difference found four times in five. shows equal: the chance that "
        f"contenders that are equal are shown to be, within the margin. at 80 %: the {unit} with "
        "which that chance is four in five."
    )
    yield from _look_lines(study)


def _design(study: Study, facts: DataFacts) -> tuple[int, list[ScoreSample]]:
    """How many headlines there will be, and the samples there will be, still empty."""
    scores = read_scores(build_tables(study, StudyState([]), facts))
    objective = scores.list_objective_samples()
    questions = [q for q in ask_about_arms(study) if q.family == "primary"]
    headlines = sum(len(question.measure(objective, study.margin)) for question in questions)
    return headlines, list(scores.list_samples())


def _comparisons(claim: Claim, samples: list[ScoreSample]) -> tuple[Comparison, ...]:
    comparisons = find_comparisons(claim, samples)
    return () if isinstance(comparisons, str) else comparisons


def _is_of_two_metrics(claim: Claim) -> bool:
    """Whether its noise is that of AP75 minus AP50 inside one run, not the noise that was given."""
    return claim.more is not None and "metric" in claim.more


def _is_of_no_score(comparisons: tuple[Comparison, ...]) -> bool:
    """Whether it is about drift or costs, which have a noise of their own."""
    return comparisons[0].matched_pairs[0].side.metric in UNITS


def _num_groups(claim: Claim, comparison: Comparison) -> int:
    """Groups of replicates in one comparison; a ladder is tested length by length."""
    pairs = comparison.matched_pairs
    pairs = pairs[-1:] if claim.expect == "catches_up" else pairs
    return sum(1 if m.against is None else 2 for m in pairs)
