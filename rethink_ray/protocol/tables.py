"""The three tables of a study: one row per trial, one row per rung, one row per asset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from rethink_ray.protocol.asset_usage import AssetUsage
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.columns import (
    ASSETS,
    PARAM,
    RUNG_HEAD,
    RUNG_TAIL,
    TRIAL_HEAD,
    build_table,
    metric_names,
    param_cells,
    param_fields,
)
from rethink_ray.protocol.status import TrialStatus
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import LookTaken, RungDone
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import is_note
from rethink_ray.spec.resolve import cells_of, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTables:
    """Everything an analysis needs of a study."""

    study: Study
    facts: DataFacts
    trials: pa.Table
    rungs: pa.Table
    assets: pa.Table
    declared_claims: str = ""
    """Digest of the claims that were declared before the first result; empty: none were."""
    looks: tuple[LookTaken, ...] = ()
    """The looks of a study that stops when it has decided, in order."""


def build_tables(study: Study, state: StudyState, facts: DataFacts) -> StudyTables:
    """The three tables of a study; the order of rows does not depend on the order of events."""
    view = StudyView(study, state, facts)
    statuses = [status for cell in view.searches for status in cell.statuses]
    return StudyTables(
        study=study,
        facts=facts,
        trials=_trials_table(view, statuses),
        rungs=_rungs_table(study, state, statuses),
        assets=_assets_table(state),
        looks=state.looks_taken,
    )


def _trials_table(view: StudyView, statuses: Sequence[TrialStatus]) -> pa.Table:
    """One row per trial and cell, replicates included."""
    study, state, asset_usage = view.study, view.state, AssetUsage(view)
    fields = param_fields(study)
    if any(LENGTH_PATH in space_of(study, cell) for cell in cells_of(study)):
        fields.append(pa.field(PARAM + LENGTH_PATH, pa.float64()))
    types = {f.name: f.type for f in fields}
    rungs = _rungs_by_trial(state)
    rows = [
        _trial_row(state, status, rungs.get(status.member.trial_id, []), types)
        | {
            "assets": list(asset_usage.keys_of(status.cell, status.member)),
            "searches": state.rounds[status.cell, status.purpose][status.round].searches,
        }
        for status in statuses
    ]
    return build_table(pa.schema([*TRIAL_HEAD, *fields]), rows)


def _rungs_table(study: Study, state: StudyState, statuses: Sequence[TrialStatus]) -> pa.Table:
    """One row per finished rung and cell, replicates included."""
    metrics = metric_names(study, {name for rung in state.rungs.values() for name in rung.metrics})
    fields = param_fields(study)
    types = {f.name: f.type for f in fields}
    schema = pa.schema(
        [
            *RUNG_HEAD,
            *(pa.field(name, pa.float64()) for name in metrics),
            *RUNG_TAIL,
            *fields,
            pa.field(PARAM + LENGTH_PATH, pa.float64()),
        ]
    )
    rungs = _rungs_by_trial(state)
    rows = [
        _rung_row(status, rung, types)
        for status in statuses
        for rung in rungs.get(status.member.trial_id, [])
    ]
    return build_table(schema, rows)


def _assets_table(state: StudyState) -> pa.Table:
    """One row per asset that was built, by key."""
    rows = [
        {
            "key": asset.key,
            "kind": asset.kind,
            "accuracy": asset.metrics.get("accuracy"),
            "chance": asset.metrics.get("chance"),
            "seconds": asset.seconds,
            "refused": asset.refused,
            "metrics": list(asset.metrics.items()),
        }
        for _, asset in sorted(state.assets.items())
    ]
    return build_table(ASSETS, rows)


def _identity(status: TrialStatus) -> dict[str, Any]:
    return {
        "regime": status.cell.regime,
        "arm": status.cell.arm,
        "search": status.cell.search,
        "purpose": status.purpose,
        "round": status.round,
        "index": status.index,
        "trial_id": status.member.trial_id,
        "of": status.member.of,
        "seed": status.member.seed,
    }


def _rungs_by_trial(state: StudyState) -> dict[str, list[RungDone]]:
    """Trial id -> its finished rungs, shortest first."""
    rungs: dict[str, list[RungDone]] = {}
    for (trial_id, _), rung in sorted(state.rungs.items(), key=lambda pair: pair[0]):
        rungs.setdefault(trial_id, []).append(rung)
    return rungs


def _trial_row(
    state: StudyState, status: TrialStatus, rungs: list[RungDone], types: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    ended = state.ended.get(status.member.trial_id)
    seconds = sum(r.seconds_train + r.seconds_score for r in rungs)
    return (
        _identity(status)
        | {
            "state": status.state,
            "reason": ended.reason if ended else "",
            "longest": status.longest,
            "incumbent_for": list(status.incumbent_for),
            "audit": status.audit,
            "draw": status.member.draw,
            "converged": status.converged,
            "seconds": seconds + (ended.seconds if ended else 0.0),
        }
        | _price(rungs)
        | param_cells(types, status.member.params)
    )


def _price(rungs: list[RungDone]) -> dict[str, Any]:
    """Trained share, cost of an update, and the highest memory peak over the rungs."""
    if not rungs:
        return {}
    largest = max(rungs, key=lambda rung: rung.peak_memory_bytes)
    return {
        "trained_share": rungs[-1].trained_share,
        "step_flops": rungs[-1].step_flops,
        "peak_memory_bytes": largest.peak_memory_bytes,
        "peak_memory_of": largest.peak_memory_of,
    }


def _rung_row(
    status: TrialStatus, rung: RungDone, types: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    return (
        _identity(status)
        | dict(rung.metrics)
        | {
            "length": rung.length,
            "steps": rung.steps,
            "seconds_train": rung.seconds_train,
            "seconds_score": rung.seconds_score,
            "steps_new": rung.steps_new,
            "peak_memory_bytes": rung.peak_memory_bytes,
            "host": rung.host,
            "instruction_set": rung.instruction_set,
            "at": rung.at,
            "data_faults": list(_name_faults(rung).items()),
        }
        | param_cells(types, status.member.params)
        | {PARAM + LENGTH_PATH: rung.length}
    )


def _name_faults(rung: RungDone) -> dict[str, int]:
    """``<split>/<kind>`` -> count, of records of any version; notes are left out."""
    named = {
        kind if "/" in kind else f"train/{kind}": count for kind, count in rung.data_faults.items()
    }
    return {name: count for name, count in named.items() if not is_note(name.partition("/")[2])}
