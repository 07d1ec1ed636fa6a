"""Planted truth for studies that stop when they have decided, judged by the code that they run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from rethink_ray.judge.look_errors import LookErrors
from rethink_ray.judge.look_tests import PrimaryComparison
from rethink_ray.judge.looks import LookDecisions, decide_looks
from rethink_ray.judge.questions import Question, ask_about_arms
from rethink_ray.judge.spending import LookPlan
from rethink_ray.judge.statistics import Estimate
from tests.analysis.planted import build_study
from tests.judge.rows import build_sample
from tests.judge.sequential import LOOKS
from tests.judge.two_groups import welch

MARGIN = 0.5
TRUTHS = (0.0, 0.5, 1.0, 2.0, 4.0)
ERRORS = LookErrors(plan=LookPlan(looks=LOOKS))


def ask_of(num_arms: int) -> list[Question]:
    """The headlines of a study with so many arms."""
    arms = {f"a{i}": {"set": {"optimizer.momentum": 0.8 + 0.01 * i}} for i in range(1, num_arms)}
    study = build_study(arms={"scratch": {}} | arms, margin=MARGIN)
    return [question for question in ask_about_arms(study) if question.family == "primary"]


@dataclass(frozen=True)
class Simulated:
    """One study, as far as it ran."""

    decisions: LookDecisions
    num_run: Mapping[str, int]
    """Arm -> replicates that it has in the end."""


def run_study(questions: Sequence[Question], scores: Mapping[str, Sequence[float]]) -> Simulated:
    """Looks at nine planted scores of each arm until nothing is open."""
    samples = [build_sample(arm, 6.0, row) for arm, row in scores.items()]
    by_look: dict[int, tuple[PrimaryComparison, ...]] = {}
    num_run, running = dict.fromkeys(scores, 0), set(scores)
    for number in LOOKS:
        num_run |= dict.fromkeys(running, number)
        cut = [sample.up_to(number) for sample in samples]
        by_look[number] = tuple(
            PrimaryComparison(key=question.claim.says, measured=measured)
            for question in questions
            for measured in question.measure(cut, MARGIN)
        )
        decisions = decide_looks(ERRORS, by_look)
        running = {arm for _, arm in decisions.open_arms}
        if not running:
            break
    return Simulated(decisions, num_run)


def is_wrong(verdict: str, truth: float) -> bool:
    """Whether a verdict is an error, if the second arm truly leads by ``truth`` (0 or more)."""
    match verdict:
        case "supported":
            return truth == 0.0
        case "contradicted":
            return True
        case "equivalent":
            return truth >= MARGIN
    return False


def holds(effect: Estimate | None, truth: float) -> bool:
    interval = effect.interval() if effect else None
    assert interval is not None
    return interval[0] <= truth <= interval[1]


@pytest.mark.slow
@pytest.mark.parametrize(("num_arms", "noise"), [(2, 0.3), (2, 1.0), (6, 0.3), (6, 1.0)])
def test_few_families_err_intervals_hold_and_runs_are_saved(num_arms: int, noise: float) -> None:
    """Other lengths share nine tenths of their noise with the length of the headline."""
    rng, questions = np.random.default_rng([num_arms, round(10 * noise)]), ask_of(num_arms)
    arms = ["scratch", *(f"a{i}" for i in range(1, num_arms))]
    num_studies = 400 if num_arms == 2 else 200
    wrong, spent, shown = 0, 0, []
    covered: dict[str, list[bool]] = {
        name: [] for name in ("look", "naive", "early", "length", "early length", "pair")
    }
    for _ in range(num_studies):
        truth = dict(zip(arms, (0.0, *rng.choice(TRUTHS, num_arms - 1)), strict=True))
        luck, other = rng.normal(size=(2, num_arms, LOOKS[-1]))
        alike = 0.9 * luck + 0.19**0.5 * other
        scores, longer = (
            {a: (20.0 + truth[a] + noise * drawn[i]).tolist() for i, a in enumerate(arms)}
            for drawn in (luck, alike)
        )
        study = run_study(questions, scores)
        spent += sum(study.num_run.values())
        outcomes = dict(zip(arms[1:], study.decisions.comparisons, strict=True))
        wrong += any(is_wrong(o.verdict, truth[arm]) for arm, o in outcomes.items())
        run = {arm: (scores[arm][:n], longer[arm][:n]) for arm, n in study.num_run.items()}
        for arm, outcome in outcomes.items():
            effect = outcome.comparison.effect
            assert effect is not None
            shown.append(outcome.verdict in ("supported", "contradicted", "equivalent"))
            covered["look"].append(holds(effect, truth[arm]))
            naive = holds(replace(effect, errors=()), truth[arm])
            at_length = holds(welch(run[arm][1], run["scratch"][1]), truth[arm])
            covered["naive"].append(naive)
            covered["length"].append(at_length)
            if outcome.stop.number < LOOKS[-1] and outcome.stop.is_decided:
                covered["early"].append(naive)
                covered["early length"].append(at_length)
            for earlier in arms[1 : arms.index(arm)]:
                between = welch(run[arm][0], run[earlier][0])
                covered["pair"].append(holds(between, truth[arm] - truth[earlier]))
    rates = {name: np.mean(values) for name, values in covered.items() if values}
    saved = 1.0 - spent / (num_studies * num_arms * LOOKS[-1])
    text = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
    print(f"{num_arms} arms, noise {noise}: {wrong / num_studies:.1%} wrong, {text}", end="; ")
    print(f"saved {saved:.0%}, decided {np.mean(shown):.0%}")
    slack = 2.0 * (0.05 * 0.95 / num_studies) ** 0.5
    assert wrong / num_studies <= 0.05 + slack
    assert rates["look"] >= 0.95 - slack
    assert min(rates["length"], rates.get("pair", 1.0)) >= 0.93 - slack
    assert saved > 0.1
