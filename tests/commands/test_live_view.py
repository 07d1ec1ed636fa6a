"""What a terminal shows of a study, whatever its arms are called."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rethink_ray.commands.live import event_lines
from rethink_ray.commands.status import build_progress_table, remaining_words, show_status
from rethink_ray.protocol.remaining import CellProgress, StudyProgress
from rethink_ray.records.types import (
    ComparisonState,
    JobFailed,
    LookTaken,
    Member,
    RoundProposed,
    RunCut,
    RungDone,
)
from rethink_ray.session import start_study
from rethink_ray.spec.resolve import Cell
from tests.golden_words import assert_says
from tests.refusals import timeless


def _progress(arm: str) -> StudyProgress:
    cell = CellProgress(
        cell=Cell("full", arm),
        budget=2,
        search={"done": 1},
        replicates={},
        rungs={2.0: 1},
        best={2.0: 12.34},
        reported={2.0: 10.0},
        searched={2.0: 1},
        repeated={2.0: 3},
        replicates_to_go=3,
    )
    return StudyProgress(
        cells=(cell,),
        assets=0,
        refused_assets=0,
        failures={},
        running=(),
        elapsed=60.0,
        seconds_spent=30.0,
    )


def test_names_with_square_brackets_are_shown_as_they_are() -> None:
    told = io.StringIO()
    Console(file=told, width=120).print(build_progress_table(_progress("[/red] a[b]")))
    assert "full/[/red] a[b]" in told.getvalue()
    assert "12.3 (1)" in told.getvalue()


def test_the_table_of_five_lengths_fits_80_columns_with_whole_words() -> None:
    progress = _progress("scratch_again")
    lengths = {2.0: 1, 4.0: 1, 9.0: 1, 15.0: 1, 24.0: 14}
    (cell,) = progress.cells
    wide = replace(
        cell, rungs=lengths, searched=lengths, best=dict.fromkeys(lengths, 12.34), repeated=lengths
    )
    told = io.StringIO()
    Console(file=told, width=80).print(build_progress_table(replace(progress, cells=(wide,))))
    lines = told.getvalue().splitlines()
    assert any(line.startswith("cell") and line.rstrip().endswith("24x") for line in lines)
    assert any("full/scratch_again search 1/2" in line for line in lines), lines
    assert any("replicates 0/3+" in line and line.count("10.0") == 1 for line in lines), lines
    assert "…" not in told.getvalue()


def test_what_is_to_go_is_at_least_so_much_while_the_search_may_find_another_best() -> None:
    progress = _progress("scratch")
    assert remaining_words(progress) == "1 search trial and at least 3 replicates to go"
    (cell,) = progress.cells
    searched = replace(cell, search={"done": 2}, replicates_to_go=1)
    assert remaining_words(replace(progress, cells=(searched,))) == "1 replicate to go"
    over = replace(searched, replicates_to_go=0)
    assert remaining_words(replace(progress, cells=(over,))) == "complete"


def test_what_is_to_go_is_a_range_where_looks_decide_what_runs_on() -> None:
    progress = _progress("scratch")
    (cell,) = progress.cells
    searched = replace(cell, search={"done": 2}, replicates_to_go=1)
    waiting = replace(progress, cells=(searched,), most_replicates_to_go=7)
    assert remaining_words(waiting) == "1 to 7 replicates to go"
    over = replace(searched, replicates_to_go=0)
    due = replace(progress, cells=(over,), is_look_due=True)
    assert remaining_words(due) == "a look to take"
    assert remaining_words(replace(due, most_replicates_to_go=6)) == "0 to 6 replicates to go"
    look = LookTaken(
        number=0,
        replicates=3,
        comparisons=(
            ComparisonState(key="a", cells=(), verdict="supported", stopped_at=3),
            ComparisonState(key="b", cells=(), verdict="open"),
        ),
        running=("full/scratch", "full/frozen"),
    )
    assert list(event_lines(look, {}, "ap")) == [
        "look after 3 of each arm: 1 open, 1 supported; full/scratch, full/frozen run on"
    ]


def test_a_pipe_gets_the_cell_the_score_and_the_seconds_of_a_rung() -> None:
    rung = RungDone(
        trial_id="abc",
        length=2.5,
        steps=10,
        metrics={"val/ap": 12.345, "val/ap50": 30.0},
        seconds_train=3.0,
        seconds_score=1.0,
        steps_new=10,
    )
    assert list(event_lines(rung, {"abc": "full/scratch"}, "ap")) == [
        "full/scratch abc 2.5x: val/ap 12.35 (4 s)"
    ]
    member = Member(trial_id="abc", params={}, seed=0)
    proposed = RoundProposed(
        regime="full", arm="scratch", number=1, purpose="search", members=(member,)
    )
    assert list(event_lines(proposed, {}, "ap")) == ["full/scratch: search round 2, 1 trial"]
    assert list(event_lines(JobFailed(job_id="j", reason="[x"), {}, "ap")) == ["j failed: [x"]
    assert list(event_lines(RunCut(hours=1.5, waiting=("j",)), {}, "ap")) == [
        "no job starts any more: the next one would not end within 1.5 h"
    ]


def test_status_of_a_study_that_has_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rethink_ray.spec.facts import DataFacts
    from rethink_ray.spec.load import load_study

    study, text = load_study(Path("search_spaces/quickstart.yaml"))
    facts = DataFacts(
        fingerprint="d" * 16,
        categories=("disc",),
        regime_sizes=dict.fromkeys(study.regimes, 40),
        regime_digests=dict.fromkeys(study.regimes, "x"),
        split_sizes={"train": 40, "val": 10, "test": 10},
        upstream_fingerprint="u" * 16,
    )
    start_study(tmp_path / "s", study, text, facts, {})
    show_status(str(tmp_path / "s"), watch=False)
    text = timeless(capsys.readouterr().out, tmp_path)
    table, _, below = text.partition("\n\n")
    assert re.search(r"^full/scratch +search 0/3", table, re.M)
    assert max(map(len, below.splitlines())) > max(map(len, table.splitlines()))
    words = "\n".join(line.rstrip() for line in below.splitlines())
    assert_says("commands", "status of a study that has not begun", words)
