"""Times of a busy machine: no length dearer than a longer one, no front, and a caveat."""

from dataclasses import replace

import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.read.step_times import unevenness
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RoundProposed, RungDone
from tests.analysis.planted import Planted, build_study, written
from tests.golden_words import assert_says

ARMS = ("scratch", "pretrained")
ROWS = {(arm, n): [10.0 + n, 10.1 + n, 10.2 + n] for arm in ARMS for n in (2.0, 4.0, 6.0)}


def _timed(seconds: dict[tuple[int, float], float]) -> Findings:
    """60 updates a rung, in 6 s; (number of the replicate, length) of scratch as given."""
    planted = Planted(build_study(), written(ROWS))
    number: dict[str, int] = {}
    events = []
    for event in planted.events():
        if isinstance(event, RoundProposed) and (event.arm, event.purpose) == (
            "scratch",
            "replicate",
        ):
            number = {m.trial_id: i for i, m in enumerate(event.members)}
        if isinstance(event, RungDone):
            at = (number.get(event.trial_id, -1), event.length)
            event = replace(event, seconds_train=seconds.get(at, 6.0))
        events.append(event)
    return derive_findings(build_tables(planted.study, StudyState(events), planted.facts))


def _hours(findings: Findings, length: float) -> float:
    return next(
        p.run_hours for p in findings.sections["prices"] if (p.arm, p.length) == ("scratch", length)
    )


def test_a_busy_minute_at_one_length_makes_no_longer_length_cheaper() -> None:
    """All replicates took 12 s for the 60 updates up to 2x and 6 s for each 60 after: 24 s for 180
    updates, 16 s for the 120 of a run of 2x and 48 s for the 360 of one of 6x."""
    findings = _timed({(i, 2.0): 12.0 for i in range(3)})
    assert _hours(findings, 2.0) == pytest.approx(16.0 / 3600.0)
    assert _hours(findings, 6.0) == pytest.approx(48.0 / 3600.0)


def test_replicates_that_took_thrice_as_long_as_others_rank_nobody_by_time() -> None:
    calm = _timed({})
    assert unevenness(calm.study, calm.records) == pytest.approx(1.0)
    assert any(p.best_for_hours for p in calm.sections["prices"])
    busy = _timed({(0, n): 18.0 for n in (2.0, 4.0, 6.0)})
    assert unevenness(busy.study, busy.records) == pytest.approx(3.0)
    assert not any(p.best_for_hours for p in busy.sections["prices"])
    assert {c.ratios.run_hours for c in busy.sections["method_costs"]} == {None}
    assert {c.ratios.run_hours for c in calm.sections["method_costs"]} == {1.0}
    (text,) = [c.text for c in busy.caveats if c.key == "uneven-pace"]
    assert " 3.0 times " in text
    assert_says("analysis", "caveat of uneven step times", text)
    assert not any(c.key == "uneven-pace" for c in calm.caveats)
    assert _hours(busy, 6.0) == _hours(calm, 6.0)  # the median of three
