"""Human and pseudo labels in one update (Zoph et al. 2020, appendix B).

Each kind passes the network by itself, so that every family has a loss of each, whatever it divides
by. Batch statistics are therefore of one kind at a time, where the paper's are of both together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, Target
from rethink_ray.spec.recipe import LabelsSpec
from rethink_ray.training.place import Place
from rethink_ray.training.seeding import derive_seed

HUMAN, PSEUDO = "human/", "pseudo/"


class MixedLosses(nn.Module):
    """A detector that tells the losses of each kind apart, in one call, as groups need it."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, seed: int, step: int
    ) -> dict[str, Tensor]:
        """The detector's losses twice, named ``human/...`` and ``pseudo/...``.

        ``targets`` carry ``is_pseudo``; each kind occurs. What the detector samples of one kind
        does not depend on the other.
        """
        losses: dict[str, Tensor] = {}
        for kind, own_seed in ((HUMAN, seed), (PSEUDO, derive_seed(seed, "pseudo labels"))):
            chosen = [i for i, t in enumerate(targets) if bool(t["is_pseudo"]) is (kind == PSEUDO)]
            found = self.detector.losses(
                [images[i] for i in chosen], [targets[i] for i in chosen], seed=own_seed, step=step
            )
            losses |= {kind + name: loss for name, loss in found.items()}
        return losses


class LossBalance:
    """(L_h + alpha r L_p) / (1 + alpha), with r the ratio of both losses' moving averages.

    The averages belong to the run: they are the same on all its workers and stand in its
    checkpoints. Both begin at zero, which their ratio does not show.
    """

    def __init__(self, spec: LabelsSpec, place: Place) -> None:
        self.alpha, self.normalise, self.average = spec.alpha, spec.normalise, spec.average
        self._place = place
        self._means = torch.zeros(2, dtype=torch.float64, device=place.device)

    @property
    def ratio(self) -> Tensor:
        """Human over pseudo-labelled loss as they are on average; one before the first update."""
        human, pseudo = self._means
        return torch.where(pseudo > 0, human / pseudo, torch.ones_like(human))

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The one loss of an update; its two parts enter the averages first."""
        human, pseudo = (
            torch.stack([part.float() for name, part in losses.items() if name.startswith(kind)])
            for kind in (HUMAN, PSEUDO)
        )
        return self.combined(human.sum(), pseudo.sum())

    def combined(self, human: Tensor, pseudo: Tensor) -> Tensor:
        """``human`` and ``pseudo``: this worker's scalars; the averages are of all workers'."""
        both = self._place.mean(torch.stack([human.detach(), pseudo.detach()]).double())
        self._means = self.average * self._means + (1.0 - self.average) * both
        weight = self.alpha * self.ratio.float() if self.normalise else self.alpha
        return (human + weight * pseudo) / (1.0 + self.alpha)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"means": self._means.cpu()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._means = state["means"].to(self._place.device)
