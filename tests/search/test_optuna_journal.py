"""``optuna.journal`` as Optuna's own reader sees it, while a study runs and after it."""

from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import JobStarted
from rethink_ray.search.optuna_journal import OptunaJournal, optuna_study_name, write_optuna_journal
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.resolve import Cell, TrialConfig, cells_of
from rethink_ray.spec.study import Study
from tests.full_disk import file_size_limit
from tests.search.search_builders import ap_of, diverging_above, facts_of, small_study

CELL = Cell("full", "scratch")


def few(**changes: object) -> Study:
    budget = {"trials": 6, "keep": [4, 2, 1], "replicates": 1, "audit": 1}
    return small_study(**{"budget": budget, **changes})  # type: ignore[arg-type]


def seen(path: Path, study: Study, cell: Cell = CELL) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=optuna_study_name(study, cell), storage=storage)


def states(path: Path, study: Study, cell: Cell = CELL) -> dict[str, TrialState]:
    return {t.user_attrs["trial_id"]: t.state for t in seen(path, study, cell).trials}


def test_every_cell_is_one_optuna_study(tmp_path: Path) -> None:
    study = few()
    write_optuna_journal(tmp_path / "optuna.journal", study, replay(study, facts_of(study), ap_of))
    names = optuna.get_all_study_names(
        JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal")))
    )
    assert names == [f"small/{cell.name}" for cell in cells_of(study)]
    assert [p.name for p in tmp_path.iterdir()] == ["optuna.journal"]


def test_states_values_and_rungs_are_true(tmp_path: Path) -> None:
    study = few(budget={"trials": 4, "keep": [4, 2, 1], "replicates": 1})
    path = tmp_path / "optuna.journal"
    state = replay(study, facts_of(study), diverging_above(0.05))
    write_optuna_journal(path, study, state)
    trials = seen(path, study).trials
    members = [m for _, m in state.members(CELL, "search")]
    assert [t.user_attrs["trial_id"] for t in trials] == [m.trial_id for m in members]
    assert [t.params for t in trials] == [dict(m.params) for m in members]
    for trial, member in zip(trials, members, strict=True):
        values = {
            round(100 * x): state.metric(member.trial_id, x, "val/ap")
            for x in state.lengths_done(member.trial_id, (2.0, 4.0, 6.0))
        }
        assert trial.intermediate_values == values
        if member.trial_id in state.ended:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.0)
            assert trial.user_attrs["outcome"] == "diverged"
        else:
            ended = TrialState.COMPLETE if 600 in values else TrialState.PRUNED
            assert trial.state == ended
            assert trial.value == values[max(values)]


def test_a_dashboard_that_has_the_file_open_can_read_on(tmp_path: Path) -> None:
    study = few()
    path = tmp_path / "optuna.journal"
    journal, state = OptunaJournal(path, study), StudyState()
    journal.update(state)
    watching = seen(path, study)
    before = path.read_bytes()
    for _ in range(40):  # each pass kills what was running and goes on for a few events
        decision = SimulatedCluster(
            study, facts_of(study), diverging_above(0.05), slots=2, state=state
        ).run(max_events=4)
        journal.update(state)
        now = path.read_bytes()
        assert now.startswith(before)
        before = now
        if decision.done:
            break
    whole = tmp_path / "whole.journal"
    write_optuna_journal(whole, study, state)
    for cell in cells_of(study):
        assert states(path, study, cell) == states(whole, study, cell)
    written = {t.user_attrs["trial_id"]: t.value for t in watching.trials}
    assert written == {t.user_attrs["trial_id"]: t.value for t in seen(whole, study).trials}


def test_nothing_new_adds_nothing(tmp_path: Path) -> None:
    study = few()
    journal = OptunaJournal(tmp_path / "optuna.journal", study)
    state = replay(study, facts_of(study), ap_of)
    assert journal.update(state) > 0
    assert journal.update(state) == 0


