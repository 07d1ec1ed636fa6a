"""``model.pt``: the model in the folder of a run, with the configuration that made it."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rethink_ray.data.levels import LevelRange, LevelRanges
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.layout import put_on_device
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.older_records import fill_first_config
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.worker_context import WorkerContext

NAME_A_RUN = "Name the folder that 'train' or 'export' wrote."

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
    keypoints: tuple[str, ...] = ()
    """Names of an object's keypoints."""


def read_run_model(path: Path, run: Path) -> TrainedModel:
    """The model in a ``model.pt``; ``run`` is what the user named, for messages.

    Raises:
        RecordError: there is no such file, or it is no finished model.
    """
    if not path.is_file():
        must = "must hold a trained model"
        raise RecordError(explain(str(run), must, f"no {path}", NAME_A_RUN))
    content: dict[str, Any] = load_checkpoint(path)
    if not {"config", "model", "length", "categories"} <= set(content):
        must = "must be a finished model"
        raise RecordError(explain(str(path), must, "a checkpoint", NAME_A_RUN))
    recorded = fill_first_config(json.loads(content["config"]))
    return build_trained(
        TrialConfig.model_validate_json(json.dumps(recorded)),
        lambda detector: detector.load_state_dict(content["model"]),
        length=content["length"],
        categories=content["categories"],
        keypoints=content.get("keypoints", ()),
        level_ranges={
            kind: LevelRange(lowest=lowest, highest=highest)
            for kind, (lowest, highest) in content.get("level_ranges", {}).items()
        },
    )


def build_trained(
    config: TrialConfig,
    load: Callable[[Detector], object],
    *,
    length: float,
    categories: Sequence[str],
    keypoints: Sequence[str],
    level_ranges: LevelRanges,
) -> TrainedModel:
    """The model of a configuration on this machine's device; ``load`` fills it with weights."""
    resources = config.resources
    gpus = resources.gpus_per_worker if torch.cuda.is_available() else 0.0
    ctx = WorkerContext.alone(resources.cpus_per_worker, gpus, resources.deterministic)
    detector = build_detector(
        config.recipe.detector, InitSpec(), config.num_categories, seed=config.seed
    )
    load(detector)
    detector.images_per_step = resources.images_per_step
    runnable = _runnable_on(ctx, config)
    put_on_device(detector, ctx.device, runnable.recipe.precision)
    return TrainedModel(
        detector=detector.eval(),
        config=runnable,
        length=length,
        categories=tuple(categories),
        keypoints=tuple(keypoints),
        level_ranges=level_ranges,
        ctx=ctx,
    )


def _runnable_on(ctx: WorkerContext, config: TrialConfig) -> TrialConfig:
    """The configuration; on a CPU ``tf32`` becomes the more exact ``fp32``."""
    if ctx.device.type != "cpu" or config.recipe.precision != "tf32":
        return config
    _log.warning("the model was trained in tf32, which CPUs do not have: it detects in fp32 here")
    recipe = config.recipe.model_copy(update={"precision": "fp32"})
    return config.model_copy(update={"recipe": recipe})
