"""The script that breaks studies: its plan, its bookkeeping, its damage, and a short run of it."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from faults.account import Wound, book_redone, count_lost, rows_of, table_lines  # noqa: E402
from faults.at_rest import AT_REST, newest_checkpoint  # noqa: E402
from faults.command import num_records  # noqa: E402
from faults.disk import Disk  # noqa: E402
from faults.kinds import KINDS, plan_sessions, share_out  # noqa: E402

from rethink_ray.records.log import RecordLog  # noqa: E402
from rethink_ray.records.types import JobStarted, RungDone  # noqa: E402

FIXED_SET = "driver,slot,torn,unrecorded,views"
LONGER_SET = "group,truncated,flipped,asset,journal,clock,loader,second,nan,oom"


def test_a_hundred_faults_are_spread_over_all_kinds() -> None:
    counts = share_out(100, ())
    assert sum(counts.values()) == 100
    assert counts.keys() == KINDS.keys()
    assert all(counts[name] >= 2 for name, kind in KINDS.items() if kind.phase != "inside")
    assert share_out(0, ("torn", "slot")) == {"slot": 1, "torn": 1}
    assert share_out(3, ("sigint", "nan")) == {"sigint": 3, "nan": 0}


def test_a_plan_repeats_with_its_seed_and_holds_every_fault_once() -> None:
    counts = share_out(100, ())
    plan = plan_sessions(counts, seed=3)
    assert plan == plan_sessions(counts, seed=3)
    assert plan != plan_sessions(counts, seed=4)
    faults = [f for s in plan for f in (*s.running, s.ending, *s.at_rest) if f is not None]
    assert {name: sum(f.kind == name for f in faults) for name in KINDS} == counts


def test_no_job_is_killed_where_the_first_failure_is_the_last() -> None:
    for session in plan_sessions(share_out(100, ()), seed=0):
        if "resources.retries=0" in session.options:
            assert session.running == ()


def rung(trial_id: str, length: float, ap: float, seconds: float = 1.0) -> RungDone:
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=40,
        metrics={"val/ap": ap},
        seconds_train=seconds,
        seconds_score=0.5,
        steps_new=40,
    )


def wound(kind: str, updates: int, trial: str | None = None) -> Wound:
    return Wound(kind=kind, told="", case="", before={}, updates=updates, trial=trial)


def test_a_rung_is_lost_if_it_is_gone_or_has_other_numbers_but_not_if_it_took_longer() -> None:
    before = {("a", 2.0): rung("a", 2.0, 7.0), ("b", 2.0): rung("b", 2.0, 8.0)}
    assert count_lost(before, {**before, ("a", 2.0): rung("a", 2.0, 7.0, seconds=9.0)}) == 0
    assert count_lost(before, {**before, ("a", 2.0): rung("a", 2.0, 7.5)}) == 1
    assert count_lost(before, {("a", 2.0): rung("a", 2.0, 7.5)}) == 2


def test_an_update_made_twice_is_booked_to_the_fault_before_it_that_could_cause_it() -> None:
    slot, torn, flipped = wound("slot", 3), wound("torn", 3), wound("flipped", 5, trial="a")
    updates = ["t/a|0|0.1", "t/b|0|0.1", "t/a|1|0.1", "t/a|0|0.1", "t/a|0|0.01"]
    updates += ["t/b|0|0.1", "t/a|1|0.1"]
    assert book_redone([slot, torn, flipped], updates) == 0
    assert (slot.redone, torn.redone, flipped.redone) == (2, 0, 1)
    assert book_redone([], updates) == 3


def test_the_table_calls_a_kind_bad_if_one_of_its_faults_was() -> None:
    good, bad = wound("slot", 0), wound("slot", 0)
    good.identical = bad.identical = True
    assert rows_of([good, bad])[0].good
    bad.blame("it ended with 1")
    (row,) = rows_of([good, bad])
    assert (row.injected, row.survived, row.good) == (2, 1, False)
    lines = list(table_lines([row], markdown=True))
    assert lines[2] == "| kill -9 of a job's process | 2 | 1 | 0 | 0 | 0 | yes |"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the files that damage looks for, and a log of two rungs."""
    root = tmp_path / "study"
    log = RecordLog(root / "records" / "log.jsonl")
    for trial_id in ("a", "b"):
        log.append(JobStarted(job_id=f"{trial_id}-2x", trial_id=trial_id, asset=None, host="h"))
        log.append(rung(trial_id, 2.0, 7.0))
    trial = root / "trials" / "b"
    trial.mkdir(parents=True)
    (trial / "rungs.json").write_text('{"trial_id": "b", "rungs": [{"length": 2.0}]}')
    (trial / "trunk-000000010.pt").write_bytes(bytes(100))
    (root / "assets" / "k").mkdir(parents=True)
    (root / "assets" / "k" / "backbone.pt").write_bytes(bytes(100))
    (root / "trials.parquet").write_bytes(bytes(100))
    (root / "optuna.journal").write_bytes(bytes(100))
    return root


@pytest.mark.parametrize("kind", list(AT_REST))
def test_damage_changes_a_file_and_repeats_with_its_luck(study: Path, kind: str) -> None:
    before = files_of(study)
    told = AT_REST[kind](study, random.Random(5))
    after = files_of(study)
    assert told is not None
    assert after != before
    for path, content in before.items():
        (study / path).write_bytes(content)
    assert AT_REST[kind](study, random.Random(5)) == told
    if kind != "clock":  # which names the present
        assert files_of(study) == after


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_damage_that_finds_nothing_to_damage_says_so(tmp_path: Path) -> None:
    assert {kind: harm(tmp_path, random.Random(0)) for kind, harm in AT_REST.items()} == (
        dict.fromkeys(AT_REST)
    )
    assert newest_checkpoint(tmp_path) is None


def test_an_unrecorded_rung_is_one_that_the_trial_still_knows(study: Path) -> None:
    damage = AT_REST["unrecorded"](study, random.Random(0))
    assert damage is not None
    assert damage.told == "b 2x is not recorded"
    assert num_records(study) == 3


def test_a_full_disk_takes_nothing_and_a_freed_one_does(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk", size_mib=1)
    try:
        told = disk.fill([])
        if told == "file system full":
            with pytest.raises(OSError, match="No space left"):
                (disk.folder / "more").write_bytes(b"x")
        disk.free()
        (disk.folder / "more").write_bytes(b"x")
    finally:
        disk.close()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("kinds", [FIXED_SET, LONGER_SET], ids=["short", "longer"])
def test_a_fixed_set_of_faults_costs_nothing_that_was_finished(kinds: str) -> None:
    words = [sys.executable, str(SCRIPTS / "chaos.py"), "--only", kinds, "--study", "small"]
    done = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"TMPDIR": "/tmp"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in kinds.split(","):
        assert KINDS[kind].told in done.stdout
