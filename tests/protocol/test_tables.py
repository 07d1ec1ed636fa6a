"""The tables say what the log says, in one order, whatever became of their files."""

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, Event, JobFailed, Resumed, TrialEnded
from rethink_ray.records.views import view_name, write_views
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.resolve import Cell
from tests.full_disk import file_size_limit
from tests.records.small_records import FACTS, proposed, rung, small_study

# four trials: d diverges, c is stopped, a and b go on, a wins at 2x and b at 4x; both are repeated
EVENTS: list[Event] = [
    proposed("a", "b", "c", "d"),
    rung("a", 2.0, 30.0),
    rung("b", 2.0, 20.0),
    rung("c", 2.0, 10.0),
    TrialEnded(trial_id="d", outcome="diverged", reason="nan at 3", step=3, seconds=0.5),
    rung("a", 4.0, 35.0),
    rung("b", 4.0, 40.0),
    proposed("ra", number=0, of="a"),
    proposed("rb", number=1, of="b"),
    rung("ra", 2.0, 29.0),
    rung("rb", 2.0, 19.0),
    AssetDone(key="k", kind="classifier", metrics={"accuracy": 0.5, "chance": 0.25}, seconds=7.0),
]


def tables_of(events: list[Event]) -> dict[str, list[dict[str, object]]]:
    made = build_tables(small_study(), StudyState(events), FACTS)
    return {name: getattr(made, name).to_pylist() for name in ("trials", "rungs", "assets")}


def test_every_trial_has_its_fate() -> None:
    trials = {row["trial_id"]: row for row in tables_of(EVENTS)["trials"]}
    assert {k: row["state"] for k, row in trials.items()} == {
        "a": "done",
        "b": "done",
        "c": "stopped",
        "d": "diverged",
        "ra": "done",  # its configuration is incumbent for 2x, which it ran
        "rb": "waiting",  # incumbent for 4x, and only 2x is finished
    }
    assert trials["a"]["incumbent_for"] == [2.0]
    assert trials["b"]["incumbent_for"] == [4.0]
    assert trials["c"]["longest"] == 2.0
    assert trials["d"]["longest"] is None
    assert trials["d"]["reason"] == "nan at 3"
    assert trials["a"]["seconds"] == 8.0  # two rungs of 3 + 1
    assert trials["d"]["seconds"] == 0.5
    assert (trials["ra"]["purpose"], trials["ra"]["of"]) == ("replicate", "a")
    assert trials["b"]["param.optimizer.lr"] == 0.02
    assert trials["b"]["param.detector.norm"] == "gn"


def test_a_trial_costs_what_its_rungs_measured_and_takes_the_memory_of_the_largest() -> None:
    events = [
        proposed("a", "b"),
        rung("a", 2.0, 30.0, peak_memory_bytes=700, peak_memory_of="gpu", step_flops=1e9),
        rung("a", 4.0, 35.0, peak_memory_bytes=500, peak_memory_of="gpu", step_flops=1e9),
    ]

    first, second = tables_of(events)["trials"]

    assert (first["peak_memory_bytes"], first["peak_memory_of"]) == (700, "gpu")
    assert (first["step_flops"], first["trained_share"]) == (1e9, None)
    assert second["peak_memory_bytes"] is None, "nothing of it has run"


def test_a_replicate_of_a_dethroned_incumbent_waits_for_nothing() -> None:
    events = [*EVENTS, proposed("rc", "rc2", number=2, of="c"), rung("rc", 2.0, 9.0)]
    states = {row["trial_id"]: row["state"] for row in tables_of(events)["trials"]}
    assert (states["rc"], states["rc2"]) == ("done", "stopped")


def test_nobody_is_stopped_while_a_round_mate_still_runs() -> None:
    trials = tables_of([EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3]])["trials"]
    assert [row["state"] for row in trials] == ["waiting"] * 4


def test_every_rung_has_its_row_with_metrics_and_values() -> None:
    rungs = tables_of(EVENTS)["rungs"]
    found = [(row["trial_id"], row["length"], row["val/ap"]) for row in rungs]
    assert found == [
        ("a", 2.0, 30.0),
        ("a", 4.0, 35.0),
        ("b", 2.0, 20.0),
        ("b", 4.0, 40.0),
        ("c", 2.0, 10.0),
        ("ra", 2.0, 29.0),
        ("rb", 2.0, 19.0),
    ]
    assert rungs[1]["param.schedule.length"] == 4.0
    assert rungs[1]["steps"] == 40
    assert rungs[1]["test/ap"] == 33.0


def test_a_rung_names_the_faults_that_it_met_by_split_and_kind() -> None:
    faults = {"train/box_degenerate": 3, "val/missing_image": 1}
    events = [
        proposed("a", "b", "c"),
        rung("a", 2.0, 30.0, data_faults=faults),
        rung("b", 2.0, 20.0, data_faults={"box_degenerate": 3, "crowd": 7}),  # an older version
        rung("c", 2.0, 10.0),
    ]
    met = [dict(row["data_faults"]) for row in tables_of(events)["rungs"]]
    assert met == [faults, {"train/box_degenerate": 3}, {}]


