"""Writes and maps the Arrow files of an index: one record batch each, with metadata beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.spec.errors import DataError, explain


def write_batch(path: Path, columns: dict[str, Any], about: dict[str, Any]) -> None:
    """Writes columns of equal length as one record batch, with metadata beside it."""
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata({"rethink_ray": json.dumps(about)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read_numbers(column: Any) -> NDArray[Any]:
    """Views the column's bytes in the file as numpy; pyarrow's ``to_numpy`` imports pandas."""
    dtype = {"float": "float32"}.get(str(column.type), str(column.type))
    return np.frombuffer(column.buffers()[1] or b"", dtype)[column.offset :][: len(column)]


def map_batch(path: Path) -> tuple[Any, dict[str, Any]]:
    """Returns the one record batch of the file and the metadata beside it."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads(reader.schema.metadata[b"rethink_ray"])
        return reader.get_batch(0), about
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        raise explain_damaged_index(path, str(error)) from error


def explain_damaged_index(path: Path, reason: str) -> DataError:
    """Returns the error for an index that cannot be read."""
    remedy = "Delete that folder; the index is built again from the annotation files."
    return DataError(explain(str(path), "must be an annotation index", reason, remedy))
