"""Notes the losses of a run in its folder every few seconds, for people who watch it."""

import time
from contextlib import suppress
from pathlib import Path

from rethink_ray.records.losses import LossRow, append_losses
from rethink_ray.training.ladder import Progress

LEAST_SECONDS, MOST_SECONDS = 3.0, 30.0
"""Between two writes: the longer a run has lasted, the rarer."""
WRITES = 100
"""About this many writes happen before the time between two of them doubles."""
ROWS_PER_RUNG = 200
"""A rung notes about so many losses, however fast its updates are."""


class LossNotes:
    """Takes the progress of a run. It never stops the run: a full disk loses notes alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[LossRow] = []
        self._began = self._written_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Note an update, if it is its turn; write the notes, if it is time."""
        now = time.monotonic()
        patience = min(MOST_SECONDS, max(LEAST_SECONDS, (now - self._began) / WRITES))
        is_last = progress.step + 1 == progress.total_steps
        is_due = is_last or now - self._written_at >= patience
        if is_due or progress.step % max(1, progress.total_steps // ROWS_PER_RUNG) == 0:
            self._rows.append(
                LossRow(
                    length=progress.length,
                    on_branch=progress.on_branch,
                    step=progress.step,
                    total_steps=progress.total_steps,
                    loss=progress.loss,
                    at=time.time(),
                )
            )
        if is_due:
            self._written_at = now
            with suppress(OSError):
                append_losses(self._path, self._rows)
            self._rows.clear()
