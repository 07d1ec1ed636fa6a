"""Builds trackers by name, and the feed that hands a study's events to them."""

from collections.abc import Sequence
from functools import partial

from rethink_ray.cluster.trackers.feed import Feed
from rethink_ray.cluster.trackers.points import Tracker
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.losses import LOSS_FILE, LossRow, read_losses
from rethink_ray.spec.errors import SpecError, explain

TRACKERS = ("tensorboard", "mlflow", "wandb")


def build_feed(directory: StudyDirectory, names: Sequence[str]) -> Feed:
    """A listener that hands a study's events to the trackers of these names.

    Raises:
        SpecError: no such tracker, or its package is not installed.
    """
    trackers = [build_tracker(name, directory) for name in dict.fromkeys(names)]
    return Feed(directory.study.study, directory.load_state, trackers)


def build_tracker(name: str, directory: StudyDirectory) -> Tracker:
    """The tracker of a name, writing for this study.

    Raises:
        SpecError: no such tracker, or its package is not installed.
    """
    try:
        match name:
            case "tensorboard":
                from rethink_ray.cluster.trackers.tensorboard_files import TensorBoardFiles

                return TensorBoardFiles(
                    directory.root / "tensorboard", partial(_read_losses_of, directory)
                )
            case "mlflow":
                from rethink_ray.cluster.trackers.mlflow_runs import MlflowRuns

                return MlflowRuns(directory.study.study, directory.root)
            case "wandb":
                from rethink_ray.cluster.trackers.wandb_runs import WandbRuns

                return WandbRuns(directory.study.study, directory.root)
    except ImportError as error:
        remedy = f"pip install 'rethink-ray[{name}]'"
        raise SpecError(explain("--log", f"{name} must be installed", str(error), remedy)) from None
    known = f"Known: {', '.join(TRACKERS)}, none."
    raise SpecError(explain("--log", "must name trackers", name, known))


def _read_losses_of(directory: StudyDirectory, trial_id: str) -> list[LossRow]:
    """The losses that a trial noted; for a study at a URI they are downloaded first."""
    name = f"trials/{trial_id}/{LOSS_FILE}"
    if not (directory.root / name).exists():
        directory.fetch(name)
    return read_losses(directory.root / name)


def tracker_names(text: str) -> tuple[str, ...]:
    """``tensorboard,mlflow`` or ``none`` as the names it lists.

    Raises:
        SpecError: a name is not known.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if names in ((), ("none",)):
        return ()
    for name in names:
        if name not in TRACKERS:
            known = f"Known: {', '.join(TRACKERS)}, none."
            raise SpecError(explain("--log", "must name trackers", name, known))
    return names
