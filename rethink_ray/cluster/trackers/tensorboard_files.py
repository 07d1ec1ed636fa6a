"""TensorBoard event files: a folder per trial, in it a file per point, written whole or not at all.

TensorBoard reads a folder's files in the order of their names and never goes back to one it has
left; so points are added as new files, and a name that is there already is a point that is there.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rethink_ray.cluster.trackers.factory import Point, TrialCard, finite, plain
from rethink_ray.records.types import RungDone

PREFIX = "events.out.tfevents"


class TensorBoardFiles:
    """``folder/<regime>/<arm>/<trial id>/`` for each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _not_needed("torch", "boto3"):
            from tensorboardX import record_writer, summary
            from tensorboardX.proto.event_pb2 import Event

        self._event = Event
        self._summary = summary
        self._writer = record_writer.RecordWriter

    def known(self) -> set[str]:
        """Keys of the points that have a file."""
        return {path.name.split(".", 4)[4] for path in self.folder.rglob(f"{PREFIX}.*.*-*")}

    def log(self, point: Point) -> None:
        """A file for the point; before a trial's first one, a file with its sampled values."""
        card, event = point.card, point.event
        folder = self.folder / card.regime / card.arm / event.trial_id
        start = folder / f"{PREFIX}.{0:010d}.start"
        if not start.exists():
            self._write(start, self._started(card), event.at, 0)
        if isinstance(event, RungDone):
            step = event.steps
            found = [self._summary.scalar(k, v) for k, v in sorted(finite(event.metrics).items())]
        else:
            step = max(event.step, 0)
            found = [self._summary.scalar(f"ended/{event.outcome}", 1.0)]
        self._write(folder / f"{PREFIX}.{step:010d}.{point.key}", found, event.at, step)

    def _started(self, card: TrialCard) -> list[Any]:
        told = {"regime": card.regime, "arm": card.arm, "purpose": card.purpose}
        values = {**told, "seed": card.member.seed, **plain(card.member.params)}
        return list(self._summary.hparams(values, {}))

    def _write(self, path: Path, summaries: list[Any], at: float, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.parent.name}.part")
        writer = self._writer(str(beside))
        writer.write(self._event(wall_time=at, file_version="brain.Event:2").SerializeToString())
        for summary in summaries:
            event = self._event(wall_time=at, step=step, summary=summary)
            writer.write(event.SerializeToString())
        writer.close()
        beside.replace(path)


@contextmanager
def _not_needed(*names: str) -> Iterator[None]:
    """Imports inside the block do without these packages.

    tensorboardX imports torch and boto3 if it can, for tensors and for writing to S3.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
