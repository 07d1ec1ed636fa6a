"""What a verdict costs: planted surfaces, the rivals' rules, and one rule of verdicts for all."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from verdicts.answers import Answer, Winner  # noqa: E402
from verdicts.one_rule import claim_from_means, is_true, judge_answer  # noqa: E402
from verdicts.program import UNIT, CellRun, Repeated, answer_fixed, run_study  # noqa: E402
from verdicts.rivals import grid_rates, sweep, try_grid, tune_each_arm  # noqa: E402
from verdicts.sequential import answer_until_decided, take_looks  # noqa: E402
from verdicts.surfaces import (  # noqa: E402
    ARMS,
    FAMILIES,
    LENGTHS,
    NOISE_SDS,
    QUESTIONS,
    REGIMES,
    ArmSurface,
    Question,
    draw_surface,
    draw_surfaces,
)
from verdicts.tally import Tally, rate_against_rivals, score_answer, score_answers  # noqa: E402
from verdicts.tune_replay import Asha, replay_tune  # noqa: E402

from rethink_ray.analysis.read.published_tables import load_published  # noqa: E402
from rethink_ray.judge.verdicts import Verdict  # noqa: E402

RANDOM = ArmSurface(level=41.3, patience=1.0, best_rate=-2.0, drift=0.3, steepness=4.0, sd=0.2)


def published_aps(table: str, **labels: str) -> dict[str, float]:
    """Schedule -> AP of the rows that carry these labels."""
    rows = load_published(f"published:{table}").rows
    labels = {"metric": "ap"} | labels
    chosen = [row for row in rows if all(row.labels[k] == v for k, v in labels.items())]
    return {row.labels["schedule"]: row.value for row in chosen}


def test_surfaces_have_the_published_numbers_at_their_lengths() -> None:
    surface = draw_surface("he_2018", "quiet", 3)
    for arm, init in (("reference", "random"), ("second", "imagenet")):
        published = published_aps("he_2018", backbone="resnet50", init=init, regime="coco_full")
        assert len(published) == 5
        for schedule, ap in published.items():
            length = float(schedule.removesuffix("x"))
            assert surface.arms["full", arm].best_ap(length) == pytest.approx(ap, abs=0.02)
    for regime, levels in (("coco_3.5k", (9.3, 16.0)), ("coco_1k", (5.4, 9.9))):
        index = ("coco_3.5k", "coco_1k").index(regime)
        assert FAMILIES["he_2018_small"].levels is not None
        assert FAMILIES["he_2018_small"].levels[index][:2] == levels


def test_best_rates_fall_with_length_and_too_high_a_rate_costs_twice_as_much() -> None:
    assert RANDOM.true_ap(0.01, 2.0) == pytest.approx(36.79, abs=0.01)
    assert RANDOM.true_ap(0.001, 2.0) == pytest.approx(36.79 - 4.0, abs=0.01)
    assert RANDOM.true_ap(0.01 * 10**0.5, 2.0) == pytest.approx(36.79 - 2 * 4.0 / 4, abs=0.01)
    assert RANDOM.true_ap(0.01 * 10**0.85, 2.0) == 0.0  # diverges
    assert RANDOM.true_ap(0.01 * 10**-0.3, 6.0) == pytest.approx(41.3)


def test_a_run_that_is_looked_at_before_its_drop_lies_six_points_lower() -> None:
    best = 10 ** (-2.0 - 0.3)
    lower = RANDOM.true_ap(best, 6.0) - RANDOM.ap_before_drop(best, 6.0)
    assert lower == pytest.approx(6.5, abs=0.05)
    high = RANDOM.true_ap(0.01, 6.0) - RANDOM.ap_before_drop(0.01, 6.0)
    assert high > lower + 2.0


def test_truths_are_differences_of_arms_at_their_own_best_rates() -> None:
    surface = draw_surface("he_2018", "noisy", 0)
    leads = {length: surface.truth(Question(regime="full", arm="second", length=length))
             for length in LENGTHS}  # fmt: skip
    assert leads[2.0] == pytest.approx(3.5, abs=0.02)
    assert leads[6.0] == pytest.approx(-0.2)
    assert not any(draw_surface("equal", "quiet", 1).truth(question) for question in QUESTIONS)
    assert len(QUESTIONS) == 12


def test_surfaces_repeat_with_their_number_and_noise_with_its_run() -> None:
    surface = draw_surface("drawn", "quiet", 5)
    assert surface == draw_surface("drawn", "quiet", 5)
    assert surface.arms != draw_surface("drawn", "quiet", 6).arms
    cell = ("full", ARMS[0])
    assert surface.measure(cell, 0.02, "a", 6.0) == surface.measure(cell, 0.02, "a", 6.0)
    assert surface.measure(cell, 0.02, "a", 6.0) != surface.measure(cell, 0.02, "b", 6.0)
    errors = [
        surface.measure(cell, 0.02, run, 6.0) - surface.arms[cell].true_ap(0.02, 6.0)
        for run in range(400)
    ]
    spread = (sum(error**2 for error in errors) / 400) ** 0.5
    assert spread == pytest.approx(NOISE_SDS["quiet"][0], rel=0.15)
    assert len(list(draw_surfaces(2))) == 2 * 2 * len(FAMILIES)


def test_a_trial_stops_below_the_upper_quartile_of_those_before_it_at_its_rung() -> None:
    asha = Asha(longest=6.0)
    assert [asha.is_stopped(n, 1.0, v) for n, v in enumerate((3.0, 1.0, 2.0))] == [
        False,  # nothing to compare with
        True,  # below 3
        True,  # below 2.5, the upper quartile of 3 and 1
    ]
    assert not asha.is_stopped(3, 1.0, 2.5)  # the upper quartile of 3, 1 and 2 is 2.5
    assert not asha.is_stopped(3, 2.0, 0.0)  # no rung between 1x and 4x
    assert not asha.is_stopped(3, 4.0, 0.0)  # the first at 4x
    assert asha.is_stopped(0, 6.0, 9.0)  # the end in any case
    # A trial of a sweep of 6x that itself ends at 2x has passed its only rung.
    assert not asha.is_stopped(0, 2.0, -1.0)


def test_a_replayed_experiment_fills_its_slots_and_counts_what_it_trained() -> None:
    values = {0: 3.0, 1: 1.0, 2: 2.0, 3: 5.0}
    from optuna.distributions import FloatDistribution

    trials = replay_tune(
        {"x": FloatDistribution(0.0, 1.0)},
        lambda number, params, time: (values[number], time == 2.0),
        4,
        longest=6.0,
        seed=0,
        slots=2,
    )
    assert [trial.time for trial in trials] == [2.0, 1.0, 1.0, 2.0]
    assert [trial.is_finished for trial in trials] == [True, False, False, True]
    assert len({trial.params["x"] for trial in trials}) == 4


def test_one_score_may_claim_a_lead_of_three_times_the_noise_that_it_is_told() -> None:
    surface = draw_surface("equal", "quiet", 0)

    def answer(lead: float, num: int = 1) -> Answer:
        winners = {
            ("full", arm, 6.0): Winner(rate=0.02, scores=(40.0 + up,) * num)
            for arm, up in (("reference", 0.0), ("second", lead))
        }
        return Answer(
            policy="by hand", budget="", winners=winners, updates=1.0, updates_longest=1.0
        )

    asked = Question(regime="full", arm="second", length=6.0)
    other = Question(regime="small", arm="second", length=6.0)
    # 0.05 shared by two comparisons is z = 2.24, which is a lead of 2.24 * 0.2 * sqrt(2) = 0.63
    assert judge_answer(answer(0.60), surface.sds, (asked, other))[asked] is Verdict.INCONCLUSIVE
    assert judge_answer(answer(0.68), surface.sds, (asked, other))[asked] is Verdict.SUPPORTED
    assert judge_answer(answer(-0.68), surface.sds, (asked, other))[asked] is Verdict.CONTRADICTED
    assert judge_answer(answer(0.68), surface.sds, (asked, other))[other] is Verdict.INCONCLUSIVE
    assert claim_from_means(answer(0.49), (asked,))[asked] is Verdict.EQUIVALENT
    assert claim_from_means(answer(0.51), (asked,))[asked] is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("verdict", "true_leads", "false_leads"),
    [
        (Verdict.SUPPORTED, (0.1, 2.0), (0.0, -0.1)),
        (Verdict.CONTRADICTED, (-0.1, -2.0), (0.0, 0.1)),
        (Verdict.EQUIVALENT, (0.0, 0.49, -0.49), (0.5, -0.5)),
        (Verdict.INCONCLUSIVE, (), (0.0, 1.0)),
    ],
)
def test_a_verdict_is_true_if_its_statement_about_the_lead_is(
    verdict: Verdict, true_leads: tuple[float, ...], false_leads: tuple[float, ...]
) -> None:
    assert all(is_true(verdict, lead) for lead in true_leads)
    assert not any(is_true(verdict, lead) for lead in false_leads)


def test_the_program_pays_for_shared_trunks_and_for_the_replicates_it_takes() -> None:
    surface = draw_surface("he_2018", "quiet", 0)
    cells = run_study(surface, 2)
    few, many = (answer_fixed(cells, 2, num) for num in (3, 5))
    assert all(len(winner.scores) == 3 for winner in few.winners.values())
    assert (
        few.winners["full", "second", 6.0].scores == many.winners["full", "second", 6.0].scores[:3]
    )
    # A longer rung costs 2x of trunk and a decay of 600 updates: the trunk before it is shared.
    ladder = 2.0 + 2 * (2.0 + 600 / UNIT)
    run = cells["full", "reference"]
    assert run.search_updates == pytest.approx(2 * ladder, abs=0.01)  # two go on everywhere
    per_replicate = (many.updates - few.updates) / 2 / len(cells)
    assert per_replicate >= ladder - 0.01


def test_rivals_pay_for_every_length_anew() -> None:
    surface = draw_surface("he_2018", "quiet", 0)
    assert grid_rates(1) == [pytest.approx(0.02)]
    assert grid_rates(3) == [pytest.approx(0.02 * 10**power) for power in (-2 / 3, 0, 2 / 3)]
    grid = try_grid(surface, 1)
    assert grid.updates == 3 * 6 * (2 + 4 + 6)
    assert grid.updates_longest == 3 * 6 * 6
    (tuned,) = tune_each_arm(surface, 4)
    assert tuned.updates >= 6 * (3 * (2 + 4 + 6) + 3 * 4 + 1 + 3 + 5)  # one survivor of each four
    assert all(len(winner.scores) == 3 for winner in tuned.winners.values())
    swept = sweep(surface, 8)
    assert swept.updates == swept.updates_longest >= 16
    assert all(len(winner.scores) == 1 for winner in swept.winners.values())


def test_the_goal_compares_updates_at_the_same_share_of_right_verdicts() -> None:
    surface = draw_surface("equal", "quiet", 0)
    tally = Tally()

    def answer(policy: str, budget: str, updates: float, lead: float) -> Answer:
        winners = {
            (q.regime, arm, q.length): Winner(rate=0.02, scores=(40.0 + up, 40.1 + up, 39.9 + up))
            for q in QUESTIONS
            for arm, up in ((ARMS[0], 0.0), (q.arm, lead))
        }
        return Answer(
            policy=policy, budget=budget, winners=winners, updates=updates, updates_longest=updates
        )

    answers = [
        answer("ours", "little", 30.0, 9.0),
        answer("ours", "more", 40.0, 0.0),
        answer("theirs", "all", 100.0, 0.0),
        answer("theirs", "too much", 500.0, 0.0),
    ]
    for _ in range(2):
        tally.add(surface, score_answers(answers, surface))
    assert score_answer(answers[1], surface).by_rule.right == 1.0
    assert score_answer(answers[0], surface).by_rule.false == 1.0
    goal = rate_against_rivals(tally, list(tally.scores), "ours", ("theirs",))
    assert goal.rival == ("theirs", "all")
    assert goal.ratio == pytest.approx(0.3 * (4 / 3) ** 0.98, rel=1e-6)
    assert goal.is_met


def test_a_sequential_study_stops_an_arm_once_all_of_its_leads_are_shown() -> None:
    def run(level: float, step: float) -> CellRun:
        scores = tuple(level + step * (-1) ** n for n in range(9))
        repeated = Repeated(rate=0.02, scores=dict.fromkeys(LENGTHS, scores), updates=(10.0,) * 9)
        chosen = dict.fromkeys(LENGTHS, "one")
        return CellRun(search_updates=100.0, chosen=chosen, repeated={"one": repeated})

    levels = {"reference": 30.0, "second": 50.0, "third": 30.7}
    cells = {(regime, arm): run(levels[arm], 0.5) for regime in REGIMES for arm in ARMS}
    looked = take_looks(cells, QUESTIONS)
    shown_at = looked.replicates["full", "second"]
    assert shown_at in (3, 5)  # 20 AP ahead, noise below 1
    assert looked.replicates["full", "third"] == looked.replicates["full", "reference"] == 9
    verdicts = {(q.arm, verdict) for q, verdict in looked.verdicts.items()}
    assert verdicts == {("second", Verdict.SUPPORTED), ("third", Verdict.INCONCLUSIVE)}
    assert looked.updates(cells) == 6 * 100.0 + 2 * (shown_at + 9 + 9) * 10.0
    answer = answer_until_decided(cells, 8)
    assert len(answer.winners["full", "second", 2.0].scores) == shown_at
    assert answer.verdicts_longest is not None
    assert len(answer.verdicts_longest) == 4
    # A lead of 0.3 with such noise can be shown to be neither above zero nor within the margin.
    cells |= {(regime, "third"): run(30.3, 0.5) for regime in REGIMES}
    assert 5 <= take_looks(cells, QUESTIONS).replicates["full", "third"] < 9


def test_the_one_rule_corrects_equalities() -> None:
    """Equal means with an sd of 0.2, three scores: t = 0.5 / (0.2 * sqrt(2 / 3)) = 3.06, df 4, so
    p on one side is 0.019. That is below 5 % alone, and above it among twelve."""
    scores = (40.0 - 0.2, 40.0, 40.0 + 0.2)
    winners = {
        (q.regime, arm, q.length): Winner(rate=0.02, scores=scores)
        for q in QUESTIONS
        for arm in ARMS
    }
    answer = Answer(policy="", budget="", winners=winners, updates=1.0, updates_longest=1.0)
    surface = draw_surface("equal", "quiet", 0)
    assert set(judge_answer(answer, surface.sds).values()) == {Verdict.INCONCLUSIVE}
    (alone,) = judge_answer(answer, surface.sds, QUESTIONS[:1]).values()
    assert alone is Verdict.EQUIVALENT


@pytest.mark.slow
@pytest.mark.ray
def test_the_replay_makes_the_same_trials_as_ray_tune() -> None:
    words = [sys.executable, str(SCRIPTS / "benchmark_verdicts.py"), "--check-replay"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same in both" in done.stdout
