"""What a verdict costs: planted surfaces, the rivals' rules, and one rule of verdicts for all."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from verdicts.answers import Answer, Winner  # noqa: E402
from verdicts.asked import judge_fixed  # noqa: E402
from verdicts.budgets import list_surfaces  # noqa: E402
from verdicts.live import count_contradictions  # noqa: E402
from verdicts.live_study import DECLARED, write_tree  # noqa: E402
from verdicts.live_sweep import find_best_trials  # noqa: E402
from verdicts.one_rule import claim_from_means, is_true, judge_answer  # noqa: E402
from verdicts.program import (  # noqa: E402
    UNIT,
    answer_fixed,
    build_facts,
    build_study,
    judge_by_rule,
    run_study,
)
from verdicts.rivals import grid_rates, sweep, try_grid, tune_each_arm  # noqa: E402
from verdicts.sentences import count_floor  # noqa: E402
from verdicts.sequential import UNTIL_DECIDED, VERDICT_OF, take_looks  # noqa: E402
from verdicts.surfaces import (  # noqa: E402
    ARMS,
    FAMILIES,
    LENGTHS,
    MARGIN,
    NOISE_SDS,
    QUESTIONS,
    REGIMES,
    ArmSurface,
    Question,
    draw_surface,
    draw_surfaces,
)
from verdicts.tally import (  # noqa: E402
    MOST_UPDATES,
    Tally,
    count_by_lead,
    rate_against_rivals,
    ratio_with_interval,
    score_answer,
    score_answers,
    size_of,
)
from verdicts.tune_replay import Asha, replay_tune  # noqa: E402

from rethink_ray.analysis.read.published_tables import load_published  # noqa: E402
from rethink_ray.judge.samples import ScoreSample  # noqa: E402
from rethink_ray.judge.verdicts import Verdict  # noqa: E402
from rethink_ray.search.simulate import replay  # noqa: E402
from rethink_ray.spec.check import check_study  # noqa: E402
from rethink_ray.spec.resolve import TrialConfig  # noqa: E402
from rethink_ray.spec.study import Study  # noqa: E402

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


def test_verdicts_are_counted_by_the_size_of_the_true_lead() -> None:
    assert [size_of(lead) for lead in (0.0, -0.5, 0.501, -2.0, 2.1)] == [
        "0", "below 0.5", "0.5 to 1", "1 to 2", "above 2"
    ]  # fmt: skip
    surface = draw_surface("equal", "quiet", 0)
    verdicts = dict.fromkeys(QUESTIONS, Verdict.INCONCLUSIVE)
    verdicts |= {QUESTIONS[0]: Verdict.EQUIVALENT, QUESTIONS[1]: Verdict.SUPPORTED}
    assert count_by_lead(verdicts, surface)["0"] == (1, 1, 12)
    share, low, high = ratio_with_interval(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
    assert (share, low, high) == (0.5, 0.5, 0.5)


def test_budgets_are_chosen_on_other_surfaces_than_those_that_compare_policies() -> None:
    numbers = [
        {surface.seed for surface in chosen}
        for chosen in (
            draw_surfaces(40),
            list_surfaces("calibration", 40),
            list_surfaces("check", 40),
        )
    ]
    assert [len(seeds) for seeds in numbers] == [40, 40, 40]
    assert not (numbers[0] & numbers[1] | numbers[0] & numbers[2] | numbers[1] & numbers[2])


def test_three_replicates_without_a_search_cost_more_than_half_of_three_seeds_at_one_rate() -> None:
    # A ladder is 2x and two more rungs of 2x and a decay of 600 of 900 updates: 22 / 3 of 1x, where
    # three separate runs take 12.
    assert count_floor() == pytest.approx(3 * 6 * 22 / 3)
    grid = 3 * 6 * (2 + 4 + 6)
    assert count_floor() / grid == pytest.approx(22 / 36)
    assert count_floor() > MOST_UPDATES * grid


def test_the_program_pays_for_shared_trunks_and_for_the_replicates_it_takes() -> None:
    surface = draw_surface("he_2018", "quiet", 0)
    studied = run_study(surface, 2)
    cells = studied.cells
    few, many = (answer_fixed(studied, 2, num, surface.seed) for num in (3, 5))
    assert few.verdicts is not None
    assert judge_by_rule(few).verdicts is None
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


def made_up_samples(levels: dict[str, float], sd: float) -> list[ScoreSample]:
    """Nine replicates of every arm, in turns above and below its level, the same in all places."""
    return [
        ScoreSample(
            labels={
                "arm": frozenset({arm}),
                "regime": frozenset({regime}),
                "metric": frozenset({"ap"}),
                "source": frozenset({"study"}),
                "split": frozenset({"test"}),
                "schedule": frozenset({f"{length:g}x"}),
            },
            images=600,
            length=length,
            values={n: level + sd * (-1) ** n for n in range(9)},
            evidence=(),
            configuration=f"{regime}/{arm}",
        )
        for regime in REGIMES
        for arm, level in levels.items()
        for length in LENGTHS
    ]


def test_a_study_asks_four_headlines_and_the_other_eight_questions_as_claims() -> None:
    samples = made_up_samples({"reference": 30.0, "second": 50.0, "third": 10.0}, 0.5)
    verdicts = judge_fixed(build_study(4, 0, 9), samples)
    assert set(verdicts) == set(QUESTIONS)
    assert {(q.arm, verdict) for q, verdict in verdicts.items()} == {
        ("second", Verdict.SUPPORTED),
        ("third", Verdict.CONTRADICTED),
    }
    at_6x = judge_fixed(build_study(4, 0, 9, is_longest_alone=True), samples)
    assert set(at_6x) == {q for q in QUESTIONS if q.length == 6.0}
    assert build_study(4, 0).margin == MARGIN


def test_a_sequential_study_stops_an_arm_once_all_of_its_leads_are_shown() -> None:
    study = build_study(8, 0, UNTIL_DECIDED)
    looked = take_looks(
        study, made_up_samples({"reference": 30.0, "second": 50.0, "third": 30.7}, 0.5)
    )
    shown_at = looked.replicates["full", "second"]
    assert shown_at in (3, 5)  # 20 AP ahead, noise below 1
    assert looked.replicates["full", "third"] == looked.replicates["full", "reference"] == 9
    verdicts = {(q.arm, verdict) for q, verdict in looked.verdicts.items()}
    assert verdicts == {("second", Verdict.SUPPORTED), ("third", Verdict.INCONCLUSIVE)}
    assert set(looked.verdicts) == set(QUESTIONS)
    # A lead of 0.3 with such noise can be shown to be neither above zero nor within the margin.
    close = made_up_samples({"reference": 30.0, "second": 50.0, "third": 30.3}, 0.5)
    assert 5 <= take_looks(study, close).replicates["full", "third"] < 9


def test_the_looks_are_those_of_a_study_that_waits_for_its_decisions() -> None:
    """A study until decided, run by the program itself, ends with these verdicts and updates."""
    surface = draw_surface("he_2018", "quiet", 1)
    run = run_study(surface, 2)
    looked = take_looks(build_study(2, surface.seed, UNTIL_DECIDED), run.samples)

    def measure(config: TrialConfig, length: float) -> dict[str, float]:
        name = f"study of 2, {config.trial_id}"
        cell, rate = (config.regime, config.arm), config.recipe.optimizer.lr
        return dict.fromkeys(("val/ap", "test/ap"), surface.measure(cell, rate, name, length))

    study, facts = build_study(2, surface.seed, UNTIL_DECIDED), build_facts()
    state = replay(study, facts, measure, slots=3)
    last = state.looks_taken[-1]
    said = [VERDICT_OF.get(one.verdict, Verdict.INCONCLUSIVE) for one in last.comparisons]
    assert Counter(said) == Counter(looked.verdicts.values())
    assert len(set(said)) > 1
    updates = sum(rung.steps_new for rung in state.rungs.values()) / UNIT
    assert looked.updates(run.cells) == pytest.approx(updates)
    assert len(set(looked.replicates.values())) > 1  # some cells stop before others


def test_the_rule_for_rivals_corrects_equalities_too() -> None:
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
    asked = Question(regime="full", arm="second", length=6.0)
    assert judge_answer(answer, surface.sds, (asked,)) == {asked: Verdict.EQUIVALENT}


def test_the_live_study_asks_the_twelve_questions_at_the_size_that_was_declared() -> None:
    tree = write_tree("live_0", 0, DECLARED, DECLARED.budget)
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "live_0")
    samples = made_up_samples({"reference": 9.0, "second": 19.0, "third": 14.0}, 0.1)
    verdicts = judge_fixed(study, samples)
    assert set(verdicts) == set(QUESTIONS)
    assert set(verdicts.values()) == {Verdict.SUPPORTED}
    assert study.budget.num_replicates == 3


def test_a_sweep_answers_with_its_best_finished_trial_of_each_arm_and_length() -> None:
    def report(arm: int, trained: float, score: float, reported: float | None) -> dict[str, object]:
        config = {"arm": arm, "length": 4.0, "optimizer.lr": 0.02}
        return {"config": config, "trained": trained, "score": score, "reported": reported}

    reports = [
        report(0, 4.0, 7.0, 6.5),
        report(0, 4.0, 8.0, 6.0),  # chosen by its score, judged by what it reports
        report(0, 1.0, 9.0, None),  # stopped before its end
        report(1, 4.0, 3.0, 3.5),
        report(2, 1.0, 0.0, None),
    ]
    best = find_best_trials("full", reports)
    assert {place: row["reported"] for place, row in best.items()} == {
        ("full", "reference", 4.0): 6.0,
        ("full", "second", 4.0): 3.5,
    }


def test_contradictions_are_counted_among_repeats_that_both_decide() -> None:
    above, below, left_open = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.INCONCLUSIVE
    first, *others = QUESTIONS
    repeats = [{first: v, **dict.fromkeys(others, left_open)} for v in (above, above, below)]
    assert count_contradictions(repeats) == (3, 2)
    assert count_contradictions([dict.fromkeys(QUESTIONS, left_open), repeats[0]]) == (0, 0)


@pytest.mark.slow
@pytest.mark.ray
def test_the_replay_makes_the_same_trials_as_ray_tune() -> None:
    words = [sys.executable, str(SCRIPTS / "benchmark_verdicts.py"), "--check-replay"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same in both" in done.stdout


LIVE = """
import sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
from verdicts.live import run_live
from verdicts.live_study import LiveSize
size = LiveSize(
    images=(24, 4, 6), few_images=12, unit=8,
    upstream={{"images": 400, "steps": 200, "image_px": 32}},
    keep=(2, 1, 1), reference_keep=(2, 1, 1), reference_replicates=3, sweep_trials=6, fresh_runs=1,
)
print("\\n".join(run_live(Path({folder!r}), 1, 2, size)))
"""


@pytest.mark.slow
@pytest.mark.ray
def test_the_run_on_drawn_shapes_ends_with_tables_and_a_second_call_only_reads(
    tmp_path: Path,
) -> None:
    script = LIVE.format(scripts=str(SCRIPTS), folder=str(tmp_path))
    printed, written = [], []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        printed.append(done.stdout)
        written.append({path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")})
    assert printed[0] == printed[1]
    assert written[0] == written[1]
    kept = written[0]
    assert {path.name for path in kept} == {
        "sweep_0_full.json", "sweep_0_small.json", "fresh_0.json"
    }  # fmt: skip
    trials = json.loads((tmp_path / "sweep_0_full.json").read_text())
    assert len(trials) == 6
    assert all(1.0 <= trial["trained"] <= trial["config"]["length"] for trial in trials)
    assert "of 12 |" in printed[0]
    assert "\nReference: " in printed[0]
