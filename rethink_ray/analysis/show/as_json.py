"""Any result of an analysis as JSON: a field's name is its key.

Floats have 6 significant digits; a number that is not finite is an error. The fields of a ``Cell``
or an ``Estimate`` are written beside the other fields of their owner, without a level of their own.
A trial is written as its id. ``COMPUTED`` adds keys to some types, and ``LEFT_OUT`` lists fields
that are not written.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from rethink_ray.analysis.answer import OpenQuestion, Recommendation, RegimeAnswer
from rethink_ray.analysis.compare import ComparedSource, Effect
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import Configuration, CurvePoint
from rethink_ray.judge.read.trials import Trial
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, Estimate
from rethink_ray.judge.verdicts import Finding
from rethink_ray.spec.claim import Claim
from rethink_ray.spec.resolve import Cell

Tree = dict[str, Any]


def json_text(tree: Any) -> str:
    """ASCII, keys in the order of fields.

    Raises:
        ValueError: a number that is not finite, or two values for one key.
        TypeError: a value that JSON has no form for.
    """
    return json.dumps(as_plain(tree), indent=1, allow_nan=False)


def as_plain(value: Any) -> Any:
    """A value as numbers, texts, lists and dictionaries; a dataclass becomes field -> value."""
    match value:
        case Enum():
            return as_plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return rounded(value)
        case Path():
            return value.as_posix()
        case Trial():
            return value.trial_id
        case Mapping():
            return {_key_text(key): as_plain(one) for key, one in value.items()}
        case list() | tuple():
            return [as_plain(one) for one in value]
        case set() | frozenset():
            return sorted(as_plain(one) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields_of(value)
    raise TypeError(f"JSON has no form for {type(value).__name__}")


def rounded(value: float) -> float:
    """To 6 significant digits."""
    if not math.isfinite(value):
        raise ValueError(f"a number in JSON must be finite, but got {value}")
    return float(f"{value:.6g}")


def _key_text(key: Any) -> str:
    match key:
        case float():
            return f"{key:g}"
        case Cell():
            return key.name
        case Enum():
            return str(key.value)
    return str(key)


def _fields_of(value: Any) -> Tree:
    tree: Tree = {}
    owner: Any = type(value)
    for name, inline in _layout_of(owner):
        one = getattr(value, name)
        _merge(tree, inline(one) if inline else {name: as_plain(one)}, owner)
    if owner in COMPUTED:
        _merge(tree, COMPUTED[owner](value), owner)
    return tree


def _merge(tree: Tree, more: Mapping[str, Any], owner: type) -> None:
    doubled = sorted(tree.keys() & more.keys())
    if doubled:
        raise ValueError(f"{owner.__name__}: two values for {', '.join(doubled)}")
    tree.update(more)


@cache
def _layout_of(owner: type) -> tuple[tuple[str, Callable[[Any], Tree] | None], ...]:
    """(field, function that spreads it beside the others, or None to keep its name), in order."""
    hints = typing.get_type_hints(owner)
    left_out = LEFT_OUT.get(owner, frozenset())
    return tuple(
        (field.name, _inline_of(hints[field.name]))
        for field in dataclasses.fields(owner)
        if field.name not in left_out
    )


def _inline_of(hint: Any) -> Callable[[Any], Tree] | None:
    """The function that spreads a field of this type, if it is in ``INLINE``, ``None`` or not."""
    options: Sequence[Any] = typing.get_args(hint) or (hint,)
    plain = [option for option in options if option is not type(None)]
    return INLINE.get(plain[0]) if len(plain) == 1 else None


def _cell_tree(cell: Cell) -> Tree:
    return {"regime": cell.regime, "arm": cell.arm}


def _estimate_tree(estimate: Estimate | None) -> Tree:
    if estimate is None:
        return {"estimate": None, "interval": None, "replicates": []}
    return {
        "estimate": rounded(estimate.value),
        "interval": as_plain(estimate.interval()),
        "replicates": list(estimate.nums),
    }


def _claim_tree(claim: Claim) -> Tree:
    return {"says": claim.says, "source": claim.source}


INLINE: Mapping[Any, Callable[[Any], Tree]] = {
    Cell: _cell_tree,
    Estimate: _estimate_tree,
    Claim: _claim_tree,
}
"""Types whose fields are written beside the other fields of their owner."""


def _finding_extras(finding: Finding) -> Tree:
    effect, stop = finding.effect, finding.stop
    p = stop.p if stop else effect.p_value if effect else None
    extras = {
        "interval_90": as_plain(effect.interval(EQUIVALENCE_LEVEL) if effect else None),
        "p": as_plain(p),
    }
    return extras if stop is None else extras | {"stop": _stop_tree(stop)}


def _stop_tree(stop: LookStop) -> Tree:
    return {
        "verdict": stop.verdict,
        "number": stop.number,
        "most": stop.most,
        "more": stop.more,
        "family_interval": as_plain(stop.family_interval),
        "unbiased": as_plain(stop.unbiased),
        "later": _estimate_tree(stop.later) if stop.later else None,
    }


COMPUTED: Mapping[type, Callable[[Any], Tree]] = {
    Finding: _finding_extras,
    CurvePoint: lambda point: _estimate_tree(point.mean),
    StudyCost: lambda cost: {
        "slot_seconds": rounded(cost.total_seconds),
        "asset_seconds": rounded(cost.asset_seconds),
    },
    Configuration: lambda best: {"params": dict(best.params)},  # as sampled, to the last digit
    Recommendation: lambda best: {"params": dict(best.params)},
    RegimeAnswer: lambda answer: {"tied": list(answer.tied)},
    ComparedSource: lambda source: {"reported": source.reported},
    Effect: lambda effect: {"evidence": list(effect.evidence)},
}
"""Type -> function that returns further keys to write beside its fields."""
LEFT_OUT: Mapping[type, frozenset[str]] = {
    CurvePoint: frozenset({"order"}),
    Finding: frozenset({"stop"}),  # only studies with looks have it
    OpenQuestion: frozenset({"stop"}),  # its sentence says so
    RegimeAnswer: frozenset({"looks"}),  # its paragraph says so
    StudyCost: frozenset({"cells", "assets", "renamed"}),  # sections of their own
    Configuration: frozenset({"params"}),
    Recommendation: frozenset({"params"}),
    ComparedSource: frozenset({"samples", "has_looks"}),
    Effect: frozenset({"matched_pair"}),
    ClaimOutcome: frozenset({"is_primary", "is_post_hoc"}),  # its findings say so
}
"""Type -> fields that are not written."""
