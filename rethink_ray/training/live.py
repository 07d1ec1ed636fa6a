"""The live detector and its optimizer, and one update of both."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, Target, build_detector
from rethink_ray.detection.drift import backbone_drift, record_origin
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.pixel_norm import require_stated_input
from rethink_ray.detection.sync import put_on_gpus
from rethink_ray.detection.whole import load_detector
from rethink_ray.detection.whole_batch import LossSums, add_denominators, sum_over_workers
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.training.joint import Classified, JointLosses
from rethink_ray.training.micro_batches import (
    add_micro_batches,
    dry_run,
    exchange_gradients_if_last,
    split_into_micro_batches,
)
from rethink_ray.training.mixed import LossBalance, MixedLosses
from rethink_ray.training.optimizer import build_optimizer, set_rate
from rethink_ray.training.precision import run_in_precision, use_precision
from rethink_ray.training.seeding import seed_torch
from rethink_ray.training.starting import FROM_SEED, Start
from rethink_ray.training.worker_context import WorkerContext

BatchImages = Sequence[Tensor]
BatchTargets = Sequence[Target]
DEVICE_KEYS = ("boxes", "labels", "masks", "has_mask", "keypoints")
"""Parts of a target that a detector computes with; they are moved to its device."""
HOST_KEYS = ("image_id", "is_pseudo")
"""Parts that Python reads. They stay on the CPU: reading from a GPU would wait for it."""


class Live:
    """A detector and its optimizer in one worker. Seed and assets decide how they begin."""

    def __init__(
        self,
        recipe: Recipe,
        num_categories: int,
        seed: int,
        ctx: WorkerContext,
        start: Start = FROM_SEED,
        images_per_step: int | None = None,
    ) -> None:
        """Build everything that the first update needs.

        Args:
            recipe: how the run trains.
            num_categories: outputs of the detector besides the background.
            seed: the run's seed.
            ctx: this worker.
            start: the weights that the run's assets hold.
            images_per_step: images of this worker in one forward pass; ``None``: all at once.
        """
        self.recipe = recipe
        self.num_categories = num_categories
        self.ctx = ctx
        self.seed = seed
        self.images_per_step = images_per_step
        self.clip_norm = recipe.optimizer.clip_norm
        self.detector: Detector = build_detector(
            recipe.detector,
            recipe.init if start.whole is None else InitSpec(frozen=recipe.init.frozen),
            num_categories,
            seed=derive_seed(seed, "init"),
            weights=start.backbone,
        )
        if start.whole is not None:
            is_taught = recipe.labels.kind != "human"
            where = "labels.start: teacher" if is_taught else f"init.source: {recipe.init.source}"
            load_detector(self.detector, start.whole, where)
            require_stated_input(self.detector.pixel_norm, recipe.init.input, "init.input")
        self.detector.sized_by_loader = recipe.augment.short_side_px is not None
        self.detector.images_per_step = images_per_step
        if isinstance(self.detector.network, OwnNetwork):
            share = recipe.batch_size // ctx.world_size
            is_cut = (images_per_step or share) < share
            self.detector.network.require_whole_batches(ctx.world_size, is_cut=is_cut)
        self.detector.to(ctx.device)
        self.origin = record_origin(self.detector.drift_part)
        if ctx.world_size > 1 and ctx.device.type == "cuda":
            put_on_gpus(self.detector)
        mixes = recipe.labels.kind == "self_training"
        self.balance = LossBalance(recipe.labels, ctx) if mixes else None
        self.losses = MixedLosses(self.detector) if mixes else self.detector
        self.joint = self._build_joint(self.losses) if recipe.joint.weight else None
        weights, norms = self.detector.decayed_and_norm_parameters()
        extra = [] if self.joint is None else list(self.joint.head.parameters())
        self.optimizer = build_optimizer([*weights, *extra], norms, recipe.optimizer)
        self.trainable: list[nn.Parameter] = [*self.detector.trainable_parameters(), *extra]
        self.detector.peers = ctx if ctx.world_size > 1 else None
        self.model = ctx.wrap(self.joint or self.losses)

    def _build_joint(self, losses: nn.Module) -> JointLosses:
        """Joint training: ``losses`` and the classification loss of upstream images."""
        joint = JointLosses(
            losses,
            self.detector,
            self.recipe.upstream.classes,
            self.recipe.joint.weight,
            seed=derive_seed(self.seed, "joint head"),
        )
        return joint.to(self.ctx.device)

    @run_in_precision
    def update(
        self,
        images: BatchImages,
        targets: BatchTargets,
        *,
        rate: float,
        step: int,
        classified: Classified | None = None,
    ) -> Tensor:
        """Make one update and return its loss.

        Args:
            images: this worker's share of the batch.
            targets: one for each image.
            rate: learning rate.
            step: number of the update, from zero.
            classified: upstream images, in joint training.
        """
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        if self.images_per_step is None or self.images_per_step >= len(images):
            loss = self._compute_gradient(images, targets, step, classified)
        else:
            loss = self._accumulate_gradient(images, targets, step, classified)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.clip_norm)
        self.optimizer.step()
        return loss

    def images_normalised_together(self, share: int) -> int:
        """How many images share one set of batch statistics.

        ``share``: images of one kind of label in this worker's batch.
        """
        at_once = min(share, self.images_per_step or share)
        is_synced = self.recipe.detector.norm == "sync_bn"
        return at_once * (self.ctx.world_size if is_synced else 1)

    def _compute_gradient(
        self, images: BatchImages, targets: BatchTargets, step: int, classified: Classified | None
    ) -> Tensor:
        """The loss of the batch; its gradient is in the parameters afterwards."""
        with self._pin_randomness(step):
            losses = self.model(
                *self._on_device(images, targets),
                seed=self.seed,
                step=step,
                **self._classification_argument(classified),
            )
            weights = {} if self.balance is None else self.balance.weights(losses)
            loss = combine_losses(losses, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _accumulate_gradient(
        self, images: BatchImages, targets: BatchTargets, step: int, classified: Classified | None
    ) -> Tensor:
        """As ``_compute_gradient``, one micro-batch after another."""
        assert self.images_per_step is not None, "called only for a batch that is split"
        parts = [
            ([images[i] for i in numbers], [targets[i] for i in numbers])
            for numbers in split_into_micro_batches(targets, self.images_per_step)
        ]
        whole = self._sum_losses(parts, step)
        num_workers = self.ctx.world_size
        weights = {}
        if self.balance is not None:
            weights = self.balance.weights(whole.divide(whole.denominators, num_workers))
        total = torch.zeros((), device=self.ctx.device)
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            with exchange_gradients_if_last(self.model, is_last=is_last):
                with self._pin_randomness(step, number):
                    losses = self.model(
                        *self._on_device(*part),
                        seed=self.seed,
                        step=step,
                        denominators=whole.denominators,
                        **self._classification_argument(classified if is_last else None),
                    )
                    loss = combine_losses(losses, weights)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _sum_losses(self, parts: Sequence[tuple[BatchImages, BatchTargets]], step: int) -> LossSums:
        """The losses of the whole batch before they are divided, without a gradient.

        If only the denominators are needed and they can be counted from the boxes alone, the
        losses are left out and the network does not run.
        """
        if self.balance is None:
            counted = [
                self.detector.count_denominators(images, self._on_device([], targets)[1])
                for images, targets in parts
            ]
            by_boxes = [denominators for denominators in counted if denominators is not None]
            if len(by_boxes) == len(parts):
                whole = sum_over_workers(add_denominators(by_boxes), self.detector.peers)
                return LossSums(sums={}, denominators=whole)

        def sums() -> Iterator[LossSums]:
            for number, part in enumerate(parts):
                with self._pin_randomness(step, number):
                    yield self.losses.loss_sums(*self._on_device(*part), seed=self.seed, step=step)

        with dry_run(self.losses):
            mine = add_micro_batches(sums())
        peers = self.detector.peers
        return LossSums(sums=mine.sums, denominators=sum_over_workers(mine.denominators, peers))

    @contextmanager
    def _pin_randomness(self, step: int, *part: int) -> Iterator[None]:
        """Inside, torch's global generators depend on the update and its part alone.

        Arithmetic is in the recipe's precision.
        """
        device = self.ctx.device
        with (
            seed_torch(device, self.seed, "update", step, *part),
            use_precision(self.recipe, device),
        ):
            yield

    def _on_device(
        self, images: BatchImages, targets: BatchTargets
    ) -> tuple[list[Tensor], list[Target]]:
        device = self.ctx.device
        moved: list[Target] = [
            {k: v.to(device, non_blocking=True) for k, v in t.items() if k in DEVICE_KEYS}
            | {k: v for k, v in t.items() if k in HOST_KEYS}
            for t in targets
        ]
        return [image.to(device, non_blocking=True) for image in images], moved

    def _classification_argument(self, classified: Classified | None) -> dict[str, Classified]:
        return {} if classified is None else {"classified": _move(self.ctx.device, classified)}

    def state(self) -> dict[str, Any]:
        """Everything that updates change, for a checkpoint; the same on all workers."""
        self.ctx.broadcast_buffers(self.detector)
        state = {"model": self.detector.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.balance is not None:
            state["balance"] = self.balance.state()
        if self.joint is not None:
            state["head"] = self.joint.head.state_dict()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.detector.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.balance is not None:
            self.balance.load(state["balance"])
        if self.joint is not None:
            self.joint.head.load_state_dict(state["head"])

    def drift(self) -> float:
        """How far the backbone's weights have moved since before the first update."""
        return backbone_drift(self.detector.drift_part, self.origin)

    def is_finite(self) -> bool:
        """Whether every trained parameter is a finite number."""
        flags = [torch.isfinite(p.detach()).all() for p in self.trainable]
        return bool(torch.stack(flags).all())


def _move(device: torch.device, classified: Classified) -> Classified:
    images, labels = classified
    return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def combine_losses(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """The one loss of an update: the weighted sum of a detector's losses.

    ``weights``: prefix of a loss's name -> its weight. Losses without a prefix here weigh 1.
    """
    parts = []
    for name, loss in losses.items():
        factors = [weight for kind, weight in weights.items() if name.startswith(kind)]
        parts.append(loss.float() * factors[0] if factors else loss.float())
    return torch.stack(parts).sum()
