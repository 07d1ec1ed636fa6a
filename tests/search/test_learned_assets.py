"""Assets learned from a regime's images: one a cell for the search, one for each replicate."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.protocol.asset_usage import AssetUsage
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, Outcome
from rethink_ray.search.decide import Decider
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.assets import (
    AssetSpec,
    DetectorAsset,
    PseudoLabelsAsset,
    assets_of,
    pseudo_labels_of,
)
from rethink_ray.spec.resolve import Cell, CellResolver, ExportedConfig, TrialConfig, cells_of
from rethink_ray.spec.study import Study
from tests.search.same_study import (
    assert_decided_the_same,
    assert_same_after_kills,
    assert_same_in_any_order,
    events_of,
)
from tests.search.search_builders import (
    BASE,
    SEARCH,
    ap_of,
    diverging_above,
    facts_of,
    small_study,
)

STUDENT = {"labels.kind": "self_training"}
ARMS: dict[str, Any] = {
    "student": {"set": STUDENT, "teacher": "pretrained"},  # stands before its teacher in the file
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "direct": {
        "set": {"init.source": "direct", "direct.norm": "gn", "direct.warmup": 5},
        "search": {"direct.optimizer.lr": {"choice": [0.08, 0.04]}},
    },
    "continued": {"set": {"labels.kind": "continued"}, "teacher": "direct"},
    "grandstudent": {"set": STUDENT, "teacher": "student"},
}


def learning(arms: Mapping[str, Any] = ARMS, **changes: Any) -> Study:
    return small_study(
        settings=BASE | {"direct.passes": 10},
        regimes={"full": {"images": "all"}},
        arms=dict(arms),
        budget={"trials": 3, "keep": [3, 2, 1], "replicates": 2},
        **changes,
    )


def run(study: Study) -> SimulatedCluster:
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=3)
    assert cluster.run().done
    return cluster


def configs(study: Study, cluster: SimulatedCluster, arm: str, purpose: Any) -> list[TrialConfig]:
    cell, facts = Cell("full", arm), facts_of(study)
    members = [m for _, m in cluster.state.members(cell, purpose)]
    return [StudyView(study, cluster.state, facts).cell(cell).config_of(m) for m in members]


def test_search_trials_share_what_they_learn_and_replicates_share_nothing() -> None:
    study = learning()
    cluster = run(study)
    for arm, kinds in {
        "direct": {"direct"},
        "student": {"teacher", "pseudo_labels"},
        "continued": {"teacher", "direct"},
        "grandstudent": {"teacher", "pseudo_labels"},
    }.items():
        users: dict[str, list[str]] = defaultdict(list)
        for purpose in ("search", "replicate"):
            for config in configs(study, cluster, arm, purpose):
                learned = {a.key for a in assets_of(config) if a.kind != "classifier"}
                assert {a.kind for a in assets_of(config)} - {"classifier"} == kinds
                for key in learned:
                    users[key].append(purpose)
        counts = Counter(tuple(sorted(set(purposes))) for purposes in users.values())
        assert set(counts) == {("search",), ("replicate",)}, arm
        assert all(len(p) == 1 for p in users.values() if p[0] == "replicate"), arm
    shared = {a.key for c in configs(study, cluster, "student", "search") for a in assets_of(c)}
    assert len(shared) == 3  # a classifier, a teacher that starts from it, and its labels


def test_a_teacher_is_its_arms_incumbent_trained_again_under_the_students_seed() -> None:
    study = learning()
    cluster = run(study)
    best = max(
        (r.metrics["val/ap"], m.trial_id, m.params)
        for _, m in cluster.state.members(Cell("full", "pretrained"), "search")
        for r in cluster.state.rungs.values()
        if r.trial_id == m.trial_id and r.length == 6.0
    )
    for config in configs(study, cluster, "student", "replicate"):
        teacher = config.teacher
        assert teacher is not None
        assert teacher.seed == config.asset_seed
        assert teacher.recipe.optimizer.lr == best[2]["optimizer.lr"]
        assert teacher.recipe.schedule.lengths == (6.0,)
        labels = pseudo_labels_of(config)
        assert labels is not None
        assert labels.teacher.trained == teacher


def test_an_asset_is_built_after_everything_it_needs() -> None:
    built: list[str] = []
    study = learning()

    def build(spec: AssetSpec) -> AssetDone:
        assert {needed.key for needed in spec.needs} <= set(built)
        assert spec.key not in built
        built.append(spec.key)
        return AssetDone(key=spec.key, kind=spec.kind, metrics={}, seconds=1.0)

    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=4)
    cluster.build_asset = build
    cluster.run()
    kinds = Counter(key.partition("-")[0] for key in built)
    assert kinds["classifier"] == 1
    # three students (the search's, two replicates), three of the next generation, and for each of
    # those a student that teaches it
    assert kinds["pseudo_labels"] == 9


def test_a_student_waits_for_its_teachers_search_and_not_for_its_replicates() -> None:
    study = learning()
    facts = facts_of(study)
    state, decider = StudyState(), Decider(study, facts)
    cluster = SimulatedCluster(study, facts, ap_of, slots=1, state=state)
    while not state.rounds.get((Cell("full", "student"), "search")):
        before = set(state.rungs)
        cluster.run(max_events=1)
        assert set(state.rungs) != before or state.assets
    decision = decider.next_jobs(state)
    teacher = Cell("full", "pretrained")
    assert len(state.members(teacher, "search")) == 3
    assert not decision.done
    assert (
        len(
            {
                r
                for r, _ in state.rungs
                if r in {m.trial_id for _, m in state.members(teacher, "replicate")}
            }
        )
        < 2
    )


def test_a_refused_teacher_ends_its_students_and_nothing_else() -> None:
    study = learning()

    def build(spec: AssetSpec) -> AssetDone:
        refused = "diverged" if spec.kind == "teacher" else ""
        return AssetDone(key=spec.key, kind=spec.kind, metrics={}, seconds=1.0, refused=refused)

    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=2)
    cluster.build_asset = build
    assert cluster.run().done
    ended = set(cluster.state.ended)
    students = {
        m.trial_id
        for arm in ("student", "continued")
        for _, m in cluster.state.members(Cell("full", arm), "search")
    }
    assert ended == students
    assert not cluster.state.members(Cell("full", "grandstudent"), "search")  # nobody to learn from
    assert not any(a.kind == "pseudo_labels" for a in map(asset_in, cluster.started) if a)


def asset_in(job: Any) -> AssetSpec | None:
    asset: AssetSpec | None = job.asset
    return asset


def test_more_trials_of_a_teacher_change_no_student_that_has_begun() -> None:
    study = learning()
    first = run(study)
    more = learning(search={"optimizer.lr": {"log_uniform": [0.002, 0.1]}})
    budget = more.budget.model_copy(update={"trials": 9})
    larger = study.model_copy(update={"budget": budget})
    state = replay(larger, facts_of(study), ap_of, events=events_of(first.state))
    cell = Cell("full", "student")
    teachers = {m.teacher for _, m in state.members(cell, "search")}
    assert len(state.members(cell, "search")) == 9
    assert len(teachers) == 1


@settings(max_examples=4, deadline=None, derandomize=True)
@given(slots=st.integers(1, 9), order=st.integers(0, 2**20))
def test_any_order_of_arrival_gives_the_same_study(slots: int, order: int) -> None:
    assert_same_in_any_order(learning(), diverging_above(0.08), slots, order)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_shuffled_and_repeated_records_decide_the_same(data: st.DataObject) -> None:
    study = learning()
    facts = facts_of(study)
    cluster = SimulatedCluster(study, facts, diverging_above(0.08), slots=5)
    cluster.run(max_events=data.draw(st.integers(0, 150)))
    events = events_of(cluster.state)
    shuffled = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events)))
    assert_decided_the_same(study, events, shuffled, too_early=False)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(stops=st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_killed_and_continued_it_is_the_same_study(stops: list[int]) -> None:
    assert_same_after_kills(learning(), ap_of, stops)


def test_a_plan_counts_the_updates_of_what_is_learned() -> None:
    study = learning({"scratch": {}, "direct": ARMS["direct"]})
    plan = plan_study(study, facts_of(study))
    # 10 passes over 60 images in batches of 64: 10 updates; two rates in the search
    assert plan.asset_steps == 10 * plan.assets
    assert plan.assets >= 1 + 2


def test_the_rate_of_a_first_stage_is_searched_like_any_other_value() -> None:
    rate = "direct.optimizer.lr"
    range_of_direct = {"log_uniform": [0.02, 0.32], "when": {"init.source": "direct"}}
    arms = {"scratch": {}, "direct": {"set": ARMS["direct"]["set"]}}
    study = learning(arms, search=SEARCH | {rate: range_of_direct})
    cluster = run(study)
    assert all(
        rate not in member.params
        for _, member in cluster.state.members(Cell("full", "scratch"), "search")
    )
    first_stages = {}
    for config in configs(study, cluster, "direct", "search"):
        [first] = assets_of(config)
        assert isinstance(first, DetectorAsset)
        assert first.trained.recipe.optimizer.lr == config.recipe.direct.optimizer.lr
        first_stages[config.recipe.direct.optimizer.lr] = first.key
    # three trials: the recipe's own 0.08, and two that the sampler drew
    assert 0.08 in first_stages
    assert len(set(first_stages.values())) == len(first_stages) == 3
    assert all(0.02 <= value <= 0.32 for value in first_stages)
    replicated = configs(study, cluster, "direct", "replicate")
    [incumbents_rate] = {config.recipe.direct.optimizer.lr for config in replicated}
    assert incumbents_rate in first_stages
    plan = plan_study(study, facts_of(study))
    assert plan.assets >= 3 + 2  # of the search, and of two replicates
    assert plan.asset_steps == 10 * plan.assets


def test_costs_are_booked_to_whoever_started_from_an_asset() -> None:
    study = learning()
    cluster = run(study)
    facts = facts_of(study)
    booked = AssetUsage(StudyView(study, cluster.state, facts))
    for cell in cells_of(study):
        for purpose in ("search", "replicate"):
            for _, member in cluster.state.members(cell, purpose):
                config = StudyView(study, cluster.state, facts).cell(cell).config_of(member)
                wanted = tuple(asset.key for asset in assets_of(config))
                assert booked.keys_of(cell, member) == wanted


def test_a_students_configuration_survives_json() -> None:
    study = learning()
    cluster = run(study)
    [config, *_] = configs(study, cluster, "grandstudent", "replicate")
    again = ExportedConfig.model_validate_json(config.model_dump_json()).plain()
    assert again == config
    assert again.trial_id == config.trial_id
    assert assets_of(again) == assets_of(config)
    assert config.teacher is not None
    assert config.teacher.teacher is not None
    seeds = [config.seed, config.asset_seed, config.teacher.asset_seed, config.teacher.teacher.seed]
    assert len(set(seeds)) == 3  # the last two are one: the second teacher's own
    assert all(
        isinstance(a, DetectorAsset | PseudoLabelsAsset) or a.needs == () for a in assets_of(config)
    )


def answered(config: TrialConfig, length: float) -> Mapping[str, float] | Outcome:
    return "diverged" if config.arm == "scratch" else ap_of(config, length)


def test_a_search_that_finds_nothing_teaches_nobody_and_the_study_ends() -> None:
    study = learning({"scratch": {}, "student": {"set": STUDENT, "teacher": "scratch"}})
    cluster = SimulatedCluster(study, facts_of(study), answered, slots=2)
    assert cluster.run().done
    assert not cluster.state.members(Cell("full", "student"), "search")


IN_FILE = {"file": "weights/teacher.pth"}


def test_one_file_teaches_a_search_and_all_its_replicates() -> None:
    study = learning(
        {
            "scratch": {},
            "student": {"set": STUDENT, "teacher": IN_FILE},
            "continued": {"set": {"labels.kind": "continued"}, "teacher": IN_FILE},
            "second": {"set": STUDENT, "teacher": "student"},
        }
    )
    cluster = run(study)
    for arm, kinds in {"student": ["pseudo_labels", "teacher"], "continued": ["teacher"]}.items():
        found = [
            *configs(study, cluster, arm, "search"),
            *configs(study, cluster, arm, "replicate"),
        ]
        assert len(found) > 3
        assert sorted({a.key.partition("-")[0] for c in found for a in assets_of(c)}) == kinds
        assert len({a.key for c in found for a in assets_of(c)}) == len(kinds)
        assert {c.asset_seed for c in found} == {None}
    second = configs(study, cluster, "second", "replicate")
    assert len({c.teacher.trial_id for c in second if c.teacher}) == len(second)
    assert plan_study(study, facts_of(study)).asset_kinds["teacher"][0] == 1 + 3


def test_another_file_is_another_teacher_and_another_start() -> None:
    arms = {
        "student": {"set": STUDENT, "teacher": IN_FILE},
        "file": {"set": {"init.source": "file", "init.weights": "a.pt", "init.weights_norm": "gn"}},
        "scratch": {},
    }
    study = learning(arms)
    facts = facts_of(study)
    ids = {
        arm: [
            CellResolver(study, Cell("full", arm), replace(facts, files=files))
            .resolve({}, 0)
            .trial_id
            for files in (
                {},
                {IN_FILE["file"]: "1", "a.pt": "1"},
                {IN_FILE["file"]: "2", "a.pt": "2"},
            )
        ]
        for arm in arms
    }
    assert [len(set(found)) for found in ids.values()] == [3, 3, 1]
    # a study from before files were looked at keeps its ids
    assert (
        ids["file"][0] == CellResolver(study, Cell("full", "file"), facts).resolve({}, 0).trial_id
    )
    [student] = {
        CellResolver(study, Cell("full", "student"), facts).resolve({}, s).teacher for s in (0, 1)
    }
    again = ExportedConfig.model_validate_json(
        CellResolver(study, Cell("full", "student"), facts).resolve({}, 0).model_dump_json()
    )
    assert again.teacher == student
