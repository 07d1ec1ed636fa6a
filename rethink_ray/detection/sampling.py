"""Draws the anchors and proposals that enter a loss, image by image.

A draw depends on the seed, the sampler's purpose, the step, the image id and the labels: not on
batch-mates, worker or device, as torchvision's draws from the global generator do. Each candidate
gets an integer key by hashing, and the candidates with the smallest keys are drawn. The host never
waits for a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from rethink_ray.spec.hashing import derive_words

KEY_BITS = 30
"""Of a candidate's key: an int32 above them stands for a candidate that may not be drawn."""
KEY_MASK = 2**KEY_BITS - 1
NEVER = 2**31 - 1
ROUNDS = ((15, 0x2C1B3C6D), (12, 0x297A2D39))
"""Shift and odd multiplier of each round of mixing."""
LAST_SHIFT = 15
CANDIDATES_AT_ONCE = 2**18
"""Images are drawn together up to so many candidates: a megabyte of keys, which a CPU caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePosition:
    """Where in a run a batch stands: all that a draw may depend on."""

    seed: int
    step: int
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCandidates:
    """Places of one label in each image, ``[N, D]``; those that were really drawn come first."""

    candidates: Tensor
    """int64; no candidate twice in an image."""
    is_drawn: Tensor
    """bool; an image without enough allowed candidates has fewer."""

    def mask(self, num_candidates: int) -> Tensor:
        """``[N, num_candidates]`` uint8: one where a candidate is drawn."""
        mask = self.is_drawn.new_zeros(len(self.candidates), num_candidates, dtype=torch.uint8)
        return mask.scatter_(1, self.candidates, self.is_drawn.to(torch.uint8))


class BalancedSampler(BalancedPositiveNegativeSampler):  # type: ignore[misc]  # torchvision is untyped
    """A fixed number of positives and negatives per image, the same ones at the same position."""

    def __init__(self, purpose: str, batch_size_per_image: int, positive_fraction: float) -> None:
        super().__init__(batch_size_per_image, positive_fraction)
        self.purpose = purpose
        self.position: SamplePosition | None = None
        self.num_drawn = torch.zeros((), dtype=torch.int64)
        """In the newest batch, over its images; 0-dim, on the labels' device."""

    def __call__(self, matched_idxs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the positives (label >= 1) and negatives (label 0) drawn in each image."""
        labels = pad_sequence(list(matched_idxs), batch_first=True, padding_value=-1)
        positives, negatives = self.draw(labels)
        sizes = [len(of_image) for of_image in matched_idxs]
        masks = (drawn.mask(labels.shape[1]) for drawn in (positives, negatives))
        positive, negative = (
            [mask[:size] for mask, size in zip(of_batch, sizes, strict=True)] for of_batch in masks
        )
        return positive, negative

    def draw(self, labels: Tensor) -> tuple[DrawnCandidates, DrawnCandidates]:
        """Positives (label >= 1) and negatives (label 0) of each image; others are never drawn.

        Negatives make up for missing positives.

        Args:
            labels: ``[N, A]`` of any type; where images have fewer candidates, -1 fills their rows.
        """
        assert self.position is not None, "a position is set before each forward"
        at_once = max(1, CANDIDATES_AT_ONCE // max(labels.shape[1], 1))
        keys = [self._words(image_id) for image_id in self.position.image_ids]
        assert len(keys) == len(labels), "a position names every image of the batch"
        parts = [
            self._draw(labels[start : start + at_once], keys[start : start + at_once])
            for start in range(0, len(keys), at_once)
        ]
        positives, negatives = (_joined(of_label) for of_label in zip(*parts, strict=True))
        self.num_drawn = positives.is_drawn.sum() + negatives.is_drawn.sum()
        return positives, negatives

    def _draw(
        self, labels: Tensor, words: Sequence[tuple[int, ...]]
    ) -> tuple[DrawnCandidates, DrawnCandidates]:
        keys = candidate_keys(words, labels.shape[1], labels.device)
        most = int(self.batch_size_per_image * self.positive_fraction)
        positives = _smallest(keys, labels >= 1, most, most)
        num_left = self.batch_size_per_image - positives.is_drawn.sum(dim=1, keepdim=True)
        negatives = _smallest(keys, labels == 0, self.batch_size_per_image, num_left)
        return positives, negatives

    def _words(self, image_id: int) -> tuple[int, ...]:
        """What this image's keys are mixed with, one word for each round."""
        assert self.position is not None
        name = f"{self.position.seed}/{self.purpose}/{self.position.step}/{image_id}"
        return tuple(word & KEY_MASK for word in derive_words(name, len(ROUNDS)))


def candidate_keys(
    words: Sequence[tuple[int, ...]], num_candidates: int, device: torch.device
) -> Tensor:
    """``[N, num_candidates]`` int32 in 0..``KEY_MASK``: a pseudo-random number for each candidate.

    Every step is one-to-one, so no two candidates of an image have the same key and the smallest
    keys are the same candidates everywhere. ``words``: of each image, one for each round; host
    numbers, which reach a GPU with the kernels that use them.
    """
    keys = torch.arange(num_candidates, dtype=torch.int32, device=device).repeat(len(words), 1)
    for number, (shift, multiplier) in enumerate(ROUNDS):
        for row, of_image in zip(keys, words, strict=True):
            row ^= of_image[number]
        keys ^= keys >> shift
        keys *= multiplier
        keys &= KEY_MASK
    keys ^= keys >> LAST_SHIFT
    return keys


def _smallest(
    keys: Tensor, allowed: Tensor, limit: int, num_drawn: int | Tensor
) -> DrawnCandidates:
    """In each image ``num_drawn`` allowed candidates, at most ``limit``; all if there are fewer."""
    masked = torch.where(allowed, keys, NEVER)
    smallest, indices = masked.topk(min(limit, keys.shape[1]), dim=1, largest=False)
    rank = torch.arange(indices.shape[1], device=keys.device)
    return DrawnCandidates(candidates=indices, is_drawn=(smallest <= KEY_MASK) & (rank < num_drawn))


def _joined(parts: Sequence[DrawnCandidates]) -> DrawnCandidates:
    return DrawnCandidates(
        candidates=torch.cat([part.candidates for part in parts]),
        is_drawn=torch.cat([part.is_drawn for part in parts]),
    )
