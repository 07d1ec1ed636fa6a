"""The live detector and its optimizer, and one update of both."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detector_start import KeptClasses
from rethink_ray.detection.detectors import Detector, Target, build_detector
from rethink_ray.detection.drift import backbone_drift, record_origin
from rethink_ray.detection.layout import put_on_device
from rethink_ray.detection.learned_detectors import start_from_learned
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.pixel_norm import require_stated_input
from rethink_ray.detection.sync import put_on_gpus
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.detection.whole_batch import LossSums, add_denominators, sum_over_workers
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.training.ema import WeightAverage
from rethink_ray.training.frozen_features import cache_frozen_maps
from rethink_ray.training.joint import Classified, JointLosses
from rethink_ray.training.micro_batches import (
    add_micro_batches,
    dry_run,
    exchange_gradients_if_last,
    split_into_micro_batches,
)
from rethink_ray.training.mixed import LossBalance, MixedLosses
from rethink_ray.training.moving import move_classified, move_images, move_targets
from rethink_ray.training.optimizer import build_optimizer, load_optimizer, set_rate
from rethink_ray.training.precision import run_in_precision, use_precision
from rethink_ray.training.seeding import seed_torch
from rethink_ray.training.starting import FROM_SEED, Start
from rethink_ray.training.worker_context import WorkerContext

BatchImages = Sequence[Tensor]
BatchTargets = Sequence[Target]


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
        self.kept = self._load_whole(start)
        """What was taken over from a detector of other categories; ``None``: nothing was."""
        self.detector.sized_by_loader = recipe.augment.short_side_px is not None
        self.detector.images_per_step = images_per_step
        if isinstance(self.detector.network, OwnNetwork):
            self.detector.network.require_usable(recipe, ctx.world_size, images_per_step)
        put_on_device(self.detector, ctx.device, recipe.precision)
        cache_frozen_maps(self.detector, recipe, ctx.device)
        unfreeze, unit = recipe.init.unfreeze, recipe.schedule.unit
        self.unfreezes_at = None if unfreeze is None else unfreeze.first_update(unit)
        """Number of the first update in which every part trains; ``None``: frozen parts never."""
        self.origin = record_origin(
            self.detector.drift_part, is_unfrozen_later=unfreeze is not None
        )
        if ctx.world_size > 1 and ctx.device.type == "cuda":
            put_on_gpus(self.detector)
        mixes = recipe.labels.has_pseudo
        self.balance = LossBalance(recipe.labels, ctx) if mixes else None
        self.losses = MixedLosses(self.detector) if mixes else self.detector
        self.joint = self._build_joint(self.losses) if recipe.joint.weight else None
        self.detector.peers = ctx if ctx.world_size > 1 else None
        self.average: WeightAverage | None = None
        self._start_phase(is_unfrozen=False)
        if (ema := recipe.optimizer.ema) is not None:
            self.average = WeightAverage(self.detector, ema, recipe.schedule.unit)

    def _start_phase(self, *, is_unfrozen: bool) -> None:
        """Build a fresh optimizer, and the exchange of gradients, for what trains in a phase.

        ``is_unfrozen``: everything trains, from ``init.unfreeze`` on.
        """
        self.is_unfrozen = is_unfrozen
        self.detector.freeze("none" if is_unfrozen else self.recipe.init.frozen)
        weights, norms = self.detector.decayed_and_norm_parameters()
        extra = [] if self.joint is None else list(self.joint.head.parameters())
        self.optimizer = build_optimizer(
            [*weights, *extra], norms, self.recipe.optimizer, self.detector.depths()
        )
        self.trainable: list[nn.Parameter] = [*self.detector.trainable_parameters(), *extra]
        # lets go of an earlier phase's exchange, whose hooks are on the parameters
        self.model: nn.Module = self.joint or self.losses
        self.model = self.ctx.wrap(self.model, is_static=self._is_static)
        if self.average is not None:
            self.average.track(self.detector)

    @property
    def _is_static(self) -> bool:
        """Whether all updates run one backward pass over the same parameters."""
        share = self.recipe.batch_size // self.ctx.world_size
        is_whole = self.images_per_step is None or self.images_per_step >= share
        return is_whole and self.unfreezes_at is None

    def unfreeze_if_due(self, step: int) -> None:
        """Make everything train from update ``init.unfreeze`` on; all workers call this together.

        What trained before keeps its momentum; what was frozen has none yet.
        """
        if self.is_unfrozen or self.unfreezes_at is None or step < self.unfreezes_at:
            return
        before = self.optimizer
        self._start_phase(is_unfrozen=True)
        self.optimizer.state.update(before.state)

    def _load_whole(self, start: Start) -> KeptClasses | None:
        """Load a trained detector, if there is one; its input replaces ImageNet's if it has one."""
        init, kept = self.recipe.init, None
        if start.whole is not None:
            from_init = f"init.source: {init.source}"
            where = "labels.start: teacher" if self.recipe.labels.goes_on else from_init
            load_whole_detector(self.detector, start.whole, where)
        elif start.learned is not None:
            assert start.names is not None, "names come with the learned detector"
            where = f"init.weights {init.weights}"
            kept = start_from_learned(
                self.detector, start.learned, start.names, init.keep_classes, where
            )
        else:
            return None
        require_stated_input(self.detector.pixel_norm.read_input(), init.input, "init.input")
        return kept

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
        if self.average is not None:
            self.average.update(step)
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
        return move_images(images, device), move_targets(targets, device)

    def _classification_argument(self, classified: Classified | None) -> dict[str, Classified]:
        if classified is None:
            return {}
        return {"classified": move_classified(classified, self.ctx.device)}

    def state(self) -> dict[str, Any]:
        """Everything that updates change, for a checkpoint; the same on all workers."""
        self.ctx.broadcast_buffers(self.detector)
        state = {
            "model": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "is_unfrozen": self.is_unfrozen,
        }
        if self.average is not None:
            state["average"] = self.average.state()
        if self.balance is not None:
            state["balance"] = self.balance.state()
        if self.joint is not None:
            state["head"] = self.joint.head.state_dict()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        if state["is_unfrozen"] != self.is_unfrozen:
            self._start_phase(is_unfrozen=state["is_unfrozen"])
        self.detector.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])
        if self.balance is not None:
            self.balance.load(state["balance"])
        if self.joint is not None:
            self.joint.head.load_state_dict(state["head"])

    def scored_weights(self) -> AbstractContextManager[None]:
        """Inside, the detector has the weights that are scored and kept: their average, if the
        recipe asks for one, else the live ones. It must not be entered twice."""
        return nullcontext() if self.average is None else self.average.in_place()

    def drift(self) -> float:
        """How far the weights of the backbone that are scored have moved since before update 0."""
        with self.scored_weights():
            return backbone_drift(self.detector.drift_part, self.origin)

    def is_finite(self) -> bool:
        """Whether every trained parameter, and every average of one, is a finite number."""
        flags = [torch.isfinite(p.detach()).all() for p in self.trainable]
        if self.average is not None:
            flags.append(self.average.is_finite())
        return bool(torch.stack(flags).all())


def combine_losses(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """The one loss of an update: the weighted sum of a detector's losses.

    ``weights``: prefix of a loss's name -> its weight. Losses without a prefix here weigh 1.
    """
    parts = []
    for name, loss in losses.items():
        factors = [weight for kind, weight in weights.items() if name.startswith(kind)]
        parts.append(loss.float() * factors[0] if factors else loss.float())
    return torch.stack(parts).sum()
