"""One run from a configuration file, without a cluster: train it, score it, draw its boxes."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.inspection import name_files
from rethink_ray.data.leaks import require_disjoint
from rethink_ray.data.levels import LevelRange, LevelRanges
from rethink_ray.data.objects import keypoint_swap
from rethink_ray.data.pictures import BROKEN, picture_size, read_rgb
from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.records.types import AssetDone, RungDone
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import DataError, RecordError, RethinkError, explain
from rethink_ray.spec.older_records import fill_first_config
from rethink_ray.spec.recipe import WITH_KEYPOINTS, InitSpec
from rethink_ray.spec.regime import HOLDOUTS, RegimeSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.drawing import draw_objects, enlarge_small
from rethink_ray.training.evaluate import detect_split, name_metrics, score_split
from rethink_ray.training.inputs import PUT_BACK
from rethink_ray.training.ladder import Progress, train_ladder
from rethink_ray.training.precision import use_precision
from rethink_ray.training.repair import Repair
from rethink_ray.training.stopping import Interrupts, never_stop
from rethink_ray.training.trial_files import RunFolders, model_path
from rethink_ray.training.worker_context import WorkerContext

MODEL_FILE = "model.pt"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model of a finished run, ready to detect."""

    detector: Detector
    config: TrialConfig
    length: float
    categories: tuple[str, ...]
    ctx: WorkerContext
    level_ranges: LevelRanges = field(default_factory=dict)
    """Black and white of the deep pictures it was trained on."""


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
        splits: what each rung is scored on; by default ``scored_splits(config)``.
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
                splits=splits or scored_splits(config),
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
    """The model in the folder ``run`` of ``train_config``, or in its ``model.pt``.

    A model that was trained on a GPU runs on the CPU if there is no GPU; in fp32 if it was trained
    in tf32. One of version 0.1 is the network that it was trained as.
    """
    path = run / MODEL_FILE if run.is_dir() else run
    if not path.is_file():
        remedy = "Name the folder that 'train' wrote."
        raise RecordError(explain(str(run), "must hold a trained model", f"no {path}", remedy))
    content: dict[str, Any] = load_checkpoint(path)
    if not {"config", "model", "length", "categories"} <= set(content):
        remedy = "Name the folder that 'train' wrote."
        raise RecordError(explain(str(path), "must be a finished model", "a checkpoint", remedy))
    recorded = fill_first_config(json.loads(content["config"]))
    config = TrialConfig.model_validate_json(json.dumps(recorded))
    resources = config.resources
    gpus = resources.gpus_per_worker if torch.cuda.is_available() else 0.0
    ctx = WorkerContext.alone(resources.cpus_per_worker, gpus, resources.deterministic)
    detector = build_detector(
        config.recipe.detector, InitSpec(), config.num_categories, seed=config.seed
    )
    detector.load_state_dict(content["model"])
    detector.images_per_step = resources.images_per_step
    return TrainedModel(
        detector=detector.to(ctx.device).eval(),
        config=_runnable_on(ctx, config),
        length=content["length"],
        categories=tuple(content["categories"]),
        level_ranges={
            kind: LevelRange(lowest=lowest, highest=highest)
            for kind, (lowest, highest) in content.get("level_ranges", {}).items()
        },
        ctx=ctx,
    )


def _runnable_on(ctx: WorkerContext, config: TrialConfig) -> TrialConfig:
    """The configuration; on a CPU ``tf32`` becomes the more exact ``fp32``."""
    if ctx.device.type != "cpu" or config.recipe.precision != "tf32":
        return config
    _log.warning("the model was trained in tf32, which CPUs do not have: it detects in fp32 here")
    recipe = config.recipe.model_copy(update={"precision": "fp32"})
    return config.model_copy(update={"recipe": recipe})


def evaluate_checkpoint(run: Path, split: str) -> dict[str, float]:
    """COCO's metrics of a finished run on one split, ``<split>/<metric>``, in AP points."""
    model = load_model(run)
    _refresh(model.config, split)
    return score_split(model.detector, model.config, split, model.ctx)


