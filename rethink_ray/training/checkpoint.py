"""Checkpoint files: whole or absent, checked when read, and nothing in them is ever executed.

A file is one header line with the SHA-256 of the rest, then what ``torch.save`` wrote.
"""

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain

HEADER = b"rethink-ray checkpoint 1 sha256 "


class Damaged(RecordError):
    """A checkpoint file is not what was written: torn, cut short or changed."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """``path`` holds ``content`` from now on, or what it held before if this is interrupted."""
    payload = io.BytesIO()
    torch.save(content, payload)
    view = payload.getbuffer()
    write_atomically(path, HEADER + hashlib.sha256(view).hexdigest().encode() + b"\n", view)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What was saved, on the CPU.

    Raises:
        Damaged: the file is missing, cut short or changed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Damaged(explain(str(path), "must be a readable checkpoint", str(error))) from None
    header, _, payload = raw.partition(b"\n")
    if header != HEADER + hashlib.sha256(payload).hexdigest().encode():
        raise Damaged(explain(str(path), "must match its checksum", "other bytes"))
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Damaged(explain(str(path), "must hold plain tensors", str(error)[:200])) from None
    if not isinstance(content, dict):
        raise Damaged(explain(str(path), "must hold a dictionary", type(content).__name__))
    return content


def write_json(path: Path, value: Any) -> None:
    """``path`` holds ``value`` as JSON, or what it held before if this is interrupted."""
    write_atomically(path, json.dumps(value, indent=1).encode())
