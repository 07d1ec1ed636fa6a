"""Which anchors and proposals enter a loss: drawn per image from (seed, step, image id).

torchvision draws from the global generator, batch by batch, so what one image contributes depends
on its batch-mates, on the rank and on every draw before it. Here it depends on nothing else.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePosition:
    """Where in a run a batch stands: all that a draw may depend on."""

    seed: int
    step: int
    image_ids: tuple[int, ...]


class BalancedSampler(BalancedPositiveNegativeSampler):  # type: ignore[misc]  # torchvision is untyped
    """A fixed number of positives and negatives per image, the same ones at the same position."""

    def __init__(self, purpose: str, batch_size_per_image: int, positive_fraction: float) -> None:
        super().__init__(batch_size_per_image, positive_fraction)
        self.purpose = purpose
        self.position: SamplePosition | None = None
        self.num_drawn = 0
        """In the newest batch, over its images."""

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the positives (label >= 1) and negatives (label 0) drawn in each image."""
        assert self.position is not None, "a position is set before each forward"
        pairs = [
            self._draw(labels, self._generator(image_id))
            for labels, image_id in zip(matched_idxs, self.position.image_ids, strict=True)
        ]
        self.num_drawn = sum(int(p.sum()) + int(n.sum()) for p, n in pairs)
        return [positive for positive, _ in pairs], [negative for _, negative in pairs]

    def _draw(self, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        wanted = int(self.batch_size_per_image * self.positive_fraction)
        positive = _choose(labels >= 1, wanted, generator)
        num_left = self.batch_size_per_image - int(positive.sum())
        return positive, _choose(labels == 0, num_left, generator)

    def _generator(self, image_id: int) -> torch.Generator:
        assert self.position is not None
        key = f"{self.position.seed}/{self.purpose}/{self.position.step}/{image_id}"
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def _choose(allowed: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """A uint8 mask of at most ``limit`` of the allowed places, drawn without replacement."""
    places = torch.where(allowed)[0]
    order = torch.randperm(places.numel(), generator=generator)[:limit].to(places.device)
    mask = torch.zeros_like(allowed, dtype=torch.uint8)
    mask[places[order]] = 1
    return mask
