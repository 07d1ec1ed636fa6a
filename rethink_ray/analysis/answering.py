"""From a study's records to its ``Answer``.

``judge.arm_choice`` chooses an arm; here the choice gets its configuration, its expected score, and
the price of deciding what is open.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from rethink_ray.analysis.answer import (
    Answer,
    NextStep,
    OpenQuestion,
    RankedArm,
    Recommendation,
    RegimeAnswer,
)
from rethink_ray.analysis.answer_words import (
    say_looks,
    say_open,
    say_regime,
    say_why_not_compared,
)
from rethink_ray.analysis.read.prices import count_accelerators
from rethink_ray.analysis.sections.section import SectionInput
from rethink_ray.judge.arm_choice import ArmChoice, OpenComparison, choose_arm
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.best_set import interval_of_chosen
from rethink_ray.judge.corrections import Corrections
from rethink_ray.judge.look_errors import read_look_errors
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES, Estimate, mean_of
from rethink_ray.protocol.cell_rules import has_looks, num_searches
from rethink_ray.spec.batches import count_passes
from rethink_ray.spec.cost_order import order_by_cost
from rethink_ray.spec.draws import redraws
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.settings import used_value_at, with_settings
from rethink_ray.spec.study import Study


def derive_answer(
    given: SectionInput, samples: Sequence[ScoreSample], corrections: Corrections
) -> Answer:
    """The answer of a study, finished or not.

    Args:
        given: the study, its records, costs and findings.
        samples: of its objective.
        corrections: of its findings, so that both agree.
    """
    second_names = find_twins(given.study)
    contenders = [s for s in samples if s.arm not in second_names]
    answers = []
    for regime in given.study.regimes:
        order = order_by_cost(given.study, given.facts, regime)
        choice = choose_arm(given.study, regime, contenders, order, corrections)
        answers.append(_answer_regime(given, choice))
    return Answer(study=given.study.study, regimes=tuple(answers), next=_find_next(given, answers))


def _answer_regime(given: SectionInput, choice: ArmChoice) -> RegimeAnswer:
    questions = tuple(_price_open(given, choice.regime, one) for one in choice.open)
    answer = RegimeAnswer(
        regime=choice.regime,
        num_images=given.facts.regime_sizes.get(choice.regime, 0),
        headline="",
        paragraph="",
        recommended=_recommend(given, choice),
        why=choice.why,
        arms=_rank_arms(given.results, choice),
        open=questions,
        looks=tuple(say_looks(given.study, given.findings, choice.regime, questions)),
    )
    varies = redraws(given.study, given.facts, choice.regime)
    sentences = say_regime(given.study, answer, varies=varies)
    return replace(answer, headline=sentences[0], paragraph=" ".join(sentences))


def _recommend(given: SectionInput, choice: ArmChoice) -> Recommendation | None:
    if choice.arm is None:
        return None
    study, cell = given.study, Cell(choice.regime, choice.arm)
    sample = choice.samples[choice.arm]
    point = given.results[cell].point(sample.length or 0.0)
    assert point is not None, "an arm that is chosen has a best configuration"
    trial = next(t for t in given.records[cell].search if t.trial_id == point.incumbent)
    recipe = with_settings(base_recipe(study, cell), trial.params, cell.name)
    updates = recipe.schedule.steps(point.length)
    num_images = given.facts.regime_sizes.get(choice.regime, 0)
    mean = mean_of(sample.numbers, sample.looks)
    errors = read_look_errors(study)
    is_early = errors is not None and mean is not None and mean.nums[0] < errors.most
    num_arms = len(choice.judged)
    return Recommendation(
        arm=choice.arm,
        length=point.length,
        updates=updates,
        passes=count_passes(recipe, updates, num_images),
        trial_id=trial.trial_id,
        rate=float(used_value_at(recipe, "optimizer.lr")),
        params=trial.params,
        file=f"{choice.regime}-best.yaml",
        mean=mean,
        expected=_expected(mean, num_arms, before_last_look=is_early) if mean else None,
        num_arms=num_arms,
        before_last_look=is_early,
    )


def _expected(
    mean: Estimate, num_arms: int, *, before_last_look: bool
) -> tuple[float, float] | None:
    """The interval of the chosen arm, inside the points that a score can have."""
    ends = interval_of_chosen(mean, num_arms, before_last_look=before_last_look)
    return (max(0.0, ends[0]), min(100.0, ends[1])) if ends else None


def _rank_arms(results: Mapping[Cell, CellResult], choice: ArmChoice) -> tuple[RankedArm, ...]:
    ranked = [_rank_arm(results, choice, sample) for sample in choice.samples.values()]
    return tuple(sorted(ranked, key=_place))


def _place(ranked: RankedArm) -> tuple[bool, float]:
    """Arms that were compared before all others; the highest mean first."""
    return (bool(ranked.why_not), -ranked.mean.value if ranked.mean else 0.0)


def _rank_arm(
    results: Mapping[Cell, CellResult], choice: ArmChoice, sample: ScoreSample
) -> RankedArm:
    arm, best = sample.arm, choice.best
    is_judged = best is not None and arm in choice.judged
    point = results[Cell(choice.regime, arm)].point(sample.length or 0.0)
    return RankedArm(
        arm=arm,
        length=sample.length if point else None,
        mean=mean_of(sample.numbers, sample.looks),
        may_be_best=arm in best.arms if best and is_judged else None,
        behind=best.behind[arm] if best and is_judged else None,
        shown_behind=choice.shown_behind.get(arm, ""),
        why_not=""
        if arm in choice.judged
        else say_why_not_compared(sample, point.unscored if point else 0),
    )


def _price_open(given: SectionInput, regime: str, comparison: OpenComparison) -> OpenQuestion:
    needed = None if comparison.is_equal else comparison.needed
    hours = estimate_more_hours(given, needed) if needed else None
    question = OpenQuestion(
        arms=comparison.arms,
        lead=comparison.lead,
        is_equal=comparison.is_equal,
        needed=needed,
        hours=hours,
        sentence="",
        stop=comparison.stop,
    )
    return replace(question, sentence=say_open(given.study, regime, question))


def _find_next(given: SectionInput, answers: Iterable[RegimeAnswer]) -> NextStep | None:
    """The step that decides the first open question; three replicates where there are fewer.

    None where the study adds them itself: what its looks leave open, later ones do not decide.
    """
    if has_looks(given.study):
        return None
    option = "--searches" if num_searches(given.study) > 1 else "--replicates"
    regimes = list(answers)
    if any(answer.why in ("no_interval", "unreplicated", "none") for answer in regimes) and (
        _num_values_asked(given.study) < MIN_REPLICATES
    ):
        return NextStep(
            option=f"{option} {MIN_REPLICATES}",
            hours=estimate_more_hours(given, MIN_REPLICATES),
            decides="how much of each score is luck",
        )
    waiting = [
        (one.needed, one.hours, f"whether {one.arms[0]} ends above {one.arms[1]} on {a.regime}")
        for a in regimes
        for one in a.open
        if one.needed is not None
    ]
    if not waiting:
        return None
    needed, hours, decides = min(waiting, key=lambda step: step[0])
    return NextStep(option=f"{option} {needed}", hours=hours, decides=decides)


def _num_values_asked(study: Study) -> int:
    searches = num_searches(study)
    return searches if searches > 1 else study.budget.num_replicates


def estimate_more_hours(given: SectionInput, num: int) -> float | None:
    """Hours until every cell has so many replicates (or searches), as ``resume`` would add them.

    By the time that those of each cell have taken so far; None where a cell has none to go by.
    """
    seconds = [_seconds_to(given.study, record, given.cost, num) for record in _running(given)]
    known = [s for s in seconds if s is not None]
    if not known or len(known) < len(seconds):
        return None
    return sum(known) * count_accelerators(given.study) / 3600.0


def _running(given: SectionInput) -> list[CellRecord]:
    """Cells that have a configuration to repeat."""
    return [given.records[cell] for cell, result in given.results.items() if result.points]


def _seconds_to(study: Study, record: CellRecord, cost: StudyCost, num: int) -> float | None:
    searches = num_searches(study)
    if searches > 1:
        spent = sum(t.seconds for t in (*record.search, *record.replicates))
        return max(0, num - searches) * spent / searches if spent else None
    ended = [t.seconds + _own_asset_seconds(record, cost, t.assets) for t in record.replicates]
    if not any(ended):
        return None
    done = Counter(trial.of for trial in record.replicates)
    repeated = {t.trial_id for t in record.search if t.incumbent_for and t.can_run}
    return sum(max(0, num - done[trial_id]) for trial_id in repeated) * fmean(ended)


def _own_asset_seconds(record: CellRecord, cost: StudyCost, keys: Sequence[str]) -> float:
    """Time of the assets that only this replicate starts from, such as a first stage of its own."""
    used = Counter(key for t in (*record.search, *record.replicates) for key in t.assets)
    return cost.seconds_of(key for key in keys if used[key] == 1)
