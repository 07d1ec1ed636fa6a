"""What is alive during a run: the detector, its optimizer, and one update of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.drift import backbone_drift, origin_of
from rethink_ray.detection.sync import put_on_gpus
from rethink_ray.detection.whole import load_detector
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.training.joint import CLASSIFY, Classified, JointLosses
from rethink_ray.training.mixed import LossBalance, MixedLosses
from rethink_ray.training.optimizer import build_optimizer, set_rate
from rethink_ray.training.place import Place
from rethink_ray.training.precision import in_precision, precision
from rethink_ray.training.seeding import derive_seed, seeded
from rethink_ray.training.starting import NOTHING, Start

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
        place: Place,
        start: Start = NOTHING,
    ) -> None:
        """Everything as it is before the first update; ``start``: what its assets hold."""
        self.recipe = recipe
        self.num_categories = num_categories
        self.place = place
        self.seed = seed
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
        self.detector.to(place.device)
        self.origin = origin_of(self.detector.backbone)
        if place.world_size > 1 and place.device.type == "cuda":
            put_on_gpus(self.detector)
        mixes = recipe.labels.kind == "self_training"
        self.balance = LossBalance(recipe.labels, place) if mixes else None
        losses = MixedLosses(self.detector) if mixes else self.detector
        self.joint = self._beside(losses) if recipe.joint.weight else None
        weights, norms = self.detector.decayed_and_norm_parameters()
        extra = [] if self.joint is None else list(self.joint.head.parameters())
        self.optimizer = build_optimizer([*weights, *extra], norms, recipe.optimizer)
        self.trainable: list[nn.Parameter] = [*self.detector.trainable_parameters(), *extra]
        self.detector.peers = place if place.world_size > 1 else None
        self.model = place.wrap(self.joint or losses)

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
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        *,
        rate: float,
        step: int,
        classified: Classified | None = None,
    ) -> Tensor:
        """One update on one batch at this learning rate; the loss it was made from.

        ``classified``: upstream images beside it, in joint training.
        """
        device = self.place.device
        images = [image.to(device, non_blocking=True) for image in images]
        targets = [
            {k: v.to(device, non_blocking=True) for k, v in t.items() if k in MOVED}
            | {k: v for k, v in t.items() if k in READ}
            for t in targets
        ]
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        with seeded(device, self.seed, "update", step), precision(self.recipe, device):
            beside = {} if classified is None else {"classified": _on(device, classified)}
            losses = self.model(images, targets, seed=self.seed, step=step, **beside)
            loss = self._total(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        if self.balance is not None:
            return self.balance.total(losses) + losses.get(CLASSIFY, 0.0)
        return torch.stack([part.float() for part in losses.values()]).sum()

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
