"""A study's tables as Parquet files, sealed by the log they were built from and by their SHA-256.

The log is the truth. Where a view is missing, damaged or older than the log, ``read_views`` returns
None and its caller builds the tables from the log. Parquet's own checks miss one flipped bit in
three (101 of 300), so only the SHA-256 counts.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, sha256_of
from rethink_ray.spec.study import Study

NAMES = ("trials", "rungs", "assets")
VIEWS_VERSION = 2
SEAL = "records/views.json"
"""The size of the log and the study that the views were built from, and the SHA-256 of each."""


class Tables(Protocol):
    """The three tables that become views."""

    @property
    def trials(self) -> pa.Table:
        """One row per trial."""

    @property
    def rungs(self) -> pa.Table:
        """One row per trial and finished length."""

    @property
    def assets(self) -> pa.Table:
        """One row per asset."""


TableBuilder = Callable[[Study, StudyState, DataFacts], Tables]


def write_views(directory: StudyDirectory, state: StudyState, build: TableBuilder) -> None:
    """``trials.parquet``, ``rungs.parquet`` and the assets' table agree with the log.

    Raises:
        OSError: the disk refused.
    """
    built_from = _describe_source(directory)
    tables = build(directory.study, state, directory.facts)
    digests = {}
    for name in NAMES:
        buffer = io.BytesIO()
        pq.write_table(getattr(tables, name), buffer, compression="zstd")
        content = buffer.getvalue()
        directory.write(view_name(name), content)
        digests[name] = sha256_of(content)
    directory.write(SEAL, json.dumps({**built_from, "sha256": digests}, indent=1))


def read_views(directory: StudyDirectory) -> dict[str, pa.Table] | None:
    """``trials``, ``rungs`` and ``assets``; None if one is missing, damaged or older than the log.

    Nothing is written: a reader may look while another process runs the study.
    """
    digests = _read_seal(directory)
    tables: dict[str, pa.Table] = {}
    for name in NAMES:
        table = _read_table(directory.root / view_name(name), digests.get(name))
        if table is None:
            return None
        tables[name] = table
    return tables


def view_name(name: str) -> str:
    """The path of a view in its study; the assets' table, read by reports only, is with the log."""
    return "records/assets.parquet" if name == "assets" else f"{name}.parquet"


def _describe_source(directory: StudyDirectory) -> dict[str, Any]:
    """The size of the log, and the digest of the study as last continued."""
    return {
        "schema_version": VIEWS_VERSION,
        "log_bytes": directory.log.size(),
        "study": digest_of(directory.study.model_dump(mode="json")),
    }


def _read_seal(directory: StudyDirectory) -> dict[str, str]:
    """View -> SHA-256; empty if log or study have changed since the views were written."""
    try:
        seal = json.loads((directory.root / SEAL).read_bytes())
        digests: dict[str, str] = seal.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    is_current = seal == _describe_source(directory) and isinstance(digests, dict)
    return digests if is_current else {}


def _read_table(path: Path, digest: str | None) -> pa.Table | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if sha256_of(content) != digest:
        return None
    return pq.ParquetFile(pa.BufferReader(content)).read()  # read_table imports pandas: 1.1 s
