"""What a real run measures is what the papers' claims on costs and drift are held against."""

from pathlib import Path

from micro_study import run_inline, start_micro

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.judge.verdicts import Verdict

UPSTREAM = {"init.source": "upstream"}
ARMS = {
    # the micro classifier's labels are shuffled; here it stands for one that learned something
    "tuned": {"set": UPSTREAM, "stands_for": {"init": "upstream"}},
    "frozen": {
        "set": {**UPSTREAM, "init.frozen": "backbone"},
        "stands_for": {"init": "upstream"},
    },
}


def test_a_frozen_backbone_s_savings_and_drift_are_found_in_a_study_that_ran(
    tmp_path: Path,
) -> None:
    directory = start_micro(
        tmp_path / "s",
        arms=ARMS,
        regimes={"full": {"images": "all"}},
        budget={"trials": 1, "keep": [1, 1], "replicates": 3},
    )
    run_inline(directory)
    findings = derive_findings(read_tables(directory))
    papers = {o.name.partition("/")[2]: o for o in findings.claims.papers}
    for name in ("cost-operations", "cost-parameters"):
        (found,) = papers[name].findings
        assert found.verdict is Verdict.SUPPORTED, found.sentence
        assert found.ratio is not None
        assert found.ratio[0] < 1.0
    (drift,) = papers["drift"].findings
    assert (drift.lengths, drift.verdict) == ((2.0, 3.0), Verdict.SUPPORTED)
    assert papers["cost"].findings  # wall time: there, whatever it says
    assert papers["cost-memory"].untested == "no row with metric peak_gb"  # of a process, no GPU's
    tuned, frozen = findings.sections["method_costs"]
    assert (tuned.ratios.trained_share, frozen.amounts.peak_memory_of) == (1.0, "process")
    moved: dict[str, list[float]] = {}
    for row in findings.sections["backbone_drift"]:
        moved.setdefault(row.cell.arm, []).append(row.mean.value)
    assert moved["frozen"] == [0.0, 0.0]
    assert 0.0 < moved["tuned"][0] < moved["tuned"][1]
