"""Several searches of a cell: each is one value of its arm, the mean over its replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.analysis.compare import compare_sources, read_source
from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.power import plan_power, power_lines
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_tree
from rethink_ray.analysis.show.report import write_report
from rethink_ray.analysis.show.sheets import curve_sheet, replicates_sheet
from rethink_ray.judge.claims import judge_claims, measure_claims
from rethink_ray.judge.read.searches import all_searches, cell_results
from rethink_ray.judge.read.study_samples import study_samples
from rethink_ray.judge.read.trials import read_cells
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.protocol.columns import RUNG_HEAD, TRIAL_HEAD
from rethink_ray.protocol.extension import extend
from rethink_ray.protocol.tables import StudyTables, build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, Member, RoundProposed, RungDone, TrialEnded
from rethink_ray.session import start_study
from rethink_ray.spec.claim import Claim
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.resolve import Cell, searches_of
from rethink_ray.spec.study import Study
from tests.analysis.planted import build_facts, build_study
from tests.golden_words import assert_says

ARMS: dict[str, Any] = {"scratch": {}, "slow": {"set": {"optimizer.lr": 0.01}}}
STUDENT: dict[str, Any] = {"set": {"labels.kind": "self_training"}, "teacher": "scratch"}
TAUGHT: dict[str, Any] = {"arms": {"scratch": {}, "student": STUDENT}}
LENGTHS: dict[str, Any] = {"search": {"schedule.length": {"choice": [2, 4]}}, "arms": {"one": {}}}
Scores = Mapping[tuple[str, float], Sequence[Sequence[float]]]
"""(arm, length) -> per search the scores of its replicates."""
SCRATCH = {("scratch", 2.0): [[9, 11], [12, 14], [15, 17]], ("scratch", 4.0): [[11], [15], [19]]}
SLOW = {("slow", 2.0): [[16], [19], [22]], ("slow", 4.0): [[17], [20], [23]]}
ALL: Scores = {**SCRATCH, **SLOW}


def study_of(searches: int, **changes: Any) -> Study:
    """Nothing is tuned, so that a search is one trial; two lengths."""
    budget = {"trials": 1, "keep": [1, 1], "replicates": 1, "searches": searches}
    plain = {"arms": ARMS, "search": {}, "schedule": {"unit": 60, "lengths": [2, 4]}}
    return build_study(**plain | {"budget": budget} | changes)


def rung(trial_id: str, length: float, ap: float) -> RungDone:
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=int(60 * length),
        metrics={"val/ap": ap, "test/ap": ap},
        seconds_train=10.0,
        seconds_score=1.0,
        steps_new=60,
    )


def events_of(study: Study, scores: Scores, asked: Sequence[int] = ()) -> list[Event]:
    """What a run would have recorded; a search's own trial scores the mean of its replicates.

    Args:
        study: the study.
        scores: as planted.
        asked: per search, how many searches the study asked for when it began.
    """
    events: list[Event] = []
    for cell in searches_of(study):
        rows = {length: scores[cell.arm, length][cell.search] for length in (2.0, 4.0)}
        winner = f"{cell.arm}-{cell.search}"
        names = [f"{winner}-{r}" for r in range(max(map(len, rows.values())))]
        for purpose, ids in (("search", [winner]), ("replicate", names)):
            members = [
                Member(trial_id=t, params={}, seed=n, of=winner if purpose == "replicate" else None)
                for n, t in enumerate(ids)
            ]
            events.append(
                RoundProposed(
                    regime=cell.regime,
                    arm=cell.arm,
                    search=cell.search,
                    searches=asked[cell.search] if asked else study.budget.searches,
                    number=0,
                    purpose=purpose,  # type: ignore[arg-type]
                    members=tuple(members),
                )
            )
        for length, row in rows.items():
            events += [rung(t, length, ap) for t, ap in zip(names, row, strict=False)]
            if row:
                events.append(rung(winner, length, sum(row) / len(row)))
        if not any(rows.values()):
            events.append(TrialEnded(trial_id=winner, outcome="diverged", reason="lr"))
    return events


def tables_of(study: Study, scores: Scores, asked: Sequence[int] = ()) -> StudyTables:
    state = StudyState(events_of(study, scores, asked))
    return build_tables(study, state, build_facts(study))


def directory_of(study: Study, root: Path) -> Path:
    made = start_study(root, study, "study: planted\n", build_facts(study), {})
    for event in events_of(study, ALL):
        made.log.append(event)
    return root


def found(searches: int = 3, scores: Scores = ALL, **changes: Any) -> Findings:
    return derive_findings(tables_of(study_of(searches, **changes), scores))


def by_key(findings: Findings) -> dict[str, Any]:
    return {f.key: f for f in findings.findings}


def test_a_searchs_value_is_the_mean_over_its_replicates() -> None:
    scratch = found().regimes[0].cells[0]
    point = scratch.point(2.0)
    assert point is not None
    assert point.values == {0: 10.0, 1: 13.0, 2: 16.0}
    assert point.mean is not None
    assert (point.mean.value, point.mean.nums, point.mean.df) == (13.0, (3,), 2.0)
    assert len(point.trial_ids) == 6
    assert [p.incumbent for p in point.singles] == ["scratch-0", "scratch-1", "scratch-2"]
    assert point.incumbent == "scratch-2"


def test_two_arms_are_compared_by_welch_over_searches() -> None:
    """Values 10, 13, 16 against 16, 19, 22: sd 3 each, so se = sqrt(9/3 + 9/3) and 4 degrees."""
    lead = by_key(found())["full/slow-vs-scratch@2x"].effect
    assert lead.value == pytest.approx(6.0)
    assert lead.se == pytest.approx(6.0**0.5)
    assert lead.df == pytest.approx(4.0)
    assert lead.nums == (3, 3)


def test_along_a_ladder_values_pair_by_search() -> None:
    """2x to 4x: +1, +2, +3, so a mean of 2 with se 1 / sqrt(3), though both ends vary by 3."""
    study = study_of(3)
    finding = by_key(found())["full/scratch-gains@2x"]
    assert finding.effect.value == pytest.approx(2.0)
    assert finding.effect.se == pytest.approx(3.0**-0.5)
    assert "paired by search" in finding.sentence
    along = {"column": "schedule", "trend": "rises"}
    claim = Claim.model_validate(
        {"says": "longer pays", "side": {"arm": "scratch", "metric": "ap"}, "along": along}
    )
    tables = tables_of(study, ALL)
    records = read_cells(tables)
    samples = study_samples(study, tables.facts, records, cell_results(study, records))
    (outcome,) = judge_claims(measure_claims({"longer": claim}, samples), "searches")
    (place,) = outcome.findings
    assert place.effect is not None
    assert place.effect.value == pytest.approx(2.0)
    assert place.effect.se == pytest.approx(3.0**-0.5)


def test_searches_of_two_studies_never_pair(tmp_path: Path) -> None:
    """Four independent groups with an sd of 3: se = sqrt(4 * 9 / 3) at 2x."""
    arms = {"scratch": {}, "slow": {"set": {"init.source": "upstream"}}}
    studies = (study_of(3, arms=arms), study_of(3, arms=arms, margin=0.7))
    names = [str(directory_of(s, tmp_path / str(i))) for i, s in enumerate(studies)]
    gap = compare_sources([read_source(name) for name in names]).gaps[0].estimate
    assert gap is not None
    assert (gap.value, gap.nums) == (0.0, (3, 3, 3, 3))
    assert gap.se == pytest.approx(12.0**0.5)
    assert gap.df == pytest.approx(8.0)


def test_two_searches_have_no_interval_and_say_what_it_takes() -> None:
    findings = found(2)
    finding = by_key(findings)["full/slow-vs-scratch@4x"]
    assert (finding.verdict, finding.interval, finding.needed) == (Verdict.INCONCLUSIVE, None, 3)
    assert "with 2 and 2 searches there is no interval" in finding.sentence
    assert "about 3 searches per arm would decide" in finding.sentence
    thin = findings.caveats_by_key["few-replicates:full/scratch"].text
    assert "fewer than 3 searches, so no interval" in thin
    assert "It takes budget.searches: 3 (resume --searches)." in thin


def test_one_search_speaks_of_what_it_found_and_three_of_arms() -> None:
    one = found(1, {key: rows[:1] for key, rows in ALL.items()})
    assert "configurations this search found" in one.caveats_by_key["one-search"].text
    several = found().caveats_by_key
    assert "one-search" not in several
    assert several["test-set-noise"].text.startswith(
        "intervals cover searches run again, scored on"
    )
    assert "spread over 3 searches is 0.16 to 1.9 times" in several["thin-spread"].text
    assert several["tuned-so"].text.startswith("findings are about arms as searches of 1 trial")


def test_a_search_that_found_nothing_is_the_worst_value_and_is_told() -> None:
    lost = {("scratch", 2.0): [[10], [], [16]], ("scratch", 4.0): [[11], [], [19]]}
    findings = found(scores={**SLOW, **lost})
    point = findings.regimes[0].cells[0].point(2.0)
    assert point is not None
    assert point.values == {0: 10.0, 1: 0.0, 2: 16.0}
    assert point.barren == (1,)
    told = findings.caveats_by_key["failed-searches:full/scratch"].text
    assert "the method itself ended every trial of whole searches (1 at 2x and 1 at 4x)" in told
    assert findings.missing == ""


def test_a_search_that_is_still_to_come_is_waited_for_and_is_no_value() -> None:
    study = study_of(3)
    begun = [e for e in events_of(study, ALL) if not _of_search(e, 2)]
    tables = build_tables(study, StudyState(begun), build_facts(study))
    findings = derive_findings(tables)
    point = findings.regimes[0].cells[0].point(2.0)
    assert point is not None
    assert set(point.values) == {0, 1}
    assert point.waiting == 1
    assert findings.missing.startswith("The study is unfinished: 2 search trials and at least 2 ")


def _of_search(event: Event, number: int) -> bool:
    if isinstance(event, RoundProposed):
        return event.search == number
    return isinstance(event, RungDone) and event.trial_id.split("-")[1] == str(number)


def test_searches_added_after_a_look_are_a_second_look() -> None:
    study = study_of(3)
    at_once, later = (
        derive_findings(tables_of(study, ALL, asked)) for asked in ([3, 3, 3], [1, 3, 3])
    )
    assert (at_once.looks, later.looks) == (1, 2)
    wide, narrow = (by_key(f)["full/slow-vs-scratch@2x"].interval for f in (later, at_once))
    assert wide[0] < narrow[0]


def test_studies_from_before_there_were_several_searches_are_read_as_one() -> None:
    study = study_of(1)
    tables = tables_of(study, {key: rows[:1] for key, rows in ALL.items()})
    columns = [n for n in tables.trials.column_names if n not in ("search", "searches")]
    rungs = [n for n in tables.rungs.column_names if n != "search"]
    old = replace(tables, trials=tables.trials.select(columns), rungs=tables.rungs.select(rungs))
    assert as_json_text(derive_findings(old)) == as_json_text(derive_findings(tables))
    assert "search" in TRIAL_HEAD.names
    assert "search" in RUNG_HEAD.names


def test_the_export_is_the_best_of_all_searches_with_its_own_replicates(tmp_path: Path) -> None:
    from rethink_ray.search.simulate import replay

    study = study_of(3, search={"optimizer.lr": {"log_uniform": [0.005, 0.08]}}, arms={"one": {}})
    facts = build_facts(study)
    state = replay(study, facts, lambda config, length: {"val/ap": ap(config.seed), "test/ap": 1.0})
    directory = start_study(tmp_path / "s", study, "study: planted\n", facts, {})
    rounds = [r for by_number in state.rounds.values() for r in by_number.values()]
    for event in (*rounds, *state.rungs.values()):
        directory.log.append(event)
    out = export_best(directory, tmp_path / "best")
    origin = out.made_of[tmp_path / "best" / "full-one-4x.yaml"]
    tried = {
        m.trial_id: m for k in range(3) for _, m in state.members(Cell("full", "one", k), "search")
    }
    best = max(tried.values(), key=lambda m: ap(m.seed))
    assert origin.member.trial_id == best.trial_id
    text = (tmp_path / "best" / "full-one-4x.yaml").read_text()
    assert "The best of 3 " in text
    assert set(out.files.values()) == {1}


def ap(seed: int) -> float:
    return 10.0 + seed % 97


def test_the_answer_rests_on_searches_and_asks_for_more_of_them() -> None:
    """At 4x: 17, 20, 23 against 11, 15, 19; 5 of 2.9 is open."""
    answer = found().answer
    best = answer.of("full").recommended
    assert best is not None
    assert (best.arm, best.length, best.mean and best.mean.nums) == ("slow", 4.0, (3,))
    assert answer.next is not None
    assert answer.next.option.startswith("--searches ")
    assert_says("analysis", "answer over searches", answer.of("full").paragraph)


def test_plan_power_counts_searches() -> None:
    study = study_of(5)
    (headline, *_) = plan_power(study, build_facts(study), 0.3)
    as_replicates = study_of(1, budget={"trials": 1, "keep": [1, 1], "replicates": 5})
    (same, *_) = plan_power(as_replicates, build_facts(study), 0.3)
    assert headline == same
    assert "5 searches an arm" in next(power_lines((headline,), 0.3, study))
    with pytest.raises(SpecError, match="budget.searches: must be at least 3"):
        plan_power(study_of(2), build_facts(study), 0.3)


def test_every_text_says_searches_where_they_are_the_values(tmp_path: Path) -> None:
    findings = found()
    assert as_tree(findings)["values_are"] == "searches"
    text = as_markdown(findings)
    assert "| searches to decide |" in text
    note = curve_sheet(findings, findings.regimes[0]).note
    assert note in text
    assert_says("analysis", "note of a curve over searches", note)
    curve = as_tree(findings)["regimes"][0]["cells"][0]["points"]
    assert curve[0]["of_searches"]["0"]["values"] == {"0": 9.0, "1": 11.0}
    cells = {row[0] for row in replicates_sheet(findings).rows}
    assert cells == {f"full/{arm} at {n}x" for arm in ("scratch", "slow") for n in (2, 4)}
    study = study_of(3)
    page = write_report(directory_of(study, tmp_path / "s")).read_text()
    assert "replicates to decide" not in page


def test_the_best_length_is_the_one_that_searches_find_best_on_average() -> None:
    flat = {("scratch", 2.0): [[20], [10], [10]], ("scratch", 4.0): [[13], [14], [15]]}
    scratch = found(scores={**SLOW, **flat}).regimes[0].cells[0]
    assert scratch.best_length == 4.0  # 14 on average against 13.3, though the best one is at 2x
    point = scratch.point(2.0)
    assert point is not None
    assert point.of_incumbent.incumbent == "scratch-0"


def test_where_the_length_is_searched_only_a_search_without_any_finished_trial_failed() -> None:
    """A search that sampled no trial of a length is no value there, one that found nothing is."""
    budget = {"trials": 1, "keep": [1], "replicates": 0, "searches": 3}
    study, events = study_of(3, **LENGTHS, budget=budget), []
    for number, length in enumerate((2.0, 4.0, 4.0)):
        trial = Member(trial_id=f"one-{number}", params={"schedule.length": length}, seed=number)
        events.append(
            RoundProposed(
                regime="full",
                arm="one",
                search=number,
                searches=3,
                number=0,
                purpose="search",
                members=(trial,),
            )
        )
    done = rung("one-0", 2.0, 10.0), rung("one-1", 4.0, 20.0)
    lost = TrialEnded(trial_id="one-2", outcome="diverged", reason="lr")
    state = StudyState([*events, *done, lost])
    one = derive_findings(build_tables(study, state, build_facts(study))).regimes[0].cells[0]
    assert [(p.length, p.values, p.barren) for p in one.points] == [
        (2.0, {2: 0.0}, (2,)),
        (4.0, {2: 0.0}, (2,)),
    ]


@pytest.mark.parametrize("searches", [1, 3])
@pytest.mark.parametrize(("changes", "ends"), [(LENGTHS, 0), (TAUGHT, 2), (TAUGHT, 4)])
def test_a_study_with_nothing_left_to_run_is_not_called_unfinished(
    searches: int, changes: dict[str, Any], ends: int
) -> None:
    """A length that a search never sampled, a student without a teacher, an infeasible winner."""
    from rethink_ray.search.simulate import replay

    def answer(config: Any, length: float) -> Any:
        if length == ends or ends == 2:
            return "infeasible"
        return {"val/ap": ap(config.seed), "test/ap": 1.0}

    study = study_of(searches, **changes)
    facts = build_facts(study)
    findings = derive_findings(build_tables(study, replay(study, facts, answer), facts))
    assert findings.missing == ""
    assert {p.waiting for cell in findings.regimes[0].cells for p in cell.points} <= {0}


def test_a_drift_over_searches_counts_each_search_once() -> None:
    from rethink_ray.analysis.read.drift import DRIFT_METRIC, measure_drifts

    study = study_of(3, arms={"scratch": {}, "slow": {"set": {"init.source": "upstream"}}})
    moved = {"slow-0-0": 0.1, "slow-1-0": 0.2, "slow-1-1": 0.4, "slow-2-0": 0.5}
    scores = {**ALL, ("slow", 2.0): [[16], [19, 19], [22]]}
    events = [
        replace(e, metrics={**e.metrics, f"train/{DRIFT_METRIC}": moved.get(e.trial_id, 1.0)})
        if isinstance(e, RungDone)
        else e
        for e in events_of(study, scores)
    ]
    tables = build_tables(study, StudyState(events), build_facts(study))
    records = read_cells(tables)
    results = cell_results(study, records)
    rows = {(d.cell.arm, d.length): d.mean for d in measure_drifts(study, records, results)}
    mean = rows["slow", 2.0]
    assert (mean.nums, mean.value) == ((3,), pytest.approx((0.1 + 0.3 + 0.5) / 3))


def test_twins_are_compared_search_by_search_like_any_two_arms() -> None:
    scores = {(arm, x): rows for (_, x), rows in SCRATCH.items() for arm in ("scratch", "slow")}
    findings = found(scores=scores, arms={"scratch": {}, "slow": {}})
    check = by_key(findings)["full/slow-is-scratch"]
    assert check.verdict is Verdict.SUPPORTED
    assert check.effect.nums == (3, 3)


def test_no_search_that_came_here_is_no_point() -> None:
    assert all_searches(2.0, {}, barren=(0, 1, 2)) is None


def test_a_study_with_one_search_that_is_given_two_more_has_three_values() -> None:
    one, three = study_of(1), extend(study_of(1), searches=3)
    first = {key: rows[:1] for key, rows in ALL.items()}
    events = [*events_of(one, first), *events_of(three, ALL, [1, 3, 3])]
    findings = derive_findings(build_tables(three, StudyState(events), build_facts(three)))
    assert by_key(findings)["full/slow-vs-scratch@2x"].effect.nums == (3, 3)
