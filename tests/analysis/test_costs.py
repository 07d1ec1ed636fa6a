"""Costs: equal trials, assets booked to whoever starts from them."""

from dataclasses import replace

import pytest

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.judge.read.costs import study_cost
from rethink_ray.judge.read.trials import read_cells
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone
from tests.analysis.planted import Planted, build_study, written

ROWS = {(arm, n): [9.0] for arm in ("scratch", "pretrained", "frozen") for n in (2.0, 4.0, 6.0)}


def test_an_asset_is_booked_to_each_arm_that_starts_from_it_and_counted_once_in_the_whole() -> None:
    arms = {
        "scratch": {},
        "pretrained": {"set": {"init.source": "upstream"}},
        "frozen": {"set": {"init.source": "upstream", "init.frozen": "backbone"}},
    }
    tables = Planted(build_study(arms=arms), written(ROWS)).tables()
    cost = study_cost(tables, read_cells(tables))
    scratch, pretrained = cost.of("full", "scratch"), cost.of("full", "pretrained")
    assert (scratch.search_seconds, scratch.replicate_seconds) == pytest.approx((66.0, 99.0))
    assert (scratch.asset_seconds, pretrained.asset_seconds) == (0.0, 100.0)
    assert pretrained.assets == cost.of("full", "frozen").assets
    assert cost.total_seconds == pytest.approx(3 * 165.0 + 100.0)


def test_a_searched_norm_needs_one_classifier_per_norm() -> None:
    search = {
        "optimizer.lr": {"log_uniform": [0.005, 0.08]},
        "detector.norm": {"choice": ["gn", "bn"]},
    }
    planted = Planted(build_study(search=search), written(ROWS))
    planted.norms = ("gn", "bn")
    tables = planted.tables()
    keys = study_cost(tables, read_cells(tables)).of("full", "pretrained").assets
    assert len(keys) == 2


def test_an_asset_that_an_older_version_named_otherwise_is_booked_where_only_one_can_be_meant() -> (
    None
):
    planted = Planted(build_study(), written(ROWS))
    older = [
        replace(e, key="classifier-0123456789abcdef") if isinstance(e, AssetDone) else e
        for e in planted.events()
    ]
    tables = build_tables(planted.study, StudyState(older), planted.facts)
    cost = study_cost(tables, read_cells(tables))
    pretrained = cost.of("full", "pretrained")
    assert pretrained.assets == ("classifier-0123456789abcdef",)
    assert pretrained.asset_seconds == 100.0
    two = [*older, AssetDone(key="classifier-other", kind="classifier", metrics={}, seconds=7.0)]
    unclear = build_tables(planted.study, StudyState(two), planted.facts)
    findings = derive_findings(unclear)
    assert findings.cost.of("full", "pretrained").asset_seconds == 0.0
    assert any("do not name classifier-" in c.text for c in findings.caveats)