def evaluate_by_both_scorers(run: Path, split: str) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the same detections by the scorer of studies and by pycocotools, in AP points.

    Both are named ``<split>/<metric>``. pycocotools has neither VOC's metrics nor those of rare,
    common and frequent categories, so the second may lack some.
    """
    model = load_model(run)
    _refresh(model.config, split)
    scored = detect_split(model.detector, model.config, split, model.ctx)
    metrics = scored.metrics(model.config.data, model.config.objective.metric)
    return name_metrics(split, metrics), name_metrics(split, scored.reference_metrics())


def _refresh(config: TrialConfig, split: str) -> None:
    """The indexes that scoring a split needs are those of the picture files as they are now."""
    for name in {"train", split} - HOLDOUTS:
        refresh_split(config.data, name)


def predict_images(
    run: Path, images: Sequence[Path], out: Path, *, score_threshold: float = 0.5
) -> dict[Path, int]:
    """Draw the detections of each image, as ``<name>.png`` in ``out``: path -> boxes drawn.

    Pictures below 200 pixels are enlarged, so that names and scores can be read.

    Raises:
        DataError: an image cannot be decoded, which is told before any is drawn, or a new image
            would replace a given one.
    """
    _require_pictures(images)
    model = load_model(run)
    views = _build_views(model)
    targets = _name_targets(images, out)
    out.mkdir(parents=True, exist_ok=True)
    return {
        target: _draw(model, views, path, target, score_threshold)
        for path, target in zip(images, targets, strict=True)
    }


def _require_pictures(images: Sequence[Path]) -> None:
    damaged = [path for path in images if isinstance(picture_size(path, decode=True), str)]
    if damaged:
        must = "must be given images that can be decoded"
        shown = f"{len(damaged)} of {len(images)} that cannot: {name_files(damaged)}"
        raise DataError(explain("predict", must, shown, "Replace them or leave them out."))


def _name_targets(images: Sequence[Path], out: Path) -> list[Path]:
    """A path in ``out`` for each image; images of the same name are numbered."""
    targets: list[Path] = []
    for path in images:
        target, number = out / f"{path.stem}.png", 2
        while target in targets:
            target, number = out / f"{path.stem}-{number}.png", number + 1
        targets.append(target)
    for target in targets:
        if target.resolve() in {path.resolve() for path in images}:
            must, remedy = "must not write over an image it reads", "Give another --out."
            raise DataError(explain(str(target), must, "the same file", remedy))
    return targets


def _build_views(model: TrainedModel) -> MultiViewDetector:
    """The detector with the views that it was scored in (``evaluation``).

    Raises:
        DataError: mirrored keypoints swap left and right, and the data set that names them is gone.
    """
    recipe = model.config.recipe
    names: tuple[str, ...] = ()
    if recipe.evaluation.flip and recipe.detector.family in WITH_KEYPOINTS:
        names = open_split(model.config.data, "train").keypoint_names
    return MultiViewDetector(
        model.detector, recipe.evaluation, recipe.detector, keypoint_swap(names).tolist()
    )


def _draw(
    model: TrainedModel, views: MultiViewDetector, path: Path, target: Path, score_threshold: float
) -> int:
    """The picture at ``target`` shows the detections; returns the number of boxes drawn."""
    try:
        pixels = read_rgb(str(path), ranges=model.level_ranges)
    except BROKEN as error:
        raise DataError(
            explain(str(path), "must be an image that can be decoded", str(error))
        ) from None
    with use_precision(model.config.recipe, model.ctx.device):
        output = views.detect([pixels.to(model.ctx.device).float() / 255.0])[0]
    drawn = draw_objects(*enlarge_small(pixels, output), model.categories, score_threshold)
    picture: Image.Image = to_pil_image(drawn)
    picture.save(target)
    return int((output["scores"] >= score_threshold).sum())
