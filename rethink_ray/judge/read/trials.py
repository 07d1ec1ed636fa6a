"""A study's tables, read into what findings ask for: per cell its trials and their scores.

The only file of this room that names a column of ``trials`` or ``rungs``.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa

from rethink_ray.protocol.cell_rules import may_end_early
from rethink_ray.protocol.columns import PARAM
from rethink_ray.protocol.convergence import Convergence
from rethink_ray.protocol.incumbents import report_metric, selection_metric
from rethink_ray.protocol.looks import count_replicates, count_searches
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.fault_kinds import describe_kind
from rethink_ray.spec.resolve import Cell, cells_of, copied_cell, lengths_of
from rethink_ray.spec.study import Study

FAILED = ("diverged", "infeasible", "misconfigured", "refused")
"""States in which the method itself ended a trial. These are results: the worst ones."""
TRIAL_COLUMNS = (
    "regime",
    "arm",
    "purpose",
    "round",
    "trial_id",
    "of",
    "seed",
    "state",
    "reason",
    "longest",
    "incumbent_for",
    "audit",
    "seconds",
    "assets",
)
PRICE_COLUMNS = ("trained_share", "step_flops", "peak_memory_bytes", "peak_memory_of")
"""Columns of trials that older studies lack."""
SEARCH_COLUMNS = ("search", "searches")
"""Columns of trials that older studies lack: those have one search a cell."""
CONVERGED = "converged"
"""Column of trials: the length at which their round stopped improving; older studies lack it."""
DRAW = "draw"
"""Column of trials: which draw of its regime's images it trained on; older studies lack it."""
ASSET_COLUMNS = ("key", "kind", "accuracy", "chance", "seconds", "refused")
ASSET_METRICS = "metrics"
"""Column of assets that older studies lack: every metric of each."""
RUNG_COLUMNS = (
    "regime",
    "arm",
    "trial_id",
    "length",
    "seconds_train",
    "seconds_score",
    "peak_memory_bytes",
    "instruction_set",
    "steps_new",
    "steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of ``trials``."""

    round: int
    """The round that proposed it; replicates that are added later are a later round."""
    trial_id: str
    of: str | None
    seed: int
    state: str
    reason: str
    longest: float | None
    incumbent_for: tuple[float, ...]
    audit: bool
    seconds: float
    assets: tuple[str, ...]
    """Keys of everything it started from."""
    params: Mapping[str, Any]
    """Dotted path -> sampled value; paths the cell does not search are left out."""
    trained_share: float | None = None
    """Of its detector's parameters, those that move, 0..1; None if they were not counted."""
    step_flops: float | None = None
    """Floating-point operations of one update; None if they were not counted."""
    peak_memory_bytes: int = 0
    """The most memory it held; 0 if it was not measured."""
    peak_memory_of: str = ""
    """``gpu``: its own allocations there; ``process``: the whole process since it began."""
    search: int = 0
    """Which of its cell's searches it belongs to."""
    searches: int = 1
    """How many searches the study had when its round was proposed."""
    converged: float | None = None
    """Search trials: the length at which their round stopped improving; None: it has not."""
    draw: int = 0
    """Which draw of its regime's images it trained on; 0 is the regime itself."""

    @property
    def can_run(self) -> bool:
        """Whether a repeat can run: a diverged trial can, an infeasible one cannot."""
        return self.state not in FAILED or self.state == "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class RungScore:
    """The objective at one finished rung, on the two splits; None where it was not scored."""

    select: float | None
    report: float | None
    seconds: float
    peak_memory_bytes: int = 0
    """The most memory its process held; 0 if it was not measured."""
    steps: int = 0
    """Updates of a stand-alone run of this length."""
    seconds_train: float = 0.0
    """Wall time of the updates new to this rung."""
    steps_new: int = 0
    """How many those were: the trunk since the last rung, and the branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One row of ``assets``."""

    key: str
    kind: str
    accuracy: float | None
    chance: float | None
    """Both 0..1."""
    ap: float | None
    """Box AP in points of a detector that was scored, on the split that selects."""
    seconds: float
    refused: str
    """Why no trial may start from it; empty if it is fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """Everything that was recorded about one cell."""

    cell: Cell
    lengths: tuple[float, ...]
    search: tuple[Trial, ...]
    replicates: tuple[Trial, ...]
    scores: Mapping[tuple[str, float], RungScore]
    """(trial id, length) -> score."""
    updates: Mapping[str, int]
    """Trial id -> updates it ran, shared trunks counted once."""
    measures: Mapping[tuple[str, float], Mapping[str, float]]
    """(trial id, length) -> every metric of the report split and of training, replicates only;
    ``step_ms`` is the wall time of one update."""
    num_replicates: int
    """Replicates that each incumbent has to have, by the looks so far."""
    num_searches: int
    """Searches that the cell has to have, by the looks so far."""
    convergence: Convergence | None = None
    """Where its ladder ended, if it can end early; ``lengths`` are then those up to there."""

    def incumbent(self, length: float) -> Trial | None:
        """The search trial that ``records`` named best at this length, of the first search."""
        return next((t for t in self.search if length in t.incumbent_for), None)

    def of_search(self, number: int) -> "CellRecord":
        """One search of the cell, and the replicates of its incumbents."""
        return replace(
            self,
            search=tuple(t for t in self.search if t.search == number),
            replicates=tuple(t for t in self.replicates if t.search == number),
        )


def read_cells(tables: StudyTables) -> dict[Cell, CellRecord]:
    """Every cell of the study in its canonical order, empty ones included.

    Raises:
        RecordError: a column is missing, so the tables are not this program's.
    """
    study = tables.study
    younger = (*PRICE_COLUMNS, *SEARCH_COLUMNS, CONVERGED, DRAW)
    known = [name for name in younger if name in tables.trials.column_names]
    trials = _rows(tables.trials, TRIAL_COLUMNS, "trials", known)
    by_cell: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in cells_of(study)}
    for row in trials:
        by_cell.setdefault(Cell(row["regime"], row["arm"]), []).append(row)
    scores, measures, updates = _scores(tables), _measures(tables), _updates(tables)
    records = {
        cell: CellRecord(
            cell=cell,
            lengths=lengths_of(study, cell),
            search=tuple(_trial(r) for r in by_cell[cell] if r["purpose"] == "search"),
            replicates=tuple(_trial(r) for r in by_cell[cell] if r["purpose"] == "replicate"),
            scores=scores.get(cell, {}),
            updates=updates.get(cell, {}),
            measures=measures.get(cell, {}),
            num_replicates=count_replicates(study, tables.looks, cell),
            num_searches=count_searches(study, tables.looks, cell),
        )
        for cell in cells_of(study)
    }
    return ended_early(study, records)


def ended_early(study: Study, records: Mapping[Cell, CellRecord]) -> dict[Cell, CellRecord]:
    """The records with the ladders that were really run, if ladders can end early.

    An arm that copies its values runs as far as the arm that it copies.
    """
    if not may_end_early(study):
        return dict(records)
    shortened = {}
    for cell, record in records.items():
        end = _convergence(records[copied_cell(study, cell) or cell])
        if end is not None:
            lengths = tuple(x for x in record.lengths if x <= end.length)
            record = replace(record, lengths=lengths, convergence=end)
        shortened[cell] = record
    return shortened


def _convergence(record: CellRecord) -> Convergence | None:
    """Where the rounds so far ended; None while one of them runs, or if none has ended."""
    if len(record.lengths) < 2 or any(t.state == "waiting" for t in record.search):
        return None
    ends = {t.round: t.converged for t in record.search}
    stopped = [length for length in ends.values() if length is not None]
    top = record.lengths[-1]
    improving = any(t.longest == top and t.converged is None for t in record.search)
    if not (stopped or improving):
        return None
    return Convergence(length=top if improving else max(stopped), improving=improving)


def read_assets(table: pa.Table) -> tuple[Asset, ...]:
    """Every asset that was built.

    Raises:
        RecordError: a column is missing.
    """
    extra = [name for name in table.column_names if name == ASSET_METRICS]
    return tuple(
        Asset(
            key=row["key"],
            kind=row["kind"],
            accuracy=_finite(row["accuracy"]),
            chance=_finite(row["chance"]),
            ap=_finite(_find_ap(row.get(ASSET_METRICS) or ())),
            seconds=row["seconds"] or 0.0,
            refused=row["refused"] or "",
        )
        for row in _rows(table, ASSET_COLUMNS, "assets", extra)
    )


def _find_ap(metrics: Iterable[tuple[str, float]]) -> float | None:
    return next((value for name, value in metrics if name.endswith("/ap")), None)


def _scores(tables: StudyTables) -> dict[Cell, dict[tuple[str, float], RungScore]]:
    table = tables.rungs
    names = [selection_metric(tables.study), report_metric(tables.study)]
    absent: list[None] = [None] * table.num_rows
    values = [_column(table, n) if n in table.column_names else absent for n in names]
    scores: dict[Cell, dict[tuple[str, float], RungScore]] = {}
    heads = _columns(table, RUNG_COLUMNS, "rungs")
    for (regime, arm, trial_id, length, train, score, peak, _, new, steps), select, report in zip(
        heads, *values, strict=True
    ):
        scores.setdefault(Cell(regime, arm), {})[trial_id, float(length)] = RungScore(
            select=_finite(select),
            report=_finite(report),
            seconds=(train or 0.0) + (score or 0.0),
            peak_memory_bytes=peak or 0,
            steps=steps or 0,
            seconds_train=train or 0.0,
            steps_new=new or 0,
        )
    return scores


def _updates(tables: StudyTables) -> dict[Cell, Counter[str]]:
    updates: dict[Cell, Counter[str]] = {}
    for row in _columns(tables.rungs, ("regime", "arm", "trial_id", "steps_new"), "rungs"):
        regime, arm, trial_id, steps = row
        updates.setdefault(Cell(regime, arm), Counter())[trial_id] += steps or 0
    return updates


def read_faults_met_in_runs(tables: StudyTables) -> dict[tuple[str, str], int]:
    """(regime, kind) -> the count of the run that met most; only kinds that no index can count.

    Raises:
        RecordError: a column is missing.
    """
    most: Counter[tuple[str, str]] = Counter()
    for regime, faults in _columns(tables.rungs, ("regime", "data_faults"), "rungs"):
        for name, count in faults or ():
            split, _, kind = name.partition("/")
            if split == "train" and describe_kind(kind).is_met_in_runs:
                most[regime, kind] = max(count, most[regime, kind])
    return dict(sorted(most.items()))


def _measures(tables: StudyTables) -> dict[Cell, dict[tuple[str, float], dict[str, float]]]:
    split = f"{tables.study.data.report_split}/"
    names = [n for n in tables.rungs.column_names if n.startswith((split, "train/"))]
    table = _replicates(tables.rungs)
    measures: dict[Cell, dict[tuple[str, float], dict[str, float]]] = {}
    for row in _rows(table, RUNG_COLUMNS, "rungs", names):
        measured = {
            name.partition("/")[2]: value
            for name in names
            if (value := _finite(row[name])) is not None
        }
        if row["steps_new"] and row["seconds_train"]:
            measured["step_ms"] = 1000.0 * row["seconds_train"] / row["steps_new"]
        of_cell = measures.setdefault(Cell(row["regime"], row["arm"]), {})
        of_cell[row["trial_id"], float(row["length"])] = measured
    return measures


def _replicates(rungs: pa.Table) -> pa.Table:
    """The rungs of replicates. Sliced by hand: pyarrow.compute imports pandas, which takes 1 s."""
    runs: list[pa.Table] = []
    purposes = _column(rungs, "purpose") if "purpose" in rungs.column_names else []
    start = 0
    for purpose, group in groupby(purposes):
        size = sum(1 for _ in group)
        if purpose == "replicate":
            runs.append(rungs.slice(start, size))
        start += size
    return pa.concat_tables(runs) if runs else rungs.slice(0, 0)


def _rows(
    table: pa.Table, needed: tuple[str, ...], name: str, extra: list[str] | None = None
) -> list[dict[str, Any]]:
    _check(table, needed, name)
    params = [c for c in table.column_names if c.startswith(PARAM)] if name == "trials" else []
    rows: list[dict[str, Any]] = table.select([*needed, *(extra or []), *params]).to_pylist()
    return rows


def _columns(table: pa.Table, needed: tuple[str, ...], name: str) -> Iterator[tuple[Any, ...]]:
    """Rows as tuples: a fifth of the time and memory of dictionaries."""
    _check(table, needed, name)
    return zip(*(_column(table, column) for column in needed), strict=True)


def _column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table.column(name).to_pylist()
    return values


def _check(table: pa.Table, needed: tuple[str, ...], name: str) -> None:
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        remedy = "Delete the Parquet file; it is rebuilt from the records."
        raise RecordError(explain(f"{name}.parquet", f"must have {missing}", "none", remedy))


def _trial(row: Mapping[str, Any]) -> Trial:
    return Trial(
        round=row["round"],
        trial_id=row["trial_id"],
        of=row["of"],
        seed=row["seed"],
        state=row["state"],
        reason=row["reason"] or "",
        longest=row["longest"],
        incumbent_for=tuple(float(v) for v in row["incumbent_for"] or ()),
        audit=bool(row["audit"]),
        seconds=row["seconds"] or 0.0,
        assets=tuple(row["assets"] or ()),
        params={
            key.removeprefix(PARAM): value
            for key, value in row.items()
            if key.startswith(PARAM) and value is not None
        },
        trained_share=_finite(row.get("trained_share")),
        step_flops=_finite(row.get("step_flops")),
        peak_memory_bytes=row.get("peak_memory_bytes") or 0,
        peak_memory_of=row.get("peak_memory_of") or "",
        search=row.get("search") or 0,
        searches=row.get("searches") or 1,
        converged=row.get(CONVERGED),
        draw=row.get(DRAW) or 0,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
