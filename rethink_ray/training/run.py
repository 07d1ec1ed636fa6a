"""One run from a configuration file, without a cluster: train it, score it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.leaks import require_disjoint
from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.records.types import AssetDone, RungDone
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.card import MODEL_FILE, TENSOR_FILE
from rethink_ray.spec.errors import DataError, RethinkError, explain
from rethink_ray.spec.regime import HOLDOUTS, RegimeSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.evaluate import (
    DetectedSplit,
    detect_split,
    name_metrics,
    score_split,
)
from rethink_ray.training.inputs import PUT_BACK
from rethink_ray.training.ladder import Progress, train_ladder
from rethink_ray.training.model_files import TrainedModel, read_run_model
from rethink_ray.training.repair import Repair
from rethink_ray.training.shared_model import read_shared
from rethink_ray.training.stopping import Interrupts, never_stop
from rethink_ray.training.trial_files import RunFolders, model_path


def train_config(
    config: TrialConfig,
    out: Path,
    *,
    lengths: Sequence[float] | None = None,
    splits: Sequence[str] | None = None,
    stop: Callable[[], bool] = never_stop,
    progress: Callable[[Progress], None] | None = None,
) -> list[RungDone]:
    """Train and score every length; ``out`` then holds ``model.pt`` and ``rungs.json``.

    Assets are built in ``out`` first. A run that was stopped goes on from its files in ``out``.

    Args:
        config: the run.
        out: its folder.
        lengths: rungs to finish, in units of 1x; by default those of the recipe.
        splits: what each rung is scored on, perhaps nothing; by default ``scored_splits(config)``.
        stop: called before every update; true means: write a checkpoint and raise ``Stopped``.
        progress: called after every update.

    Raises:
        DataError: the data set is not the one the configuration was made for.
        Stopped: ``stop`` turned true.
    """
    interrupts = Interrupts(stop=stop)
    require_same_data(config)
    repair = Repair(data=config.data, assets=out / "assets", interrupts=interrupts)
    for asset in assets_of(config):
        require_fit(repair.build(asset))
    rungs = list(
        repair.run(
            lambda: train_ladder(
                config,
                lengths or config.recipe.schedule.lengths,
                RunFolders(trial=out, assets=repair.assets, models=out / "models"),
                splits=scored_splits(config) if splits is None else splits,
                interrupts=interrupts,
                progress=progress,
            )
        )
    )
    conclude_run(config, out, rungs)
    return rungs


def scored_splits(config: TrialConfig) -> tuple[str, ...]:
    """The splits a run is scored on: the one that selects, and the one that reports."""
    return tuple(dict.fromkeys((config.data.select_split, config.data.report_split)))


def require_fit(asset: AssetDone) -> None:
    """Raises ``RethinkError`` with the reason if an asset was refused."""
    if asset.refused:
        raise RethinkError(f"this run needs {asset.key}, which was refused: {asset.refused}")


def conclude_run(config: TrialConfig, out: Path, rungs: Sequence[RungDone]) -> Path:
    """``out/model.pt``: the longest rung's weights with the configuration that made them."""
    last = max(rungs, key=lambda rung: rung.length)
    weights = load_checkpoint(model_path(out / "models", last.length))
    train = open_split(config.data, "train")
    content = {
        **weights,
        "config": config.model_dump_json(include=set(TrialConfig.model_fields)),
        "length": last.length,
        "categories": list(train.categories),
        "keypoints": list(train.keypoint_names),
        "level_ranges": {
            kind: [scale.lowest, scale.highest] for kind, scale in train.level_ranges.items()
        },
    }
    save_checkpoint(out / MODEL_FILE, content)
    return out / MODEL_FILE


def require_same_data(config: TrialConfig) -> None:
    """The data set is the one the configuration was resolved with; its splits share no image.

    Raises:
        DataError: its fingerprint differs, or an image is in two splits.
    """
    require_disjoint(config.data, config.study)
    facts = gather_facts(config.data, {config.regime: RegimeSpec(images=config.images)})
    if facts.fingerprint != config.data_fingerprint:
        must = f"must have the fingerprint {config.data_fingerprint} it was resolved with"
        raise DataError(explain("data", must, facts.fingerprint, PUT_BACK))


def load_model(run: Path) -> TrainedModel:
    """The model in the folder of a run, or in one that ``export`` wrote, ready to detect.

    A model that was trained on a GPU runs on the CPU if there is no GPU; in fp32 if it was trained
    in tf32. One of version 0.1 is the network that it was trained as.

    Args:
        run: a folder with ``model.pt``, or with ``model.safetensors`` and ``card.json``; or one of
            these files of tensors.

    Raises:
        RecordError: there is no model, or it is damaged.
    """
    folder = run if run.is_dir() else run.parent
    is_shared = run.name == TENSOR_FILE or (run.is_dir() and not (run / MODEL_FILE).is_file())
    if is_shared and (folder / TENSOR_FILE).is_file():
        return read_shared(folder)
    return read_run_model(run / MODEL_FILE if run.is_dir() else run, run)


def evaluate_checkpoint(run: Path, split: str | None = None) -> dict[str, float]:
    """COCO's metrics of a finished run on one split, ``<split>/<metric>``, in AP points.

    ``split``: by default the one that its study reports on.
    """
    model = load_model(run)
    split = split or model.config.data.report_split
    _refresh(model.config, split)
    return score_split(model.detector, model.config, split, model.ctx)


def evaluate_by_both_scorers(
    run: Path, split: str | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the same detections by the scorer of studies and by pycocotools, in AP points.

    Both are named ``<split>/<metric>``. pycocotools has neither VOC's metrics nor those of rare,
    common and frequent categories, so the second may lack some. ``split``: as above.
    """
    model = load_model(run)
    split = split or model.config.data.report_split
    scored = detect_again(model, split)
    metrics = scored.metrics(model.config.data, model.config.objective.metric)
    return name_metrics(split, metrics), name_metrics(split, scored.reference_metrics())


def detect_again(model: TrainedModel, split: str) -> DetectedSplit:
    """The annotations and detections of a split, whose indexes are brought up to date first.

    Raises:
        DataError: the data set is gone, or has no such split.
    """
    _refresh(model.config, split)
    return detect_split(model.detector, model.config, split, model.ctx)


def _refresh(config: TrialConfig, split: str) -> None:
    """The indexes that scoring a split needs are those of the picture files as they are now."""
    for name in {"train", split} - HOLDOUTS:
        refresh_split(config.data, name)
