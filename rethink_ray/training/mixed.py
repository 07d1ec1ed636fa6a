"""Human and pseudo labels in one update (Zoph et al. 2020, appendix B).

Each kind of label passes the network by itself, so that each has its own loss. Batch statistics are
therefore of one kind at a time; in the paper they are of both together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, Target
from rethink_ray.detection.whole_batch import Denominators, LossSums
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.recipe import LabelsSpec
from rethink_ray.training.worker_context import WorkerContext

HUMAN, PSEUDO = "human/", "pseudo/"


class MixedLosses(nn.Module):
    """A detector whose losses are separate for each kind of label, from one call of ``forward``."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target],
        *,
        seed: int,
        step: int,
        denominators: Denominators | None = None,
    ) -> dict[str, Tensor]:
        """The detector's losses of each kind, named ``human/...`` and ``pseudo/...``.

        ``targets`` carry ``is_pseudo``. A batch has both kinds; a micro-batch has one, and
        ``denominators`` are those of its whole batch. The samples that the detector draws of one
        kind do not depend on the other.
        """
        losses: dict[str, Tensor] = {}
        for kind, kind_seed, chosen in self._kinds(targets, seed):
            of_kind = self.detector.losses(
                [images[i] for i in chosen],
                [targets[i] for i in chosen],
                seed=kind_seed,
                step=step,
                denominators=None if denominators is None else _of_kind(kind, denominators),
            )
            losses |= {kind + name: loss for name, loss in of_kind.items()}
        return losses

    def loss_sums(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, seed: int, step: int
    ) -> LossSums:
        """The losses of a micro-batch before they are divided, named as ``forward`` does."""
        [(kind, kind_seed, _)] = self._kinds(targets, seed)
        kind_sums = self.detector.loss_sums(images, targets, seed=kind_seed, step=step)
        return LossSums(
            sums={kind + name: value for name, value in kind_sums.sums.items()},
            denominators={kind + name: value for name, value in kind_sums.denominators.items()},
        )

    def _kinds(self, targets: Sequence[Target], seed: int) -> list[tuple[str, int, list[int]]]:
        """(kind, seed of its draws, positions of its images) for every kind in the batch."""
        kinds = ((HUMAN, seed), (PSEUDO, derive_seed(seed, "pseudo labels")))
        chosen: dict[str, list[int]] = {HUMAN: [], PSEUDO: []}
        for number, target in enumerate(targets):
            chosen[PSEUDO if bool(target["is_pseudo"]) else HUMAN].append(number)
        return [(kind, kind_seed, chosen[kind]) for kind, kind_seed in kinds if chosen[kind]]


def _of_kind(kind: str, denominators: Denominators) -> Denominators:
    return {
        name.removeprefix(kind): value
        for name, value in denominators.items()
        if name.startswith(kind)
    }


class LossBalance:
    """(L_h + alpha r L_p) / (1 + alpha), with r the ratio of both losses' moving averages.

    The averages are the same on all workers and are saved in checkpoints. Both begin at zero; their
    ratio is not affected by that.
    """

    def __init__(self, spec: LabelsSpec, ctx: WorkerContext) -> None:
        self.alpha, self.normalise, self.average = spec.alpha, spec.normalise, spec.average
        self._ctx = ctx
        self._means = torch.zeros(2, dtype=torch.float64, device=ctx.device)

    @property
    def ratio(self) -> Tensor:
        """Average human loss over average pseudo-labelled loss; 1 before the first update."""
        human, pseudo = self._means
        return torch.where(pseudo > 0, human / pseudo, torch.ones_like(human))

    def weights(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight of each kind's losses, after ``losses`` have entered the averages."""
        human, pseudo = (
            torch.stack([part.float() for name, part in losses.items() if name.startswith(kind)])
            for kind in (HUMAN, PSEUDO)
        )
        return self._weights_after(human.sum(), pseudo.sum())

    def _weights_after(self, human: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
        """The weights after this worker's two losses have entered the averages of all workers."""
        both = self._ctx.mean(torch.stack([human.detach(), pseudo.detach()]).double())
        self._means = self.average * self._means + (1.0 - self.average) * both
        ratio = self.ratio.float() if self.normalise else torch.ones_like(human)
        share = torch.ones_like(ratio) / (1.0 + self.alpha)
        return {HUMAN: share, PSEUDO: self.alpha * ratio * share}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"means": self._means.cpu()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._means = state["means"].to(self._ctx.device)
