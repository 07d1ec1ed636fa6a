"""A study of seconds, searched once and then twice more: trained, halved, replicated, reported."""

from pathlib import Path

from micro_study import SHORT_SCHEDULE, results, run_inline, start_micro

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.report import write_report
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import extend_study

CHANGES = {
    "regimes": {"full": {"images": "all"}},
    "arms": {"scratch": {}, "late": {"set": {"optimizer.momentum": 0.8}}},
    "schedule": SHORT_SCHEDULE,
    "budget": {"trials": 2, "keep": [2, 1], "replicates": 1},
}


def test_two_more_searches_are_three_values_an_arm_and_train_nothing_again(
    tmp_path: Path, data_cache: None
) -> None:
    run_inline(start_micro(tmp_path / "s", **CHANGES))
    directory = StudyDirectory.open(tmp_path / "s")
    before = results(directory)
    assert derive_findings(read_tables(directory)).findings[0].interval is None
    events = len(directory.log.read())
    assert extend_study(directory, searches=3)
    run_inline(directory)
    directory = StudyDirectory.open(tmp_path / "s")
    assert progress_of(directory.study, directory.load_state()).complete
    after = results(directory)
    first = [row for row in after["trials"] if row["search"] == 0]
    assert first == before["trials"]
    assert [row for row in after["rungs"] if row["search"] == 0] == before["rungs"]
    trained = {(e.trial_id, e.length) for e in directory.log.read()[events:] if hasattr(e, "steps")}
    assert not trained & {(row["trial_id"], row["length"]) for row in before["rungs"]}
    findings = derive_findings(read_tables(directory))
    headline = findings.findings[0]
    assert headline.effect is not None
    assert headline.effect.nums == (3, 3)
    assert headline.effect.looks == 2
    assert headline.interval is not None
    assert "one-search" not in findings.caveats_by_key
    out = export_best(directory, tmp_path / "best")
    assert len(out.files) == 5  # two arms at two lengths, and the best of all
    assert "Mean over searches" in write_report(tmp_path / "s").read_text()
