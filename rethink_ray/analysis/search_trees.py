"""What the search cost, said and threw away, as plain data for ``findings.json``."""

from collections.abc import Iterator
from typing import Any

from rethink_ray.analysis.drift import Drift
from rethink_ray.analysis.equal_hours import Afforded, EqualHours
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.frontier import Priced, hour_word
from rethink_ray.analysis.importance import Importance, TooFew
from rethink_ray.analysis.method_costs import Amounts, MethodCost
from rethink_ray.analysis.thrown_away import Halved, what_halving_cost
from rethink_ray.analysis.transfer import Transfer


def search_tree(findings: Findings) -> dict[str, Any]:
    """Top-level keys of ``findings.json``."""
    halved = what_halving_cost(findings.study, findings.records)
    return {
        "hours_are": hour_word(findings.study),
        "prices": [_price(priced) for priced in findings.priced],
        "method_costs": [_method_cost(one) for one in findings.method_costs],
        "backbone_drift": [row for one in findings.drifts for row in _drift(one)],
        "equal_hours": [_equal_hours(one) for one in findings.equal_hours],
        "importance": [_importance(one) for one in findings.importance],
        "halving": [_halving(one) for one in halved],
        "transfer": [_transfer(one) for one in findings.transfers],
    }


def rounded(value: float | None) -> float | None:
    """To 6 significant digits."""
    return None if value is None else float(f"{value:.6g}")


def _price(priced: Priced) -> dict[str, Any]:
    return {
        "regime": priced.regime,
        "arm": priced.arm,
        "length": priced.length,
        "estimate": rounded(priced.score),
        "run_hours": rounded(priced.run_hours),
        "asset_hours": rounded(priced.asset_hours),
        "peak_bytes": priced.peak_bytes or None,
        "front": {"hours": priced.best_for_hours, "memory": priced.best_for_memory},
    }


def _method_cost(one: MethodCost) -> dict[str, Any]:
    return {
        "regime": one.cell.regime,
        "arm": one.cell.arm,
        "length": one.length,
        **_amounts(one.amounts),
        "reference": one.reference,
        "times_reference": _amounts(one.ratios),
        "memory_of": one.amounts.memory_of or None,
    }


def _amounts(amounts: Amounts) -> dict[str, float | None]:
    return {
        "run_hours": rounded(amounts.hours),
        "trained_share": rounded(amounts.trained_share),
        "step_flops": rounded(amounts.step_flops),
        "peak_bytes": rounded(amounts.peak_bytes),
    }


def _drift(one: Drift) -> Iterator[dict[str, Any]]:
    for length, mean in one.by_length.items():
        interval = mean.interval()
        yield {
            "regime": one.cell.regime,
            "arm": one.cell.arm,
            "init": one.source,
            "length": length,
            "estimate": rounded(mean.value),
            "interval": [rounded(v) for v in interval] if interval else None,
            "replicates": mean.nums[0],
        }


def _equal_hours(one: EqualHours) -> dict[str, Any]:
    return {
        "regime": one.cell.regime,
        "arm": one.cell.arm,
        "length": one.length,
        "search_hours": rounded(one.hours),
        "asset_hours": rounded(one.asset_hours),
        "equal_trials": _afforded(one.all_trials),
        "equal_hours": _afforded(one.without_asset),
        "equal_hours_with_assets": _afforded(one.with_asset),
    }


def _afforded(kind: Afforded) -> dict[str, Any]:
    best = kind.best.trial_id if kind.best else None
    return {"trials": kind.trials, "best": best, "select": rounded(kind.select)}


def _importance(found: Importance | TooFew) -> dict[str, Any]:
    cell = {"regime": found.cell.regime, "arm": found.cell.arm, "trials": found.trials}
    if isinstance(found, TooFew):
        return {**cell, "verdict": "not tested"}
    return {
        **cell,
        "length": found.length,
        "parameter": found.path,
        "share": rounded(found.share),
        "by_chance": rounded(found.by_chance),
        "verdict": "clear" if found.clear else "within chance",
    }


def _halving(halved: Halved) -> dict[str, Any]:
    return {
        "regime": halved.cell.regime,
        "arm": halved.cell.arm,
        "lengths": [halved.short, halved.long],
        "trials": halved.both,
        "rank_correlation": rounded(halved.correlation),
        "audited": halved.audited,
        "best_audited": rounded(halved.missed),
    }


def _transfer(one: Transfer) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "best_of": one.came_from,
        "used_in": one.into,
        "length": one.length,
        "trial_id": one.trial_id,
        "costs": rounded(one.cost),
        "untested": one.untested,
    }
