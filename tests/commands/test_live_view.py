"""What a terminal shows of a study, whatever its arms are called."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from rethink_ray.commands.live import event_lines, progress_table, show_status
from rethink_ray.records.progress import CellProgress, StudyProgress
from rethink_ray.records.types import JobFailed, Member, RoundProposed, RungDone
from rethink_ray.spec.resolve import Cell


def _progress(arm: str) -> StudyProgress:
    cell = CellProgress(
        cell=Cell("full", arm),
        budget=2,
        search={"done": 1},
        replicates={},
        rungs={2.0: 1},
        best={2.0: 12.34},
        reported={},
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
    Console(file=told, width=120).print(progress_table(_progress("[/red] a[b]")))
    assert "full/[/red] a[b]" in told.getvalue()
    assert "12.3" in told.getvalue()


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
    assert list(event_lines(proposed, {}, "ap")) == ["full/scratch: round 1, 1 trials"]
    assert list(event_lines(JobFailed(job_id="j", reason="[x"), {}, "ap")) == ["j failed: [x"]


def test_status_of_a_study_that_has_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rethink_ray.records.directory import StudyDirectory
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
    StudyDirectory.create(tmp_path / "s", study, text, facts, {})
    show_status(str(tmp_path / "s"), watch=False)
    told = capsys.readouterr().out
    assert "not running" in told
    assert "full/scratch" in told
