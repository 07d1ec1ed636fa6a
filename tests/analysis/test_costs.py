"""Costs: equal trials, assets booked to whoever starts from them."""

import pytest
from planted import Planted, build_study, written

from rethink_ray.analysis.costs import study_cost
from rethink_ray.analysis.tables import read_cells

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
