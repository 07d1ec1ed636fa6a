"""Checkpoint files: written whole or not at all, checked when read, never executed.

A file is one header line with the SHA-256 of the rest, then what ``torch.save`` wrote.
"""

import errno
import io
import json
import logging
import pickle
import re
import shutil
from copy import copy
from pathlib import Path
from typing import Any

import torch

from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.hashing import sha256_of

HEADER = b"rethink-ray checkpoint 1 sha256 "
LEFT_OVER = re.compile(r"\..+\.\d+-[0-9a-f]{8}")
"""Name of a temporary file whose writer was killed."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


class Damaged(RecordError):
    """A checkpoint file is missing, cut short or changed."""


class DiskFull(RecordError):
    """A file could not be written because the disk is full; the file before it is unharmed."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """``path`` holds ``content``. If writing is interrupted, it still holds its old content.

    Raises:
        DiskFull: there is no room for it.
    """
    payload = io.BytesIO()
    torch.save(_make_contiguous(content), payload)
    view = payload.getbuffer()
    _write(path, HEADER + sha256_of(view).encode() + b"\n", view)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The saved content, with tensors on the CPU.

    Raises:
        Damaged: the file is missing, cut short or changed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Damaged(explain(str(path), "must be a readable checkpoint", str(error))) from None
    header, _, payload = raw.partition(b"\n")
    if header != HEADER + sha256_of(payload).encode():
        raise Damaged(explain(str(path), "must match its checksum", "other bytes"))
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Damaged(explain(str(path), "must hold plain tensors", str(error)[:200])) from None
    if not isinstance(content, dict):
        raise Damaged(explain(str(path), "must hold a dictionary", type(content).__name__))
    return content


def write_json(path: Path, value: Any) -> None:
    """``path`` holds ``value`` as JSON; if writing is interrupted, its old content."""
    _write(path, json.dumps(value, indent=1).encode())


def sweep(folder: Path) -> None:
    """Temporary files of killed processes are gone. Only the folder's one writer may call this."""
    for path in folder.glob(".*"):
        if LEFT_OVER.fullmatch(path.name):
            _log.info("%s was never finished and is removed", path)
            path.unlink(missing_ok=True)


def _make_contiguous(content: Any) -> Any:
    """The same numbers in the order of their indices: a file does not depend on a device's."""
    if isinstance(content, torch.Tensor):
        return content.contiguous()
    if isinstance(content, dict):
        whole = copy(content)  # a state dict carries versions of its modules
        for key, value in content.items():
            whole[key] = _make_contiguous(value)
        return whole
    if isinstance(content, list | tuple):
        return type(content)(_make_contiguous(value) for value in content)
    return content


def _write(path: Path, *parts: bytes | memoryview) -> None:
    try:
        write_atomically(path, *parts)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        needed = sum(len(part) for part in parts) / 2**20
        free = shutil.disk_usage(path.parent).free / 2**20
        must = f"must have room for {needed:.1f} MB"
        free_now = f"{free:.1f} MB free ({error.strerror})"
        remedy = "Free some and run again; files that were there before are still whole."
        raise DiskFull(explain(str(path), must, free_now, remedy)) from error
