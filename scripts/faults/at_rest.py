"""Damage to the files of a study that is not running; each says what it did, or None if it cannot.

States are real ones: a log is only ever cut at its end, as a crash leaves it.
"""

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults.command import log_path
from rethink_ray.records.log import decode_line
from rethink_ray.records.types import RungDone

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What was done, and whose files it hit."""

    told: str
    trial: str | None = None
    """The trial whose updates may have to be made again."""


def truncate_checkpoint(root: Path, rng: random.Random) -> Damage | None:
    """The newest checkpoint loses its end."""
    path = newest_checkpoint(root)
    if path is None:
        return None
    size = path.stat().st_size
    left = rng.randrange(size)
    os.truncate(path, left)
    return Damage(told=f"{path.name} cut from {size} to {left} bytes", trial=_trial(path))


def flip_checkpoint(root: Path, rng: random.Random) -> Damage | None:
    """One bit of the newest checkpoint is another."""
    path = newest_checkpoint(root)
    if path is None:
        return None
    place = flip_bit(path, rng)
    return Damage(told=f"{path.name} differs in a bit of byte {place}", trial=_trial(path))


def flip_asset(root: Path, rng: random.Random) -> Damage | None:
    """One bit of a finished asset's weights is another."""
    paths = sorted(root.glob("assets/*/backbone.pt"))
    if not paths:
        return None
    path = rng.choice(paths)
    place = flip_bit(path, rng)
    return Damage(told=f"{path.parent.name}/{path.name} differs in a bit of byte {place}")


def tear_last_record(root: Path, rng: random.Random) -> Damage | None:
    """The last line of the log is there only in part: a crash while it was written."""
    lines = _lines(root)
    if not lines:
        return None
    kept = rng.randrange(1, len(lines[-1]))
    _cut(root, sum(map(len, lines[:-1])) + kept)
    told = f"{kept} of the last record's {len(lines[-1])} bytes are left"
    return Damage(told=told, trial=json.loads(lines[-1]).get("trial_id"))


def forget_last_rung(root: Path, rng: random.Random) -> Damage | None:
    """The last finished rung was not recorded: a crash between the two.

    Only while nothing of it was swept away, which happens after it is recorded.
    """
    lines = _lines(root)
    for number in reversed(range(len(lines))):
        event = decode_line(lines[number].decode())
        if isinstance(event, RungDone) and _stands(root, event):
            _cut(root, sum(map(len, lines[:number])))
            told = f"{event.trial_id} {event.length:g}x is not recorded"
            return Damage(told=told, trial=event.trial_id)
        if isinstance(event, RungDone):
            return None
    return None


def spoil_views(root: Path, rng: random.Random) -> Damage | None:
    """A view is lost, cut short, no Parquet at all, or differs in one bit."""
    paths = [*sorted(root.glob("*.parquet")), *sorted(root.glob("records/*.parquet"))]
    return _spoil(rng.choice(paths), rng) if paths else None


def spoil_journal(root: Path, rng: random.Random) -> Damage | None:
    """Optuna's journal is lost, cut short, no journal at all, or differs in one bit."""
    path = root / "optuna.journal"
    return _spoil(path, rng) if path.exists() else None


def move_clock(root: Path, rng: random.Random) -> Damage | None:
    """Everything was written by a clock that was days off; a foreign owner's beat as well."""
    lines = _lines(root)
    if not lines:
        return None
    days = rng.choice((-400, -2, 2, 400))
    moved = []
    for line in lines:
        event = json.loads(line)
        event["at"] += days * DAY
        moved.append(json.dumps(event, separators=(",", ":")).encode() + b"\n")
    log_path(root).write_bytes(b"".join(moved))
    then = time.time() + days * DAY
    for path in root.rglob("*"):
        os.utime(path, (then, then))
    owner = {"pid": 1, "host": "another-machine", "machine": "another", "started": "1"}
    lock = {**owner, "since": then, "beat": f"{7:012d}"}
    (root / "records" / "writer.lock").write_text(json.dumps(lock))
    return Damage(told=f"the clock was {days:+d} days off, its owner died on another machine")


AT_REST: dict[str, Callable[[Path, random.Random], Damage | None]] = {
    "truncated": truncate_checkpoint,
    "flipped": flip_checkpoint,
    "asset": flip_asset,
    "torn": tear_last_record,
    "unrecorded": forget_last_rung,
    "views": spoil_views,
    "journal": spoil_journal,
    "clock": move_clock,
}


def newest_checkpoint(root: Path) -> Path | None:
    """The checkpoint written last, of all trials' trunk and branch files."""
    paths = [*root.glob("trials/*/trunk-*.pt"), *root.glob("trials/*/branch.pt")]
    whole = [path for path in paths if path.stat().st_size > 1]
    return max(whole, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def flip_bit(path: Path, rng: random.Random) -> int:
    """One drawn bit of a file is another now; the number of its byte."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return place


def _spoil(path: Path, rng: random.Random) -> Damage:
    match rng.choice(("lost", "cut", "garbage", "bit")):
        case "lost":
            path.unlink()
            told = "is gone"
        case "cut":
            os.truncate(path, rng.randrange(path.stat().st_size))
            told = f"was cut to {path.stat().st_size} bytes"
        case "garbage":
            path.write_bytes(rng.randbytes(500))
            told = "is garbage"
        case _:
            told = f"differs in a bit of byte {flip_bit(path, rng)}"
    return Damage(told=f"{path.name} {told}")


def _lines(root: Path) -> list[bytes]:
    """Whole lines of the log, their ends included."""
    try:
        content = log_path(root).read_bytes()
    except OSError:
        return []
    return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)


def _cut(root: Path, size: int) -> None:
    os.truncate(log_path(root), size)


def _stands(root: Path, rung: RungDone) -> bool:
    """Whether everything that the trial left when it finished the rung still lies there."""
    folder = root / "trials" / rung.trial_id
    path = folder / "rungs.json"
    if not path.exists():
        return False
    known = any(other["length"] == rung.length for other in json.loads(path.read_text())["rungs"])
    swept = (folder / "models").exists() and not _model(folder, rung.length).exists()
    return known and not swept


def _model(folder: Path, length: float) -> Path:
    return folder / "models" / f"{length:g}x.pt"


def _trial(path: Path) -> str:
    return path.parent.name
