"""TensorBoard event files: one folder per trial, in it one file per point.

TensorBoard reads a folder's files in the order of their names and never goes back to an earlier
file. So each point is a new file, written whole or not at all, and its name says which point it is.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rethink_ray.cluster.trackers.points import Point, TrialCard, drop_none, drop_undefined
from rethink_ray.records.losses import LossRow
from rethink_ray.records.types import RungDone

ReadLosses = Callable[[str], Iterable[LossRow]]
"""Trial id -> the losses that its run noted; none where they cannot be read."""
EVENT_FILE_PREFIX = "events.out.tfevents"


class TensorBoardFiles:
    """``folder/<regime>/<arm>/<trial id>/`` for each trial.

    The file of a rung has its scores, and the losses of its updates: one curve for the trunk, and
    one for the branch of each length.
    """

    def __init__(self, folder: Path, read_losses: ReadLosses = lambda trial_id: ()) -> None:
        self.folder = folder
        self._read_losses = read_losses
        with _hide_packages("torch", "boto3"):
            from tensorboardX import record_writer, summary
            from tensorboardX.proto.event_pb2 import Event

        self._event = Event
        self._summary = summary
        self._writer = record_writer.RecordWriter

    def logged_keys(self) -> set[str]:
        """Keys of the points that have a file."""
        paths = self.folder.rglob(f"{EVENT_FILE_PREFIX}.*.*-*")
        return {path.name.split(".", 4)[4] for path in paths}

    def log(self, point: Point) -> None:
        """The point has a file, and so have the sampled values of its trial."""
        card, event = point.card, point.event
        folder = self.folder / card.regime / card.arm / event.trial_id
        start = folder / f"{EVENT_FILE_PREFIX}.{0:010d}.start"
        if not start.exists():
            self._write(start, self._events(self._summarize_values(card), 0, event.at), event.at)
        events: list[Any] = []
        if isinstance(event, RungDone):
            step = event.steps
            events = self._loss_events(event)
            scalars = [
                self._summary.scalar(k, v) for k, v in sorted(drop_undefined(event.metrics).items())
            ]
        else:
            step = max(event.step, 0)
            scalars = [self._summary.scalar(f"ended/{event.outcome}", 1.0)]
        events += self._events(scalars, step, event.at)
        path = folder / f"{EVENT_FILE_PREFIX}.{step:010d}.{point.key}"
        self._write(path, events, event.at)

    def _loss_events(self, rung: RungDone) -> list[Any]:
        """The losses that were noted on the way to this rung."""
        rows = [row for row in self._read_losses(rung.trial_id) if row.length == rung.length]
        return [
            event
            for row in rows
            if math.isfinite(row.loss)
            for event in self._events(
                [self._summary.scalar(f"train/loss_curve/{row.part}", row.loss)], row.step, row.at
            )
        ]

    def _events(self, summaries: Iterable[Any], step: int, at: float) -> list[Any]:
        return [self._event(wall_time=at, step=step, summary=summary) for summary in summaries]

    def _summarize_values(self, card: TrialCard) -> list[Any]:
        trial = {"regime": card.regime, "arm": card.arm, "purpose": card.purpose}
        values = {**trial, "seed": card.member.seed, **drop_none(card.member.params)}
        return list(self._summary.hparams(values, {}))

    def _write(self, path: Path, events: list[Any], at: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.parent.name}.part")
        writer = self._writer(str(part))
        writer.write(self._event(wall_time=at, file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()
        part.replace(path)


@contextmanager
def _hide_packages(*names: str) -> Iterator[None]:
    """Inside, imports behave as if these packages were not installed.

    tensorboardX imports torch and boto3 if it can, for tensors and for S3; neither is needed here.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
