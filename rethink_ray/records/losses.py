"""The losses of a trial while it trains, for people who watch it: ``losses.csv`` in its folder.

No decision reads this file, and a lost line costs nothing. A run that was resumed repeats some
updates; they have the same losses, and the last line of an update counts.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOSS_FILE = "losses.csv"
LOSS_HEADER = "length,part,step,total_steps,loss,at"
TAIL_BYTES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRow:
    """The loss of one update."""

    length: float
    """The rung under way, in units of 1x."""
    on_branch: bool
    """Whether the update belongs to the decay of this rung, and not to the trunk."""
    step: int
    """Number of the update, from 0."""
    total_steps: int
    """Updates in a run of this length."""
    loss: float
    """The newest one that was read; NaN before the first."""
    at: float
    """Unix time, seconds."""

    @property
    def part(self) -> str:
        """``trunk``, or the branch by its length: ``2x``."""
        return f"{self.length:g}x" if self.on_branch else "trunk"


def append_losses(path: Path, rows: Iterable[LossRow]) -> None:
    """The rows are in the file.

    Raises:
        OSError: the disk refused.
    """
    lines = [
        f"{r.length:g},{r.part},{r.step},{r.total_steps},{r.loss:.6g},{r.at:.1f}\n" for r in rows
    ]
    with path.open("a") as file:
        if file.tell() == 0:
            file.write(f"{LOSS_HEADER}\n")
        file.writelines(lines)


def read_losses(path: Path) -> list[LossRow]:
    """One row for each update that was noted, in the order of parts and updates; maybe none."""
    rows: dict[tuple[str, int], LossRow] = {}
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        if (row := _parse(line)) is not None:
            rows[row.part, row.step] = row
    return sorted(rows.values(), key=lambda row: (row.on_branch, row.length, row.step))


def read_last_loss(path: Path) -> LossRow | None:
    """The newest row; None if there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    rows = (_parse(line) for line in reversed(lines))
    return next((row for row in rows if row is not None), None)


def _parse(line: str) -> LossRow | None:
    """The row of a line; None for the header and for a line that was cut."""
    parts = line.split(",")
    if len(parts) != LOSS_HEADER.count(",") + 1:
        return None
    try:
        length, step, total_steps = float(parts[0]), int(parts[2]), int(parts[3])
        loss, at = float(parts[4]), float(parts[5])
    except ValueError:
        return None
    return LossRow(
        length=length,
        on_branch=parts[1] != "trunk",
        step=step,
        total_steps=total_steps,
        loss=loss if math.isfinite(loss) else math.nan,
        at=at,
    )