def test_unfinished_trials_wait_or_run(tmp_path: Path) -> None:
    study = few()
    path = tmp_path / "optuna.journal"
    journal, state = OptunaJournal(path, study), StudyState()
    SimulatedCluster(study, facts_of(study), ap_of, slots=1, state=state).run(max_events=2)
    first, second, *others = [m.trial_id for _, m in state.members(CELL, "search")]
    journal.update(state)
    found = states(path, study)
    assert found[first] == TrialState.RUNNING  # may still be promoted
    assert {found[t] for t in (second, *others)} == {TrialState.WAITING}
    state.add(JobStarted(job_id=f"{second}-2x", trial_id=second, asset=None, host="here"))
    journal.update(state)
    assert states(path, study)[second] == TrialState.RUNNING


def test_copied_values_outside_an_arms_own_options_are_left_out(tmp_path: Path) -> None:
    own = {"search": {"optimizer.lr": {"log_uniform": [0.019, 0.021]}}}
    study = few(arms={"tuned": {}, "copy": own}, tuning={"copy_from": "tuned"})
    path = tmp_path / "optuna.journal"
    state = replay(study, facts_of(study), lambda c, length: {"val/ap": c.recipe.optimizer.lr})
    write_optuna_journal(path, study, state)
    (copied, *_) = seen(path, study, Cell("full", "copy")).trials
    assert "optimizer.weight_decay" in copied.params
    assert "optimizer.lr" not in copied.params
    assert copied.state == TrialState.COMPLETE


def test_copied_trials_end_where_they_stop_being_incumbent(tmp_path: Path) -> None:
    def high_rates_early(config: TrialConfig, length: float) -> Mapping[str, float]:
        return {"val/ap": 20 + config.recipe.optimizer.lr * (1 if length < 3 else -1)}

    study = few(
        arms={"tuned": {}, "copy": {}},
        tuning={"copy_from": "tuned"},
        budget={"trials": 4, "keep": [4, 4, 4], "replicates": 1},
    )
    path = tmp_path / "optuna.journal"
    write_optuna_journal(path, study, replay(study, facts_of(study), high_rates_early))
    copied = states(path, study, Cell("full", "copy"))
    assert list(copied.values()) == [TrialState.PRUNED, TrialState.COMPLETE]


@pytest.mark.parametrize("harm", ["lost", "cut", "grown"])
def test_a_journal_that_was_harmed_is_written_anew_at_the_next_look(
    tmp_path: Path, harm: str
) -> None:
    study = few()
    path = tmp_path / "optuna.journal"
    journal, state = OptunaJournal(path, study), StudyState()
    for max_events in (3, 40):
        SimulatedCluster(study, facts_of(study), ap_of, slots=2, state=state).run(max_events)
        journal.update(state)
        match harm:
            case "lost":
                path.unlink()
            case "cut":
                path.write_bytes(path.read_bytes()[:-20])
            case "grown":
                path.write_bytes(path.read_bytes() + b"{")
    journal.update(state)
    whole = tmp_path / "whole.journal"
    write_optuna_journal(whole, study, state)
    for cell in cells_of(study):
        assert states(path, study, cell) == states(whole, study, cell)


def test_a_full_disk_leaves_the_journal_as_it_was_and_the_next_update_catches_up(
    tmp_path: Path,
) -> None:
    study = few()
    path = tmp_path / "optuna.journal"
    journal, state = OptunaJournal(path, study), StudyState()
    SimulatedCluster(study, facts_of(study), ap_of, slots=2, state=state).run(4)
    journal.update(state)
    before = path.read_bytes()
    SimulatedCluster(study, facts_of(study), ap_of, slots=2, state=state).run(20)
    with file_size_limit(len(before) + 100), pytest.raises(OSError, match="too large"):
        journal.update(state)
    assert path.read_bytes() == before
    journal.update(state)
    assert path.read_bytes().startswith(before)
    whole = tmp_path / "whole.journal"
    write_optuna_journal(whole, study, state)
    assert states(path, study) == states(whole, study)
