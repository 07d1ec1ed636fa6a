"""Trains the upstream classifier that detectors with ``init.source: upstream`` start from.

Warm-up and cosine decay; flips, and random crops or small shifts; float32 throughout. Like a
detector's run, the result depends on the seed alone and not on what ran before in the process.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from rethink_ray.data.upstream import ClassificationSet
from rethink_ray.detection.classifier import ClassifierNet, build_classifier
from rethink_ray.detection.freezing import split_by_decay
from rethink_ray.detection.layout import put_on_device
from rethink_ray.spec.assets import ClassifierAsset
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.pixel_input import IMAGENET
from rethink_ray.spec.recipe import OptimizerSpec, UpstreamSpec
from rethink_ray.training.checkpoint import Damaged, load_checkpoint, save_checkpoint
from rethink_ray.training.losses import LossTrace
from rethink_ray.training.optimizer import build_optimizer, load_optimizer, set_rate
from rethink_ray.training.precision import use_float32_precision
from rethink_ray.training.schedule import RungSchedule, lr_at
from rethink_ray.training.seeding import generator_at, seed_torch
from rethink_ray.training.stopping import Stopped, Watch
from rethink_ray.training.upstream_pixels import augment_batch, copy_pixels, unit_range
from rethink_ray.training.worker_context import WorkerContext

MOMENTUM = 0.9
"""SGD's, and AdamW's beta1. On the built-in glyphs (2026-11-22, tiny backbone, 64 px, 20 classes,
one core) 1,800 updates of 32 with AdamW at 0.003 reach 0.81 (gn) and 0.68-0.77 (bn) in 32-48 s; 800
of SGD at 0.02 to 0.3 were still at 0.11-0.13, where 800 of AdamW were at 0.22.
"""
WARMUP_SHARE = 20
"""The first of this many parts of the updates is warm-up."""
EVAL_BATCH = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished classifier."""

    net: ClassifierNet
    accuracy: float
    """On the set's validation part, 0..1."""
    seconds: float


def train_classifier(
    asset: ClassifierAsset, images: ClassificationSet, *, checkpoint: Path, watch: Watch
) -> Trained:
    """The classifier after all its updates. It goes on from ``checkpoint`` if that exists.

    Raises:
        Stopped: the run was asked to stop; the checkpoint was written.
        Diverged: a loss was not a finite number.
    """
    spec = asset.upstream
    run = _ClassifierRun(asset, images, watch.ctx)
    run.resume(checkpoint)
    schedule = RungSchedule(
        kind="cosine",
        warmup_steps=spec.steps // WARMUP_SHARE,
        before_end=(),
        factor=0.1,
        branch_at=0,
        total_steps=spec.steps,
    )
    started, before = time.perf_counter(), run.seconds
    for step in range(run.step, spec.steps):
        stop, save = watch.check()
        if save:
            run.seconds = before + time.perf_counter() - started
            run.save(checkpoint)
            watch.note_saved()
        if stop:
            raise Stopped(f"the upstream classifier stands at update {step}")
        with use_float32_precision("fp32", watch.ctx.device):
            run.update(lr_at(schedule, spec.lr, step))
    run.trace.read_losses()
    accuracy = measure_accuracy(run.net, images, watch.ctx.device)
    return Trained(net=run.net, accuracy=accuracy, seconds=before + time.perf_counter() - started)


@torch.no_grad()
def measure_accuracy(net: ClassifierNet, images: ClassificationSet, device: torch.device) -> float:
    """Share of the validation images whose label scores highest."""
    net.eval()
    right = 0
    indices = images.val_indices
    for first in range(0, len(indices), EVAL_BATCH):
        chosen = indices[first : first + EVAL_BATCH]
        labels = torch.from_numpy(images.labels[chosen])
        with use_float32_precision("fp32", device):
            scores = net(unit_range(copy_pixels(images, chosen)).to(device)).cpu()
        right += int((scores.argmax(dim=1) == labels).sum())
    net.train()
    return right / len(indices)


def batch_indices(images: ClassificationSet, spec: UpstreamSpec, step: int) -> NDArray[np.int64]:
    """Indices of the images that update ``step`` sees: one permutation of all after another."""
    train = images.train_indices
    positions = np.arange(step * spec.batch_size, (step + 1) * spec.batch_size)
    epochs, positions_in_epoch = positions // len(train), positions % len(train)
    chosen = np.empty(spec.batch_size, np.int64)
    for epoch in np.unique(epochs):
        generator = generator_at(spec.seed, "upstream order", int(epoch))
        order = torch.randperm(len(train), generator=generator).numpy()
        is_here = epochs == epoch
        chosen[is_here] = train[order[positions_in_epoch[is_here]]]
    return chosen


class _ClassifierRun:
    """A classifier in training: its network, its optimizer, and the number of its next update."""

    def __init__(
        self, asset: ClassifierAsset, images: ClassificationSet, ctx: WorkerContext
    ) -> None:
        spec = asset.upstream
        self.spec, self.images, self.ctx = spec, images, ctx
        self.net = build_classifier(
            asset.detector,
            images.num_classes,
            seed=derive_seed(spec.seed, "upstream init"),
            pixels=asset.input or IMAGENET,
        )
        put_on_device(self.net, ctx.device, "fp32")
        optimizer = OptimizerSpec(
            name=spec.optimizer, lr=spec.lr, momentum=MOMENTUM, weight_decay=spec.weight_decay
        )
        self.optimizer = build_optimizer(*split_by_decay(self.net), optimizer)
        self.trace = LossTrace(ctx)
        self.step, self.seconds = 0, 0.0

    def update(self, rate: float) -> None:
        """One update at this learning rate."""
        chosen = batch_indices(self.images, self.spec, self.step)
        generator = generator_at(self.spec.seed, "upstream augment", self.step)
        pixels, crop = copy_pixels(self.images, chosen), self.images.crop_of(self.spec)
        batch = augment_batch(pixels, crop, generator, self.ctx.device)
        labels = torch.from_numpy(self.images.labels[chosen]).to(self.ctx.device)
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        with seed_torch(self.ctx.device, self.spec.seed, "upstream update", self.step):
            loss = F.cross_entropy(self.net(batch), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.trace.add(self.step, loss)
        self.step += 1

    def save(self, path: Path) -> None:
        """Everything that an update changes is in ``path``."""
        content: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "trace": self.trace.state(),
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(path, content)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; if there is no whole one, from the beginning."""
        if not path.exists():
            return
        try:
            content = load_checkpoint(path)
        except Damaged:
            return
        self.net.load_state_dict(content["model"])
        load_optimizer(self.optimizer, content["optimizer"])
        self.trace.load(content["trace"])
        self.step, self.seconds = content["step"], content["seconds"]
