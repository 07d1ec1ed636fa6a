"""What the search cost, said and threw away, as plain data for ``findings.json``."""

from collections.abc import Callable, Iterator
from typing import Any

from rethink_ray.analysis.findings import (
    DRIFT,
    EQUAL_HOURS,
    IMPORTANCE,
    METHODS,
    PRICES,
    TRANSFER,
    Findings,
)
from rethink_ray.analysis.sections.drift import Drift
from rethink_ray.analysis.sections.equal_hours import Afforded, EqualHours
from rethink_ray.analysis.sections.frontier import Priced, hour_word
from rethink_ray.analysis.sections.halving_cost import Halved, what_halving_cost
from rethink_ray.analysis.sections.importance import Importance, TooFew
from rethink_ray.analysis.sections.method_costs import Amounts, MethodCost
from rethink_ray.analysis.sections.transfer import Transfer

SEARCH_KEYS: dict[str, tuple[str, Callable[[Findings], Any]]] = {
    "hours_are": ("", lambda f: hour_word(f.study)),
    "prices": (PRICES, lambda f: [_price(priced) for priced in f.priced]),
    "method_costs": (METHODS, lambda f: [_method_cost(one) for one in f.method_costs]),
    "backbone_drift": (DRIFT, lambda f: [row for one in f.drifts for row in _drift(one)]),
    "equal_hours": (EQUAL_HOURS, lambda f: [_equal_hours(one) for one in f.equal_hours]),
    "importance": (IMPORTANCE, lambda f: [_importance(one) for one in f.importance]),
    "halving": ("", lambda f: [_halving(h) for h in what_halving_cost(f.study, f.records)]),
    "transfer": (TRANSFER, lambda f: [_transfer(one) for one in f.transfers]),
}
"""Top-level keys of ``findings.json``: the part of the findings they show, and how."""


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
