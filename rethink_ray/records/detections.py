"""The detections of a replicate in each image of the report split: a Parquet file per length.

A row is one detection, or, with ``objects`` instead of a score, the number of objects of a label in
an image (label 0: the image itself, so that images without objects have a row). Bits say at which
IoU thresholds a detection is correct, so that scores of other draws of these images need neither
the annotations nor a matcher.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain

NUM_IOUS = 10
"""COCO's thresholds 0.50, 0.55 ... 0.95; bit 0 is 0.50."""
DETECTIONS_FOLDER = "detections"
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("label", pa.int32()),
        ("score", pa.float32()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("matched", pa.uint16()),
        ("ignored", pa.uint16()),
        ("objects", pa.int32()),
    ]
)


def detections_folder(trial_id: str) -> str:
    """The folder of a trial's detections, inside its study."""
    return f"trials/{trial_id}/{DETECTIONS_FOLDER}"


def detections_path(root: Path, trial_id: str, length: float) -> Path:
    """The file of a trial's detections at one length."""
    return root / detections_folder(trial_id) / file_name(length)


def file_name(length: float) -> str:
    """``6x.parquet``."""
    return f"{length:g}x.parquet"


def write_detections(path: Path, table: pa.Table) -> None:
    """``path`` holds the table, or what it held before."""
    import pyarrow.parquet as pq  # takes 0.1 s, which a plan need not wait for

    sink = pa.BufferOutputStream()
    pq.write_table(table.cast(SCHEMA), sink, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, sink.getvalue().to_pybytes())


def read_detections(path: Path) -> pa.Table:
    """The table of one file.

    Raises:
        RecordError: it is absent, damaged, or another table.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read()
    except (OSError, pa.ArrowInvalid) as error:
        must = "must be the detections of a replicate"
        raise RecordError(explain(path.name, must, str(error).splitlines()[0])) from None
    if not set(SCHEMA.names) <= set(table.column_names):
        must = f"must have the columns {', '.join(SCHEMA.names)}"
        raise RecordError(explain(path.name, must, ", ".join(table.column_names)))
    return table


def as_bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """[NUM_IOUS, D] bool -> [D] with bit t set where row t is true."""
    weights = (1 << np.arange(NUM_IOUS, dtype=np.uint32))[:, None]
    bits: npt.NDArray[np.uint16] = (flags * weights).sum(axis=0).astype(np.uint16)
    return bits


def from_bits(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """[D] -> [NUM_IOUS, D] bool."""
    flags: npt.NDArray[np.bool_] = (
        bits[None, :].astype(np.uint32) >> np.arange(NUM_IOUS, dtype=np.uint32)[:, None]
    ) & 1 == 1
    return flags
