"""Joint training: a detector's backbone classifies upstream images in the same update.

Zoph et al. 2020 train like this instead of pre-training, or after it. Which images an update sees
depends on the run's seed and the update's number alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rethink_ray.data.contents import list_pictures
from rethink_ray.data.leaks import require_unseen
from rethink_ray.data.upstream import ClassificationSet, open_upstream, upstream_files
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.necks import full_precision
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import UpstreamSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.classify import batch_indices
from rethink_ray.training.seeding import generator_at
from rethink_ray.training.upstream_pixels import augment_batch, copy_pixels
from rethink_ray.training.worker_context import WorkerContext

CLASSIFY = "upstream"
"""Name of the classification loss among a detector's."""

Classified = tuple[Tensor, Tensor]
"""Images ``[N, 3, S, S]`` float32 in 0..1 and their labels ``[N]`` from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointImages:
    """The upstream images of one run, and the order in which it sees them."""

    images: ClassificationSet
    order: UpstreamSpec
    """``batch_size`` and ``seed`` are those of the run."""

    def batch(self, step: int, ctx: WorkerContext) -> Classified:
        """This worker's share of the images that update ``step`` classifies."""
        share = self.order.batch_size // ctx.world_size
        part = slice(ctx.rank * share, (ctx.rank + 1) * share)
        chosen = batch_indices(self.images, self.order, step)
        generator = generator_at(self.order.seed, "joint augment", step)
        pixels, crop = copy_pixels(self.images, chosen), self.images.crop_of(self.order)
        batch = augment_batch(pixels, crop, generator, torch.device("cpu"), part)
        return batch, torch.from_numpy(self.images.labels[chosen[part]])


def open_joint(config: TrialConfig) -> JointImages | None:
    """The upstream images that a run of ``config`` classifies; ``None`` if it classifies none.

    Raises:
        DataError: one of them is an image of a split that is scored.
    """
    spec = config.recipe.joint
    if not spec.weight:
        return None
    learned_from = list_pictures(upstream_files(config.data))
    require_unseen(config.data, learned_from, "joint training")
    upstream = config.recipe.upstream
    seed = derive_seed(config.seed, "joint order")
    order = upstream.model_copy(update={"batch_size": spec.batch_size, "seed": seed})
    return JointImages(images=open_upstream(config.data, upstream), order=order)


class JointLosses(nn.Module):
    """A detector's losses and the classification loss, in one call."""

    def __init__(
        self, losses: nn.Module, detector: Detector, num_classes: int, weight: float, *, seed: int
    ) -> None:
        """``losses``: the module that computes the losses of ``detector``.

        ``seed`` draws the linear layer over the backbone's last stage.
        """
        super().__init__()
        self.losses, self.detector, self.weight = losses, detector, weight
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.head = nn.Linear(detector.backbone.channels[-1], num_classes)

    def forward(
        self, *batch: Any, classified: Classified | None = None, **position: Any
    ) -> dict[str, Tensor]:
        """The detector's losses, and ``upstream``: weighted cross-entropy over the classes.

        ``classified``: ``None`` in all micro-batches of an update but the last.
        """
        losses: dict[str, Tensor] = self.losses(*batch, **position)
        if classified is None:
            return losses
        images, labels = classified
        last = self.detector.backbone(self.detector.pixel_norm(images))["layer4"]
        scores = full_precision(self.head(last.mean(dim=(2, 3))))
        return losses | {CLASSIFY: self.weight * functional.cross_entropy(scores, labels)}
