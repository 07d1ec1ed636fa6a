"""The tables that everybody reads: one row per trial, one row per rung, one row per asset.

Views of the log, never the truth: whoever finds them missing, damaged or old reads the log instead.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rethink_ray.protocol.asset_usage import AssetUsage
from rethink_ray.protocol.columns import (
    ASSETS,
    PARAM,
    RUNG_HEAD,
    RUNG_TAIL,
    TRIAL_HEAD,
    metric_names,
    param_cells,
    param_fields,
    table_of,
)
from rethink_ray.protocol.status import TrialStatus, trial_statuses
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RungDone
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, sha256_of
from rethink_ray.spec.resolve import cells_of, searches_of, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study

NAMES = ("trials", "rungs", "assets")
SCHEMA_VERSION = 1
SEAL = "records/views.json"
"""What the views were made from, and the SHA-256 of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTables:
    """Everything an analysis needs of a study."""

    study: Study
    facts: DataFacts
    trials: pa.Table
    rungs: pa.Table
    assets: pa.Table
    declared_claims: str = ""
    """Digest of the claims as they stood before the first result; empty: none were declared."""


def build_tables(study: Study, state: StudyState, facts: DataFacts) -> StudyTables:
    """All three tables of a state, rows in canonical order whatever the order of events."""
    fates = [fate for cell in searches_of(study) for fate in trial_statuses(study, state, cell)]
    return StudyTables(
        study=study,
        facts=facts,
        trials=_trials_table(study, state, fates, AssetUsage(study, facts, state)),
        rungs=_rungs_table(study, state, fates),
        assets=_assets_table(state),
    )


def _trials_table(
    study: Study, state: StudyState, fates: Sequence[TrialStatus], started_from: AssetUsage
) -> pa.Table:
    """One row per trial and cell, replicates included."""
    fields = param_fields(study)
    if any(LENGTH_PATH in space_of(study, cell) for cell in cells_of(study)):
        fields.append(pa.field(PARAM + LENGTH_PATH, pa.float64()))
    types = {f.name: f.type for f in fields}
    rungs = _rungs_by_trial(state)
    rows = [
        _trial_row(state, fate, rungs.get(fate.member.trial_id, []), types)
        | {
            "assets": list(started_from.keys_of(fate.cell, fate.member)),
            "searches": state.rounds[fate.cell, fate.purpose][fate.round].searches,
        }
        for fate in fates
    ]
    return table_of(pa.schema([*TRIAL_HEAD, *fields]), rows)


def _rungs_table(study: Study, state: StudyState, fates: Sequence[TrialStatus]) -> pa.Table:
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
        _rung_row(fate, rung, types)
        for fate in fates
        for rung in rungs.get(fate.member.trial_id, [])
    ]
    return table_of(schema, rows)


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
    return table_of(ASSETS, rows)


def write_views(directory: StudyDirectory, state: StudyState) -> None:
    """``trials.parquet``, ``rungs.parquet`` and the assets' table say what the log says now."""
    made_from = _made_from(directory)
    tables = build_tables(directory.study, state, directory.facts)
    digests = {}
    for name in NAMES:
        buffer = io.BytesIO()
        pq.write_table(getattr(tables, name), buffer, compression="zstd")
        content = buffer.getvalue()
        directory.write(view_name(name), content)
        digests[name] = sha256_of(content)
    directory.write(SEAL, json.dumps({**made_from, "sha256": digests}, indent=1))


def read_views(directory: StudyDirectory) -> StudyTables:
    """The tables of a study; made from the log where a view is missing, damaged or old.

    A flipped bit passes Parquet's own checks one time in three (101 of 300), so views are believed
    by their SHA-256 alone. Nothing is written: a reader may look while another process runs the
    study.
    """
    digests = _sealed(directory)
    tables = [_read_one(directory.root / view_name(name), digests.get(name)) for name in NAMES]
    if any(table is None for table in tables):
        made = build_tables(directory.study, directory.load_state(), directory.facts)
        return replace(made, declared_claims=directory.claims_digest)
    trials, rungs, assets = tables
    return StudyTables(
        study=directory.study,
        facts=directory.facts,
        trials=trials,
        rungs=rungs,
        assets=assets,
        declared_claims=directory.claims_digest,
    )


def view_name(name: str) -> str:
    """Where a view lies; the assets' table stands beside the log, it is for the report only."""
    return "records/assets.parquet" if name == "assets" else f"{name}.parquet"


def _made_from(directory: StudyDirectory) -> dict[str, Any]:
    """What a view is made from: the size of the log and the study as continued."""
    return {
        "schema_version": SCHEMA_VERSION,
        "log_bytes": directory.log.size(),
        "study": digest_of(directory.study.model_dump(mode="json")),
    }


def _sealed(directory: StudyDirectory) -> dict[str, str]:
    """View -> SHA-256, if the views were made from what the log and the study are now."""
    try:
        sealed = json.loads((directory.root / SEAL).read_bytes())
        digests: dict[str, str] = sealed.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    return digests if sealed == _made_from(directory) and isinstance(digests, dict) else {}


def _read_one(path: Path, digest: str | None) -> pa.Table | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if sha256_of(content) != digest:
        return None
    return pq.ParquetFile(pa.BufferReader(content)).read()  # read_table imports pandas: 1.1 s


def _identity(fate: TrialStatus) -> dict[str, Any]:
    return {
        "regime": fate.cell.regime,
        "arm": fate.cell.arm,
        "search": fate.cell.search,
        "purpose": fate.purpose,
        "round": fate.round,
        "index": fate.index,
        "trial_id": fate.member.trial_id,
        "of": fate.member.of,
        "seed": fate.member.seed,
    }


def _rungs_by_trial(state: StudyState) -> dict[str, list[RungDone]]:
    """Trial id -> its finished rungs, shortest first."""
    found: dict[str, list[RungDone]] = {}
    for (trial_id, _), rung in sorted(state.rungs.items(), key=lambda pair: pair[0]):
        found.setdefault(trial_id, []).append(rung)
    return found


def _trial_row(
    state: StudyState, fate: TrialStatus, rungs: list[RungDone], types: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    ended = state.ended.get(fate.member.trial_id)
    seconds = sum(r.seconds_train + r.seconds_score for r in rungs)
    return (
        _identity(fate)
        | {
            "state": fate.state,
            "reason": ended.reason if ended else "",
            "longest": fate.longest,
            "incumbent_for": list(fate.incumbent_for),
            "audit": fate.audit,
            "draw": fate.member.draw,
            "converged": fate.converged,
            "seconds": seconds + (ended.seconds if ended else 0.0),
        }
        | _price(rungs)
        | param_cells(types, fate.member.params)
    )


def _price(rungs: list[RungDone]) -> dict[str, Any]:
    """What the method costs, and the most memory that one of its rungs took."""
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
    fate: TrialStatus, rung: RungDone, types: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    return (
        _identity(fate)
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
        }
        | param_cells(types, fate.member.params)
        | {PARAM + LENGTH_PATH: rung.length}
    )
