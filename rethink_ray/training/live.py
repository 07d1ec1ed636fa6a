"""What is alive during a run: the detector, its optimizer, and one update of both."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, Target, build_detector
from rethink_ray.detection.drift import backbone_drift, origin_of
from rethink_ray.detection.sync import put_on_gpus
from rethink_ray.detection.whole import load_detector
from rethink_ray.detection.whole_batch import LossSums, added_denominators, over_workers
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.training.joint import Classified, JointLosses
from rethink_ray.training.micro_batches import (
    dry_run,
    gradients_shared,
    micro_batches,
    sums_of_all,
)
from rethink_ray.training.mixed import LossBalance, MixedLosses
from rethink_ray.training.optimizer import build_optimizer, set_rate
from rethink_ray.training.precision import in_precision, precision
from rethink_ray.training.seeding import seeded
from rethink_ray.training.starting import NOTHING, Start
from rethink_ray.training.worker_context import WorkerContext

Images = Sequence[Tensor]
Targets = Sequence[Target]
MOVED = ("boxes", "labels", "masks", "keypoints")
"""What a detector computes with."""
READ = ("image_id", "is_pseudo")
"""What is only looked at, for which a GPU would have to be waited for."""


class Live:
    """A detector and its optimizer at one place, from the seed or from a checkpoint on."""

    def __init__(
        self,
        recipe: Recipe,
        num_categories: int,
        seed: int,
        place: WorkerContext,
        start: Start = NOTHING,
        images_per_step: int | None = None,
    ) -> None:
        """Everything as it is before the first update; ``start``: what its assets hold.

        ``images_per_step``: of this worker in one forward pass; ``None``: all at once.
        """
        self.recipe = recipe
        self.num_categories = num_categories
        self.place = place
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
        self.detector.sized_by_loader = recipe.augment.short_side_px is not None
        self.detector.images_per_step = images_per_step
        self.detector.to(place.device)
        self.origin = origin_of(self.detector.backbone)
        if place.world_size > 1 and place.device.type == "cuda":
            put_on_gpus(self.detector)
        mixes = recipe.labels.kind == "self_training"
        self.balance = LossBalance(recipe.labels, place) if mixes else None
        self.losses = MixedLosses(self.detector) if mixes else self.detector
        self.joint = self._beside(self.losses) if recipe.joint.weight else None
        weights, norms = self.detector.decayed_and_norm_parameters()
        extra = [] if self.joint is None else list(self.joint.head.parameters())
        self.optimizer = build_optimizer([*weights, *extra], norms, recipe.optimizer)
        self.trainable: list[nn.Parameter] = [*self.detector.trainable_parameters(), *extra]
        self.detector.peers = place if place.world_size > 1 else None
        self.model = place.wrap(self.joint or self.losses)

    def _beside(self, losses: nn.Module) -> JointLosses:
        """Joint training: the same losses, and those of the upstream images."""
        joint = JointLosses(
            losses,
            self.detector,
            self.recipe.upstream.classes,
            self.recipe.joint.weight,
            seed=derive_seed(self.seed, "joint head"),
        )
        return joint.to(self.place.device)

    @in_precision
    def update(
        self,
        images: Images,
        targets: Targets,
        *,
        rate: float,
        step: int,
        classified: Classified | None = None,
    ) -> Tensor:
        """One update on one batch at this learning rate; the loss it was made from.

        ``classified``: upstream images beside it, in joint training.
        """
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        if self.images_per_step is None or self.images_per_step >= len(images):
            loss = self._gradient(images, targets, step, classified)
        else:
            loss = self._accumulated_gradient(images, targets, step, classified)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.clip_norm)
        self.optimizer.step()
        return loss

    def images_normalised_together(self, share: int) -> int:
        """The number of images whose batch statistics are taken together.

        ``share``: images of one kind of label in this worker's batch.
        """
        at_once = min(share, self.images_per_step or share)
        is_synced = self.recipe.detector.norm == "sync_bn"
        return at_once * (self.place.world_size if is_synced else 1)

    def _gradient(
        self, images: Images, targets: Targets, step: int, classified: Classified | None
    ) -> Tensor:
        """The loss of the batch; its gradient is in the parameters."""
        with self._arithmetic(step):
            losses = self.model(
                *self._on_device(images, targets),
                seed=self.seed,
                step=step,
                **self._beside_batch(classified),
            )
            weights = {} if self.balance is None else self.balance.weights(losses)
            loss = weighted(losses, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _accumulated_gradient(
        self, images: Images, targets: Targets, step: int, classified: Classified | None
    ) -> Tensor:
        """The loss of the batch; its gradient was added up micro-batch by micro-batch."""
        assert self.images_per_step is not None, "asked only where a batch is cut"
        parts = [
            ([images[i] for i in numbers], [targets[i] for i in numbers])
            for numbers in micro_batches(targets, self.images_per_step)
        ]
        whole = self._counted(parts, step)
        num_workers = self.place.world_size
        weights = {}
        if self.balance is not None:
            weights = self.balance.weights(whole.divided(whole.denominators, num_workers))
        total = torch.zeros((), device=self.place.device)
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            with gradients_shared(self.model, is_last=is_last):
                with self._arithmetic(step, number):
                    losses = self.model(
                        *self._on_device(*part),
                        seed=self.seed,
                        step=step,
                        denominators=whole.denominators,
                        **self._beside_batch(classified if is_last else None),
                    )
                    loss = weighted(losses, weights)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _counted(self, parts: Sequence[tuple[Images, Targets]], step: int) -> LossSums:
        """The losses of the whole batch, divided by nothing yet, without a gradient.

        Where the numbers that they are divided by are all that is needed, and boxes alone tell
        them, the losses are left out.
        """
        if self.balance is None:
            counted = [
                self.detector.count_denominators(images, self._on_device([], targets)[1])
                for images, targets in parts
            ]
            by_boxes = [denominators for denominators in counted if denominators is not None]
            if len(by_boxes) == len(parts):
                whole = over_workers(added_denominators(by_boxes), self.detector.peers)
                return LossSums(sums={}, denominators=whole)

        def sums() -> Iterator[LossSums]:
            for number, part in enumerate(parts):
                with self._arithmetic(step, number):
                    yield self.losses.loss_sums(*self._on_device(*part), seed=self.seed, step=step)

        with dry_run(self.losses):
            own = sums_of_all(sums())
        peers = self.detector.peers
        return LossSums(sums=own.sums, denominators=over_workers(own.denominators, peers))

    @contextmanager
    def _arithmetic(self, step: int, *part: int) -> Iterator[None]:
        """Inside, libraries draw as this part of this update does, in the recipe's precision."""
        device = self.place.device
        with seeded(device, self.seed, "update", step, *part), precision(self.recipe, device):
            yield

    def _on_device(self, images: Images, targets: Targets) -> tuple[list[Tensor], list[Target]]:
        device = self.place.device
        moved: list[Target] = [
            {k: v.to(device, non_blocking=True) for k, v in t.items() if k in MOVED}
            | {k: v for k, v in t.items() if k in READ}
            for t in targets
        ]
        return [image.to(device, non_blocking=True) for image in images], moved

    def _beside_batch(self, classified: Classified | None) -> dict[str, Classified]:
        return {} if classified is None else {"classified": _on(self.place.device, classified)}

    def state(self) -> dict[str, Any]:
        """Everything an update changes, statistics included; the same on all workers."""
        self.place.share_buffers(self.detector)
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
        """How far the backbone is from its start, which every process finds again by itself."""
        return backbone_drift(self.detector.backbone, self.origin)

    def is_finite(self) -> bool:
        """Whether every number that training moves is one."""
        flags = [torch.isfinite(p.detach()).all() for p in self.trainable]
        return bool(torch.stack(flags).all())


def _on(device: torch.device, classified: Classified) -> Classified:
    images, labels = classified
    return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def weighted(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """The one loss of an update; ``weights``: of the losses whose names begin so, others have 1."""
    parts = []
    for name, loss in losses.items():
        factors = [weight for kind, weight in weights.items() if name.startswith(kind)]
        parts.append(loss.float() * factors[0] if factors else loss.float())
    return torch.stack(parts).sum()
