"""Maps the Arrow files of an index into memory and views their columns as numpy arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.spec.errors import DataError, explain


def map_batch(path: Path) -> tuple[Any, dict[str, Any]]:
    """Returns the one record batch of the file and the metadata beside it.

    Raises:
        DataError: the file is no table of an index.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads(reader.schema.metadata[b"rethink_ray"])
        return reader.get_batch(0), about
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        raise damaged_index_error(path, str(error)) from error


def read_numbers(column: Any) -> NDArray[Any]:
    """Views the column's bytes in the file as numpy; pyarrow's ``to_numpy`` imports pandas."""
    dtype = {"float": "float32"}.get(str(column.type), str(column.type))
    return np.frombuffer(column.buffers()[1] or b"", dtype)[column.offset :][: len(column)]


def damaged_index_error(path: Path, reason: str) -> DataError:
    """Builds the error that names a damaged index and what to do."""
    remedy = "Delete that folder; the index is built again from the annotation files."
    return DataError(explain(str(path), "must be an annotation index", reason, remedy))
