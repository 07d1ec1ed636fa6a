"""Names, types and order of the columns of a study's tables: the only place that spells them."""

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
    {"at", "host", "instruction_set", "gpu", "peak_memory_bytes", "peak_memory_of"}
    | {"seconds", "seconds_train", "seconds_score"}
)
"""Columns that depend on when and where a study ran; the others depend on the study alone."""
KEY_COLUMNS = [
    ("regime", pa.string()),
    ("arm", pa.string()),
    ("search", pa.int64()),
    ("purpose", pa.string()),
    ("round", pa.int64()),
    ("index", pa.int64()),
    ("trial_id", pa.string()),
    ("of", pa.string()),
    ("seed", pa.int64()),
]
"""Columns of both tables that say which trial a row is about."""
RUNG_HEAD = pa.schema(
    [
        *KEY_COLUMNS,
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
        ("gpu", pa.string()),
        ("at", pa.float64()),
        ("data_faults", pa.map_(pa.string(), pa.int64())),
    ]
)
TRIAL_HEAD = pa.schema(
    [
        *KEY_COLUMNS,
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


def searched_paths(study: Study) -> dict[str, Parameter]:
    """Every path that some cell searches, in the order of the file."""
    parameters: dict[str, Parameter] = {}
    for cell in cells_of(study):
        for path, parameter in space_of(study, cell).items():
            if path != LENGTH_PATH:
                parameters.setdefault(path, parameter)
    return parameters


def param_fields(study: Study) -> list[pa.Field]:
    """One column per searched path (``param.optimizer.lr``), of a type that holds its values."""
    return [pa.field(PARAM + path, _type_of(study, path)) for path in searched_paths(study)]


def metric_names(study: Study, seen: Iterable[str]) -> list[str]:
    """``<split>/<metric>`` names in a fixed order: the study's own two, and those of ``seen``."""
    splits = list(dict.fromkeys([study.data.select_split, study.data.report_split]))
    names = {selection_metric(study), report_metric(study), *seen}

    def order(name: str) -> tuple[int, int, str]:
        split, _, metric = name.partition("/")
        return (
            splits.index(split) if split in splits else len(splits),
            SCORES.index(metric) if metric in SCORES else len(SCORES),
            name,
        )

    return sorted(names, key=order)


def build_table(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a table; a column that a row lacks is null there."""
    columns = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def param_cells(types: Mapping[str, pa.DataType], params: Mapping[str, Value]) -> dict[str, Any]:
    """Sampled values under their column names; paths without a column are left out.

    Args:
        types: column name -> type, as ``param_fields`` gives them.
        params: dotted path -> value.
    """
    cells: dict[str, Any] = {}
    for path, value in params.items():
        column_type = types.get(PARAM + path)
        if column_type is not None and value is not None:
            cells[PARAM + path] = str(value) if column_type == pa.string() else value
    return cells


def _type_of(study: Study, path: str) -> pa.DataType:
    """The narrowest type that holds every value that a cell can sample for a path; else text."""
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
