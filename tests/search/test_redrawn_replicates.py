"""Replicates on draws of their own: the search keeps the regime's, arms share replicate i's."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.protocol.asset_usage import AssetUsage
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.log import decode_line, encode
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, cells_of
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of, facts_in
from tests.search.search_builders import BASE, ap_of, diverging_above, facts_of, small_study

ARMS: dict[str, Any] = {
    "scratch": {},
    "direct": {"set": {"init.source": "direct", "direct.norm": "gn", "direct.warmup": 5}},
    "student": {"set": {"labels.kind": "self_training"}, "teacher": "direct"},
}


def redrawn(**changes: Any) -> Study:
    tree: dict[str, Any] = {
        "settings": BASE | {"direct.passes": 10},
        "arms": ARMS,
        "regimes": {"few": {"images": 60}, "full": {"images": "all"}},
        "budget": {"trials": 3, "keep": [3, 2, 1], "replicates": 2},
        "replicate": {"vary": ["seed", "subset"]},
    }
    return small_study(**(tree | changes))


def facts(study: Study) -> DataFacts:
    sizes = {name: 800 if name == "full" else 60 for name in study.regimes}
    return replace(facts_of(study), regime_sizes=sizes, train_digest="t")


def run(study: Study, state: StudyState | None = None) -> StudyState:
    cluster = SimulatedCluster(study, facts(study), ap_of, slots=3, state=state)
    assert cluster.run().done
    return cluster.state


def by_incumbent(state: StudyState, cell: Cell) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for _, member in state.members(cell, "replicate"):
        found.setdefault(member.of or "", []).append(member)
    return found


def test_the_search_keeps_the_regime_and_replicate_i_of_every_arm_has_draw_i() -> None:
    state = run(redrawn())
    for arm in ARMS:
        few, full = Cell("few", arm), Cell("full", arm)
        assert {m.draw for _, m in state.members(few, "search")} == {0}
        for replicates in by_incumbent(state, few).values():
            assert [m.draw for m in replicates] == [1, 2]
        assert {m.draw for _, m in state.members(full, "replicate")} == {0}


def test_each_search_of_a_cell_has_draws_of_its_own_and_all_arms_share_them() -> None:
    study = redrawn(budget={"trials": 3, "keep": [3, 2, 1], "replicates": 2, "searches": 2})
    state = run(study)
    for arm in ARMS:
        for search, draws in ((0, [1, 2]), (1, [10_001, 10_002])):
            found = by_incumbent(state, Cell("few", arm, search))
            assert found
            assert all([m.draw for m in members] == draws for members in found.values())


def test_everything_a_replicate_starts_from_has_its_draw_and_is_booked_to_it() -> None:
    study = redrawn()
    state = run(study)
    booked = AssetUsage(StudyView(study, state, facts(study)))
    for cell in cells_of(study):
        for purpose in ("search", "replicate"):
            for _, member in state.members(cell, purpose):  # type: ignore[arg-type]
                config = StudyView(study, state, facts(study)).cell(cell).config_of(member)
                assert config.trial_id == member.trial_id
                assert config.draw == member.draw
                runs = [a.run for a in assets_of(config) if a.run is not None]
                assert {r.draw for r in runs} <= {member.draw}
                assert booked.keys_of(cell, member) == tuple(a.key for a in assets_of(config))


def test_trials_without_the_key_are_the_same_trials_but_for_the_draws() -> None:
    plain, drawn = redrawn(replicate={"vary": ["seed"]}), redrawn()
    before, after = run(plain), run(drawn)
    for cell in cells_of(plain):
        assert before.members(cell, "search") == after.members(cell, "search")
        old = [m for _, m in before.members(cell, "replicate")]
        new = [m for _, m in after.members(cell, "replicate")]
        assert [m.seed for m in old] == [m.seed for m in new]
        same = [a.trial_id == b.trial_id for a, b in zip(old, new, strict=True)]
        assert set(same) == {cell.regime == "full"}


def test_replicates_added_later_go_on_with_the_next_draws() -> None:
    study = redrawn()
    state = run(study)
    more = study.budget.model_copy(update={"replicates": 4})
    run(study.model_copy(update={"budget": more}), state)
    for replicates in by_incumbent(state, Cell("few", "scratch")).values():
        assert [m.draw for m in replicates] == [1, 2, 3, 4]


def test_the_draw_stands_in_log_and_table_and_older_logs_are_read() -> None:
    study = redrawn()
    state = run(study)
    [proposed, *_] = state.rounds[Cell("few", "scratch"), "replicate"].values()
    line = encode(proposed)
    assert decode_line(line) == proposed
    older = decode_line(line.replace(',"draw":1', "").replace(',"draw":2', ""))
    assert {m.draw for m in older.members} == {0}  # type: ignore[union-attr]
    table = build_tables(study, state, facts(study)).trials
    recorded = zip(*(table.column(n).to_pylist() for n in ("trial_id", "draw")), strict=True)
    wanted = {m.trial_id: m.draw for c in cells_of(study) for _, m in _all(state, c)}
    assert dict(recorded) == wanted


def _all(state: StudyState, cell: Cell) -> list[tuple[int, Member]]:
    return state.members(cell, "search") + state.members(cell, "replicate")


def test_copied_arms_share_the_draws_of_the_arm_they_copy() -> None:
    arms = {"scratch": {}, "copy": {}}
    state = run(redrawn(arms=arms, tuning={"copy_from": "scratch"}))
    for arm in arms:
        for replicates in by_incumbent(state, Cell("few", arm)).values():
            assert [m.draw for m in replicates] == [1, 2]


@settings(max_examples=5, deadline=None, derandomize=True)
@given(slots=st.integers(1, 9), order=st.integers(0, 2**20), stop=st.integers(0, 80))
def test_order_and_kills_change_no_draw(slots: int, order: int, stop: int) -> None:
    study, answer = redrawn(), diverging_above(0.08)
    once = replay(study, facts(study), answer)
    begun = SimulatedCluster(study, facts(study), answer, slots=slots)
    begun.run(max_events=stop)
    again = replay(
        study, facts(study), answer, slots=slots, order_seed=order, events=events_of(begun.state)
    )
    assert facts_in(again) == facts_in(once)
