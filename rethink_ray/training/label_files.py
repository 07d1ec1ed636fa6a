"""Files of pseudo labels: Parquet parts with image ids and numbers, and a checksum for each page.

Each part lists its images and the number of parts, so that a lost or damaged part is noticed.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rethink_ray.data.pool import Found
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain

LABELS_FOLDER = "labels"
CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLabels:
    """The labels of a whole pool, from all parts."""

    by_image: dict[int, Found]
    settings: dict[str, Any]
    """``threshold``, ``keep_empty``, ``pool``: how the labels were made."""


def part_path(folder: Path, number: int) -> Path:
    """Where an asset in ``folder`` keeps its part of this number."""
    return folder / LABELS_FOLDER / f"part-{number:06d}.parquet"


def write_part(
    path: Path, labels: Mapping[int, Found], settings: Mapping[str, Any], num_parts: int
) -> None:
    """``path`` holds one row for each box, in the order of images and scores."""
    counts = [len(seen.labels) for seen in labels.values()]
    columns: dict[str, Any] = {
        "image_id": np.repeat(np.array(list(labels), np.int64), counts),
        "label": np.concatenate([seen.labels for seen in labels.values()]),
        "score": np.concatenate([seen.scores for seen in labels.values()]),
    }
    corners = np.concatenate([seen.boxes_xyxy for seen in labels.values()])
    columns |= {name: corners[:, i] for i, name in enumerate(CORNERS)}
    masks = [mask for seen in labels.values() for mask in seen.segmentations]
    columns["segmentation"] = masks or [""] * len(corners)
    about = {"asked": dict(settings), "images": list(labels), "parts": num_parts}
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    table = table.replace_schema_metadata({"rethink_ray": json.dumps(about)})
    whole = io.BytesIO()
    pq.write_table(table, whole, write_page_checksum=True)
    write_atomically(path, whole.getbuffer())


def is_whole(path: Path) -> bool:
    """Whether a part exists and matches its checksums."""
    return _read(path) is not None


def are_whole(folder: Path) -> bool:
    """Whether every part of the asset in ``folder`` exists and matches its checksums."""
    try:
        read_all(folder)
    except RecordError:
        return False
    return True


def read_all(folder: Path) -> PoolLabels:
    """The labels in all parts of an asset.

    Raises:
        RecordError: one is missing or damaged.
    """
    first, about = _require(part_path(folder, 0))
    by_image = _labels_in(first, about["images"])
    for number in range(1, about["parts"]):
        table, part = _require(part_path(folder, number))
        by_image |= _labels_in(table, part["images"])
    return PoolLabels(by_image=by_image, settings=about["asked"])


def _require(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    table = _read(path)
    if table is None:
        must = "must hold the labels that a teacher gave, as they were written"
        raise RecordError(explain(str(path), must, "other bytes, or none", "Run again."))
    return table, json.loads(table.schema.metadata[b"rethink_ray"])


def _read(path: Path) -> pa.Table | None:
    """The part's table, if it is whole. (``read_table`` would import pandas.)"""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (OSError, pa.ArrowInvalid):
        return None


def _labels_in(table: pa.Table, image_ids: Sequence[int]) -> dict[int, Found]:
    def column(name: str, kind: type[np.generic]) -> Any:
        return np.array(table.column(name).to_pylist(), kind)

    image_of_row = column("image_id", np.int64)
    labels, scores = column("label", np.int64), column("score", np.float32)
    boxes = np.stack([column(name, np.float32) for name in CORNERS], axis=1).reshape(-1, 4)
    masks = table.column("segmentation").to_pylist()
    by_image: dict[int, Found] = {}
    for image_id in image_ids:
        rows = slice(*np.searchsorted(image_of_row, [image_id, image_id + 1]))
        by_image[image_id] = Found(
            boxes_xyxy=boxes[rows],
            labels=labels[rows],
            scores=scores[rows],
            segmentations=tuple(masks[rows]) if any(masks[rows]) else (),
        )
    return by_image
