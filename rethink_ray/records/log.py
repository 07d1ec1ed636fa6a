"""The truth of a study: an append-only file of events, one JSON object a line.

An event counts once its whole line is on the disk. A crash can tear only the last line, which is
dropped; a damaged line before it is an error, because the events after it may depend on it.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rethink_ray.records.types import (
    AssetDone,
    ComparisonState,
    Event,
    JobFailed,
    JobStarted,
    LookTaken,
    Member,
    Resumed,
    RoundProposed,
    RunCut,
    RungDone,
    TrialEnded,
)
from rethink_ray.records.whole_files import sync_folder
from rethink_ray.spec.errors import RecordError, explain

EVENT_KINDS: dict[str, type[Any]] = {
    "round_proposed": RoundProposed,
    "job_started": JobStarted,
    "rung_done": RungDone,
    "trial_ended": TrialEnded,
    "asset_done": AssetDone,
    "job_failed": JobFailed,
    "resumed": Resumed,
    "run_cut": RunCut,
    "look_taken": LookTaken,
}
"""The key ``event`` of a line -> its type (not ``kind``, which assets have already)."""
_KIND_OF = {event: kind for kind, event in EVENT_KINDS.items()}
_LOSSLESS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no such numbers; inside ``metrics`` they are text."""
BLOCK_BYTES = 4096


class RecordLog:
    """The event file of one study. One writer at a time; any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = False
        self._events: list[Event] = []
        self._read_to = 0
        """Bytes of the file that ``_events`` were read from."""
        self._inode = 0

    def read(self) -> list[Event]:
        """Every whole event, oldest first. Lines that were read before are not read again.

        Raises:
            RecordError: a line that is not the last one is no event.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._read_to:
                    self._events, self._read_to, self._inode = [], 0, status.st_ino
                file.seek(self._read_to)
                content = file.read()
        except FileNotFoundError:
            return []
        lines = content.split(b"\n")[:-1]
        first = len(self._events) + 1
        new = [self._decode_line(number, line) for number, line in enumerate(lines, start=first)]
        self._events += new
        self._read_to += sum(len(line) + 1 for line in lines)
        return list(self._events)

    def append(self, event: Event) -> None:
        """``event`` is on the disk when this returns; a torn line before it is dropped.

        Raises:
            RecordError: the disk refused; the file is as it was.
        """
        line = encode(event).encode("ascii") + b"\n"
        try:
            self._append_bytes(line)
        except OSError as error:
            raise RecordError(
                explain(str(self.path), "must take one more line", str(error), "Free some space.")
            ) from error

    def size(self) -> int:
        """Bytes of all whole lines; views record it as the size they were built from."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                while end:
                    start = max(0, end - BLOCK_BYTES)
                    file.seek(start)
                    newline = file.read(end - start).rfind(b"\n")
                    if newline >= 0:
                        return start + newline + 1
                    end = start
        except FileNotFoundError:
            pass
        return 0

    def _append_bytes(self, line: bytes) -> None:
        if not self._checked:
            self._drop_torn_line()
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            before = os.fstat(handle).st_size
            try:
                written = os.write(handle, line)
                if written != len(line):
                    raise OSError(f"only {written} of {len(line)} bytes fitted")
                os.fsync(handle)
            except BaseException:
                self._checked = False  # if truncating fails too, the next append repeats it
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)

    def _drop_torn_line(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole, torn = self._whole_bytes()
        if torn:
            os.truncate(self.path, len(whole))
        elif not self.path.exists():
            self.path.touch()
            sync_folder(self.path.parent)
        self._checked = True

    def _whole_bytes(self) -> tuple[bytes, bytes]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b"", b""
        end = content.rfind(b"\n") + 1
        return content[:end], content[end:]

    def _decode_line(self, number: int, line: bytes) -> Event:
        try:
            return decode(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            beginning = line[:60].decode("ascii", errors="replace")
            remedy = (
                f"({error}) Use the program version that wrote it, restore the file from a copy, "
                "or delete this line and all after it."
            )
            raise RecordError(
                explain(f"{self.path}, line {number}", "must be an event", beginning, remedy)
            ) from error


def encode(event: Event) -> str:
    """One line of JSON, ASCII only."""
    return json.dumps(
        {"event": _KIND_OF[type(event)], **_plain(event)}, allow_nan=False, separators=(",", ":")
    )


def decode(content: Mapping[str, Any]) -> Event:
    """The event of a parsed line.

    Raises:
        KeyError, TypeError: an unknown kind, a key too many or too few.
    """
    values = dict(content)
    event = EVENT_KINDS[values.pop("event")]
    if event is RoundProposed:
        values["members"] = tuple(_decode_member(member) for member in values["members"])
    if event is LookTaken:
        values["comparisons"] = tuple(_decode_comparison(c) for c in values["comparisons"])
    for key in ("lengths", "waiting", "running"):
        if key in values:
            values[key] = tuple(values[key])
    if "metrics" in values:
        # one string object per name: a study of 10,000 trials has 400,000 of them
        metrics = values["metrics"].items()
        values["metrics"] = {sys.intern(k): _LOSSLESS.get(v, v) for k, v in metrics}
    decoded: Event = event(**values)
    return decoded


def _decode_member(values: Mapping[str, Any]) -> Member:
    assets = values.get("assets")
    return Member(**{**values, "assets": None if assets is None else tuple(assets)})


def _decode_comparison(values: Mapping[str, Any]) -> ComparisonState:
    return ComparisonState(**{**values, "cells": tuple(values["cells"])})


def decode_line(line: str) -> Event:
    """The event that ``encode`` wrote."""
    return decode(json.loads(line))


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
