"""Weights & Biases: one project per study, one run per trial under the trial's id.

A run is opened for each point and closed again, so that a study of thousands of trials has at most
one open run. Offline runs cannot be queried, so the study directory keeps a list of logged points.
"""

from pathlib import Path

from rethink_ray.cluster.trackers.points import Point, drop_none, drop_undefined
from rethink_ray.records.types import RungDone

LOGGED_FILE = "logged.txt"


class WandbRuns:
    """Runs of one project; ``WANDB_MODE``, ``WANDB_ENTITY`` and the like are W&B's own."""

    def __init__(self, study: str, root: Path) -> None:
        import wandb

        self._wandb = wandb
        self._study = study
        self._root = root
        self._list = root / "wandb" / LOGGED_FILE

    def logged_keys(self) -> set[str]:
        """Keys of the points that were logged."""
        try:
            return set(self._list.read_text().split())
        except FileNotFoundError:
            return set()

    def log(self, point: Point) -> None:
        """The point is in its trial's run, and in the list."""
        card, event = point.card, point.event
        values = {"seed": card.member.seed, **drop_none(card.member.params)}
        self._list.parent.mkdir(parents=True, exist_ok=True)
        run = self._wandb.init(
            project=self._study,
            id=event.trial_id,
            name=f"{card.regime}/{card.arm} {event.trial_id}",
            group=f"{card.regime}/{card.arm}",
            job_type=card.purpose,
            config=values,
            resume="allow",
            dir=str(self._root),
            reinit="create_new",
            settings=self._wandb.Settings(silent=True, console="off", disable_git=True),
        )
        try:
            if isinstance(event, RungDone):
                run.log(drop_undefined(event.metrics), step=event.steps)
            else:
                run.summary["ended"] = f"{event.outcome}: {event.reason}"
        finally:
            run.finish(exit_code=0 if isinstance(event, RungDone) else 1)
        with self._list.open("a") as handle:
            handle.write(f"{point.key}\n")
