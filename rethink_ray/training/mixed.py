"""Human and pseudo labels in one update (Zoph et al. 2020, appendix B).

Each kind passes the network by itself, so that every family has a loss of each, whatever it divides
by. Batch statistics are therefore of one kind at a time, where the paper's are of both together.
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
    """A detector that tells the losses of each kind apart, in one call, as groups need it."""

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
        """The detector's losses twice, named ``human/...`` and ``pseudo/...``.

        ``targets`` carry ``is_pseudo``; each kind occurs, but for a micro-batch (of whose whole
        batch the ``denominators`` are). What the detector samples of one kind does not depend on
        the other.
        """
        losses: dict[str, Tensor] = {}
        for kind, own_seed, chosen in self._kinds(targets, seed):
            of_kind = self.detector.losses(
                [images[i] for i in chosen],
                [targets[i] for i in chosen],
                seed=own_seed,
                step=step,
                denominators=None if denominators is None else _of_kind(kind, denominators),
            )
            losses |= {kind + name: loss for name, loss in of_kind.items()}
        return losses

    def loss_sums(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, seed: int, step: int
    ) -> LossSums:
        """The losses of a micro-batch of one kind before they are divided, named as above."""
        [(kind, own_seed, _)] = self._kinds(targets, seed)
        own = self.detector.loss_sums(images, targets, seed=own_seed, step=step)
        return LossSums(
            sums={kind + name: value for name, value in own.sums.items()},
            denominators={kind + name: value for name, value in own.denominators.items()},
        )

    def _kinds(self, targets: Sequence[Target], seed: int) -> list[tuple[str, int, list[int]]]:
        """Kind, the seed of its draws and its images, of every kind that occurs."""
        kinds = ((HUMAN, seed), (PSEUDO, derive_seed(seed, "pseudo labels")))
        chosen: dict[str, list[int]] = {HUMAN: [], PSEUDO: []}
        for number, target in enumerate(targets):
            chosen[PSEUDO if bool(target["is_pseudo"]) else HUMAN].append(number)
        return [(kind, own_seed, chosen[kind]) for kind, own_seed in kinds if chosen[kind]]


def _of_kind(kind: str, denominators: Denominators) -> Denominators:
    return {
        name.removeprefix(kind): value
        for name, value in denominators.items()
        if name.startswith(kind)
    }


class LossBalance:
    """(L_h + alpha r L_p) / (1 + alpha), with r the ratio of both losses' moving averages.

    The averages belong to the run: they are the same on all its workers and stand in its
    checkpoints. Both begin at zero, which their ratio does not show.
    """

    def __init__(self, spec: LabelsSpec, place: WorkerContext) -> None:
        self.alpha, self.normalise, self.average = spec.alpha, spec.normalise, spec.average
        self._place = place
        self._means = torch.zeros(2, dtype=torch.float64, device=place.device)

    @property
    def ratio(self) -> Tensor:
        """Human over pseudo-labelled loss as they are on average; one before the first update."""
        human, pseudo = self._means
        return torch.where(pseudo > 0, human / pseudo, torch.ones_like(human))

    def weights(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the losses of each kind are multiplied by; they enter the averages first."""
        human, pseudo = (
            torch.stack([part.float() for name, part in losses.items() if name.startswith(kind)])
            for kind in (HUMAN, PSEUDO)
        )
        return self.weights_of(human.sum(), pseudo.sum())

    def weights_of(self, human: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
        """``human`` and ``pseudo``: this worker's scalars; the averages are of all workers'."""
        both = self._place.mean(torch.stack([human.detach(), pseudo.detach()]).double())
        self._means = self.average * self._means + (1.0 - self.average) * both
        ratio = self.ratio.float() if self.normalise else torch.ones_like(human)
        share = torch.ones_like(ratio) / (1.0 + self.alpha)
        return {HUMAN: share, PSEUDO: self.alpha * ratio * share}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"means": self._means.cpu()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._means = state["means"].to(self._place.device)
