"""Names and order of the columns that everybody reads. Spelt here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from rethink_ray.protocol.incumbents import report_metric, selection_metric
from rethink_ray.spec.metrics import SCORES
from rethink_ray.spec.resolve import cells_of, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import Study

PARAM = "param."
"""Prefix of a searched path's column."""
MACHINE_COLUMNS = frozenset(
    {"at", "host", "instruction_set", "peak_memory_bytes", "peak_memory_of"}
    | {"seconds", "seconds_train", "seconds_score"}
)
"""What depends on when and where a study ran; every other column is a function of the study."""
RUNG_HEAD = pa.schema(
    [
        ("regime", pa.string()),
        ("arm", pa.string()),
        ("search", pa.int64()),
        ("purpose", pa.string()),
        ("round", pa.int64()),
        ("index", pa.int64()),
        ("trial_id", pa.string()),
        ("of", pa.string()),
        ("seed", pa.int64()),
        ("length", pa.float64()),
        ("steps", pa.int64()),
    ]
)
RUNG_TAIL = pa.schema(
    [
        ("seconds_train", pa.float64()),
        ("seconds_score", pa.float64()),
        ("steps_new", pa.int64()),
        ("peak_memory_bytes", pa.int64()),
        ("host", pa.string()),
        ("instruction_set", pa.string()),
        ("at", pa.float64()),
    ]
)
TRIAL_HEAD = pa.schema(
    [
        ("regime", pa.string()),
        ("arm", pa.string()),
        ("search", pa.int64()),
        ("purpose", pa.string()),
        ("round", pa.int64()),
        ("index", pa.int64()),
        ("trial_id", pa.string()),
        ("of", pa.string()),
        ("seed", pa.int64()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("longest", pa.float64()),
        ("incumbent_for", pa.list_(pa.float64())),
        ("audit", pa.bool_()),
        ("seconds", pa.float64()),
        ("trained_share", pa.float64()),
        ("step_flops", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("peak_memory_of", pa.string()),
        ("assets", pa.list_(pa.string())),
        ("draw", pa.int64()),
        ("searches", pa.int64()),
        ("converged", pa.float64()),
    ]
)
ASSETS = pa.schema(
    [
        ("key", pa.string()),
        ("kind", pa.string()),
        ("accuracy", pa.float64()),
        ("chance", pa.float64()),
        ("seconds", pa.float64()),
        ("refused", pa.string()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
    ]
)


def searched(study: Study) -> dict[str, Parameter]:
    """Every path that some cell searches, in the order of the file."""
    found: dict[str, Parameter] = {}
    for cell in cells_of(study):
        for path, parameter in space_of(study, cell).items():
            if path != LENGTH_PATH:
                found.setdefault(path, parameter)
    return found


def param_fields(study: Study) -> list[pa.Field]:
    """One column per searched path (``param.optimizer.lr``), typed by what it can hold."""
    return [pa.field(PARAM + path, _type_of(study, path)) for path in searched(study)]


def metric_names(study: Study, seen: Iterable[str]) -> list[str]:
    """``<split>/<metric>``: what the study decides on, and all others seen, in a fixed order."""
    splits = list(dict.fromkeys([study.data.select_split, study.data.report_on]))
    wanted = {selection_metric(study), report_metric(study), *seen}

    def place(name: str) -> tuple[int, int, str]:
        split, _, metric = name.partition("/")
        return (
            splits.index(split) if split in splits else len(splits),
            SCORES.index(metric) if metric in SCORES else len(SCORES),
            name,
        )

    return sorted(wanted, key=place)


def table_of(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a table; what a row does not say is null."""
    columns = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def param_cells(types: Mapping[str, pa.DataType], params: Mapping[str, Value]) -> dict[str, Any]:
    """Sampled values under their column names; a path that is not searched here is absent.

    Args:
        types: column name -> type, of ``param_fields``.
        params: dotted path -> value.
    """
    found: dict[str, Any] = {}
    for path, value in params.items():
        wanted = types.get(PARAM + path)
        if wanted is not None and value is not None:
            found[PARAM + path] = str(value) if wanted == pa.string() else value
    return found


def _type_of(study: Study, path: str) -> pa.DataType:
    """The narrowest type that holds every value any cell can sample for a path; else text."""
    kinds: set[type] = set()
    for cell in cells_of(study):
        parameter = space_of(study, cell).get(path)
        if parameter is None:
            continue
        if parameter.choice is None:
            kinds.add(int if parameter.kind == "int_uniform" else float)
        else:
            kinds |= {type(option) for option in parameter.choice if option is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()