def test_an_asset_has_its_row() -> None:
    assert tables_of(EVENTS)["assets"] == [
        {
            "key": "k",
            "kind": "classifier",
            "accuracy": 0.5,
            "chance": 0.25,
            "seconds": 7.0,
            "refused": "",
            "metrics": [("accuracy", 0.5), ("chance", 0.25)],
        }
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_events_arrived_is_not_seen(seed: int) -> None:
    shuffled = [*EVENTS, EVENTS[1], JobFailed(job_id="a-2x", reason="killed")]
    random.Random(seed).shuffle(shuffled)
    assert tables_of(shuffled) == tables_of(EVENTS)


def test_a_study_without_any_event_has_empty_tables_with_all_their_columns() -> None:
    made = build_tables(small_study(), StudyState(), FACTS)
    assert made.trials.num_rows == made.rungs.num_rows == made.assets.num_rows == 0
    assert {"val/ap", "test/ap", "param.optimizer.lr"} <= set(made.rungs.column_names)


@pytest.fixture
def written(tmp_path: Path) -> StudyDirectory:
    directory = start_study(tmp_path / "s", small_study(), "", FACTS, {})
    for event in EVENTS:
        directory.log.append(event)
    write_views(directory, directory.load_state(), build_tables)
    return directory


@pytest.mark.parametrize("name", ["trials", "rungs", "assets"])
@pytest.mark.parametrize("harm", ["missing", "damaged", "old"])
def test_a_view_that_is_missing_damaged_or_old_is_made_from_the_log(
    written: StudyDirectory, name: str, harm: str
) -> None:
    before = read_tables(written)
    path = written.root / view_name(name)
    match harm:
        case "missing":
            path.unlink()
        case "damaged":
            path.write_bytes(path.read_bytes()[:100])
        case "old":
            written.log.append(rung("rb", 4.0, 39.0))
    after = read_tables(written)
    expected = before.rungs.num_rows + (harm == "old")
    assert after.rungs.num_rows == expected
    assert after.trials.num_rows == before.trials.num_rows == 6
    if harm != "old":
        assert getattr(after, name).equals(getattr(before, name))


@pytest.mark.parametrize("name", ["trials.parquet", "rungs.parquet", "records/views.json"])
def test_a_single_flipped_bit_anywhere_in_a_view_changes_nothing_that_is_read(
    written: StudyDirectory, name: str
) -> None:
    before = read_tables(written)
    whole = (written.root / name).read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (written.root / name).write_bytes(flipped)
        after = read_tables(written)
        assert after.trials.equals(before.trials)
        assert after.rungs.equals(before.rungs)


def test_what_is_read_is_what_was_built(written: StudyDirectory) -> None:
    read = read_tables(written)
    built = build_tables(written.study, StudyState(EVENTS), FACTS)
    assert read.trials.equals(built.trials)
    assert read.rungs.equals(built.rungs)


def test_progress_counts_what_the_tables_show() -> None:
    progress = progress_of(small_study(), StudyState(EVENTS), running=["rb-4x"], elapsed=5.0)
    (cell,) = progress.cells
    assert cell.proposed == 4
    assert cell.search == {"done": 2, "stopped": 1, "diverged": 1}
    assert cell.replicates == {"done": 1, "waiting": 1}
    assert cell.rungs == {2.0: 5, 4.0: 2}
    assert cell.best == {2.0: 30.0, 4.0: 40.0}
    # of two replicates that ran 2x, only one repeats the best of 2x: 29 on val, so 27 on test
    assert (cell.reported, cell.repeated) == ({2.0: 27.0}, {2.0: 1})
    assert cell.searched == {2.0: 3, 4.0: 2}
    assert (progress.search_to_go, progress.replicates_to_go, progress.complete) == (0, 1, False)
    assert progress.rungs == 7
    assert progress.seconds_spent == 7 * 4.0 + 7.0
    assert progress.running == ("rb-4x",)


def test_progress_ends_where_every_incumbent_has_its_replicates() -> None:
    finished = [*EVENTS, rung("rb", 4.0, 38.0)]
    progress = progress_of(small_study(), StudyState(finished))
    assert (progress.complete, progress.cells[0].reported[4.0]) == (True, 36.0)
    diverged = [*EVENTS, TrialEnded(trial_id="rb", outcome="diverged", reason="nan", step=3)]
    progress = progress_of(small_study(), StudyState(diverged))
    assert (progress.complete, progress.cells[0].reported[4.0]) == (True, 0.0)
    ends = [TrialEnded(trial_id=t, outcome="diverged", reason="nan", step=3) for t in "abcd"]
    assert progress_of(small_study(), StudyState([EVENTS[0], *ends])).complete
    begun = progress_of(small_study(), StudyState(EVENTS[:2]))
    assert (begun.search_to_go, begun.replicates_to_go) == (4, 1)


@pytest.mark.parametrize(
    "waiting",
    [
        {
            "arms": {
                "scratch": {},
                "student": {"set": {"labels.kind": "continued"}, "teacher": "scratch"},
                "its_student": {"set": {"labels.kind": "continued"}, "teacher": "student"},
            }
        },
        {"arms": {"scratch": {}, "again": {}}, "tuning": {"copy_from": "scratch"}},
    ],
)
def test_an_arm_that_waits_for_another_one_in_vain_has_nothing_to_go(
    waiting: dict[str, Any],
) -> None:
    study = small_study(**waiting, search={"optimizer.lr": {"log_uniform": [0.002, 0.1]}})
    events = [proposed(*"abcd")]
    begun = progress_of(study, StudyState(events))
    assert all(cell.search_to_go > 0 for cell in begun.cells)
    ends = [TrialEnded(trial_id=t, outcome="diverged", reason="nan", step=3) for t in "abcd"]
    over = progress_of(study, StudyState([*events, *ends]))
    assert (over.search_to_go, over.replicates_to_go, over.complete) == (0, 0, True)


def test_replicates_of_an_arm_that_copies_its_values_run_up_to_their_own_length() -> None:
    study = small_study(arms={"scratch": {}, "copy": {}}, tuning={"copy_from": "scratch"})
    carried = replace(proposed("c2", of="a"), arm="copy", purpose="search")
    again = replace(proposed("r2", of="c2"), arm="copy")
    done = [*EVENTS[:6], carried, rung("c2", 2.0, 1.0), rung("c2", 4.0, 2.0)]
    cell = Cell("full", "copy")
    for extra, state in (((), "waiting"), ((2.0,), "waiting"), ((2.0, 4.0), "done")):
        events = [*done, again, *(rung("r2", length, 1.0) for length in extra)]
        states = {
            f.member.trial_id: f.state
            for f in StudyView(study, StudyState(events)).cell(cell).statuses
        }
        assert states == {"c2": "done", "r2": state}


def test_the_time_of_a_study_leaves_out_what_lies_between_two_runs() -> None:
    # a first run of 100 s, a night of 1,000 s, a second run of 60 s that ends with a rung
    events: list[Event] = [
        replace(proposed("a"), at=500.0),
        rung("a", 2.0, 30.0, at=600.0),
        Resumed(trials=4, replicates=1, lengths=(2.0, 4.0), at=1600.0),
        rung("a", 4.0, 35.0, at=1660.0),
    ]
    assert progress_of(small_study(), StudyState(events)).elapsed == 160.0
    assert progress_of(small_study(), StudyState(events[:2])).elapsed == 100.0
    assert progress_of(small_study(), StudyState()).elapsed == 0.0
    again = [*events, Resumed(trials=4, replicates=1, lengths=(2.0, 4.0), at=9000.0)]
    assert progress_of(small_study(), StudyState(again)).elapsed == 160.0
    assert progress_of(small_study(), StudyState(events), elapsed=5.0).elapsed == 5.0


def test_a_clock_that_jumps_back_changes_no_row_but_its_time() -> None:
    jumped = [replace(e, at=1e9 - 1e5 * i) for i, e in enumerate(EVENTS)]
    rows, expected = tables_of(jumped), tables_of(EVENTS)
    for row in rows["rungs"] + expected["rungs"]:
        del row["at"]
    assert rows == expected
    assert progress_of(small_study(), StudyState(jumped)).elapsed >= 0.0


def test_a_full_disk_leaves_the_old_views_whole(written: StudyDirectory) -> None:
    before = read_tables(written)
    written.log.append(rung("rb", 4.0, 39.0))
    with file_size_limit(100), pytest.raises(OSError, match="too large"):
        write_views(written, written.load_state(), build_tables)
    assert not [p for p in written.root.rglob(".*") if p.is_file()], "nothing is left beside them"
    assert read_tables(written).rungs.num_rows == before.rungs.num_rows + 1
    write_views(written, written.load_state(), build_tables)
    assert read_tables(written).rungs.num_rows == before.rungs.num_rows + 1


def test_a_study_that_came_without_its_log_is_no_empty_study(written: StudyDirectory) -> None:
    shutil.rmtree(written.records_dir)
    with pytest.raises(RecordError, match="trials.parquet tells of trials.*Copy the folder"):
        read_tables(written)
    (written.root / "trials.parquet").write_bytes(b"no table")
    assert read_tables(written).trials.num_rows == 0


def test_a_failure_is_shown_until_its_job_has_ended_well() -> None:
    lost = JobFailed(job_id="rb-4x", reason="its machine died")
    asset = JobFailed(job_id="asset-k2", reason="a full disk")
    survived = [JobFailed(job_id=job, reason="killed") for job in ("a-4x", "d-2x", "asset-k")]
    state = StudyState([*EVENTS, lost, asset, *survived])
    shown = progress_of(small_study(), state).failures
    assert shown == {"rb-4x": "its machine died", "asset-k2": "a full disk"}
    state.add(Resumed(trials=4, replicates=1, lengths=(2.0, 4.0)))
    assert progress_of(small_study(), state).failures == {}
