"""Samples the anchors and proposals that enter a loss, image by image.

A sample depends on the seed, the sampler's purpose, the step, the image id and the labels. It does
not depend on other images of the batch, on the worker or on the device, unlike torchvision's
samples from the global generator. Each candidate gets an integer key by hashing, and candidates
with the smallest keys are drawn. The host never waits for a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from rethink_ray.spec.hashing import derive_words

KEY_BITS = 30
"""Bits of a candidate's key; a larger int32 marks a candidate that must not be drawn."""
KEY_MASK = 2**KEY_BITS - 1
NEVER = 2**31 - 1
ROUNDS = ((15, 0x2C1B3C6D), (12, 0x297A2D39))
"""Shift and odd multiplier of each round of mixing."""
LAST_SHIFT = 15
CANDIDATES_AT_ONCE = 2**18
"""Most candidates that are keyed at once: a megabyte of keys, which fits a CPU's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePosition:
    """The position of a batch in a run; samples depend on it and on the labels alone."""

    seed: int
    step: int
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCandidates:
    """Indices of candidates in each image, ``[N, D]``; those that are drawn come first."""

    candidates: Tensor
    """int64; no candidate twice in an image."""
    is_drawn: Tensor
    """bool; false at the end of images with too few allowed candidates."""

    def mask(self, num_candidates: int) -> Tensor:
        """Returns ``[N, num_candidates]`` uint8: 1 for drawn candidates."""
        mask = self.is_drawn.new_zeros(len(self.candidates), num_candidates, dtype=torch.uint8)
        return mask.scatter_(1, self.candidates, self.is_drawn.to(torch.uint8))


class BalancedSampler(BalancedPositiveNegativeSampler):  # type: ignore[misc]  # torchvision is untyped
    """Draws a fixed number of positives and negatives per image, as a function of the position."""

    def __init__(self, purpose: str, batch_size_per_image: int, positive_fraction: float) -> None:
        super().__init__(batch_size_per_image, positive_fraction)
        self.purpose = purpose
        self.position: SamplePosition | None = None
        self.num_drawn = torch.zeros((), dtype=torch.int64)
        """Candidates drawn in the newest batch; 0-dim, on the labels' device."""

    def __call__(self, matched_idxs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns masks of the positives (label >= 1) and negatives (label 0) drawn per image."""
        labels = pad_sequence(list(matched_idxs), batch_first=True, padding_value=-1)
        positives, negatives = self.draw(labels)
        sizes = [len(of_image) for of_image in matched_idxs]
        masks = (drawn.mask(labels.shape[1]) for drawn in (positives, negatives))
        positive, negative = (
            [mask[:size] for mask, size in zip(of_batch, sizes, strict=True)] for of_batch in masks
        )
        return positive, negative

    def draw(self, labels: Tensor) -> tuple[DrawnCandidates, DrawnCandidates]:
        """Draws positives (label >= 1) and negatives (label 0) of each image.

        Negatives replace missing positives. Candidates with other labels are never drawn.

        Args:
            labels: ``[N, A]`` of any type; -1 pads the rows of images with fewer candidates.
        """
        assert self.position is not None, "a position is set before each forward"
        at_once = max(1, CANDIDATES_AT_ONCE // max(labels.shape[1], 1))
        keys = [self._words(image_id) for image_id in self.position.image_ids]
        assert len(keys) == len(labels), "a position names every image of the batch"
        parts = [
            self._draw(labels[start : start + at_once], keys[start : start + at_once])
            for start in range(0, len(keys), at_once)
        ]
        positives, negatives = (_concatenate(of_label) for of_label in zip(*parts, strict=True))
        self.num_drawn = positives.is_drawn.sum() + negatives.is_drawn.sum()
        return positives, negatives

    def _draw(
        self, labels: Tensor, words: Sequence[tuple[int, ...]]
    ) -> tuple[DrawnCandidates, DrawnCandidates]:
        keys = candidate_keys(words, labels.shape[1], labels.device)
        most = int(self.batch_size_per_image * self.positive_fraction)
        positives = _draw_smallest(keys, labels >= 1, most, most)
        num_left = self.batch_size_per_image - positives.is_drawn.sum(dim=1, keepdim=True)
        negatives = _draw_smallest(keys, labels == 0, self.batch_size_per_image, num_left)
        return positives, negatives

    def _words(self, image_id: int) -> tuple[int, ...]:
        """Returns the words that this image's keys are mixed with, one for each round."""
        assert self.position is not None
        name = f"{self.position.seed}/{self.purpose}/{self.position.step}/{image_id}"
        return tuple(word & KEY_MASK for word in derive_words(name, len(ROUNDS)))


def candidate_keys(
    words: Sequence[tuple[int, ...]], num_candidates: int, device: torch.device
) -> Tensor:
    """Returns pseudo-random keys ``[N, num_candidates]`` int32 in 0..``KEY_MASK``.

    Every step is one-to-one, so the candidates of an image have different keys, and the candidates
    with the smallest keys are the same on every device.

    Args:
        words: one per round for each image; host numbers, passed to a GPU as kernel arguments.
        num_candidates: in each image.
        device: of the keys.
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


def _draw_smallest(
    keys: Tensor, allowed: Tensor, limit: int, num_drawn: int | Tensor
) -> DrawnCandidates:
    """Draws ``num_drawn`` allowed candidates per image, at most ``limit``, or all if fewer."""
    masked = torch.where(allowed, keys, NEVER)
    smallest, indices = masked.topk(min(limit, keys.shape[1]), dim=1, largest=False)
    rank = torch.arange(indices.shape[1], device=keys.device)
    return DrawnCandidates(candidates=indices, is_drawn=(smallest <= KEY_MASK) & (rank < num_drawn))


def _concatenate(parts: Sequence[DrawnCandidates]) -> DrawnCandidates:
    return DrawnCandidates(
        candidates=torch.cat([part.candidates for part in parts]),
        is_drawn=torch.cat([part.is_drawn for part in parts]),
    )
