"""Batches of human-labelled and pseudo-labelled images, as pure functions of (seed, step).

Each kind counts its own positions, so that the human-labelled part of a run does not depend on the
pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import (
    Loading,
    TrainBatch,
    TrainBatches,
    TrainSamples,
    build_loader,
)
from rethink_ray.data.order import RunOrder
from rethink_ray.data.samples import TrainSample
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import seed_from

SplitImages = tuple[AnnotationIndex, Sequence[int]]
"""A split and the ids of its training images."""


class MixedBatches(TrainBatches):
    """Endless batches, human-labelled images first; each target has ``is_pseudo``."""

    def __init__(
        self,
        human: TrainSamples,
        pseudo: TrainSamples,
        loader: DataLoader[list[TrainSample]],
        parts: "Parts",
    ) -> None:
        super().__init__(human, loader)
        self.pseudo = pseudo
        self.parts = parts

    def __next__(self) -> TrainBatch:
        images, targets = super().__next__()
        for number, target in enumerate(targets):
            target["is_pseudo"] = torch.tensor(number >= self.parts.human_share)
        return images, targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The number of images of each kind in a global batch; ranks share each kind evenly."""

    human: int
    pseudo: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for kind, num in (("human", self.human), ("pseudo", self.pseudo)):
            if num < 1 or num % self.world_size:
                must = f"must be divisible by the number of workers ({self.world_size})"
                raise DataError(explain(f"{kind} labels of a batch", must, num))

    @property
    def human_share(self) -> int:
        """Human-labelled images in one rank's part of a batch."""
        return self.human // self.world_size

    @classmethod
    def of(cls, batch_size: int, share: float, rank: int, world_size: int) -> "Parts":
        """Builds the parts of a global batch of which ``share`` is pseudo-labelled."""
        pseudo = round(batch_size * share)
        return cls(human=batch_size - pseudo, pseudo=pseudo, rank=rank, world_size=world_size)

    def positions(self, step: int) -> list[tuple[bool, int]]:
        """Returns (is pseudo-labelled, position) of each of this rank's samples of a step."""
        samples: list[tuple[bool, int]] = []
        for is_pseudo, num in ((False, self.human), (True, self.pseudo)):
            share = num // self.world_size
            first = step * num + self.rank * share
            samples += [(is_pseudo, position) for position in range(first, first + share)]
        return samples


class MixedSamples(Dataset[TrainSample]):
    """Samples by (is pseudo-labelled, position) of two endless runs over images."""

    def __init__(self, human: TrainSamples, pseudo: TrainSamples) -> None:
        self._samples = {False: human, True: pseudo}

    def __getitem__(self, sample: tuple[bool, int]) -> TrainSample:
        is_pseudo, position = sample
        return self._samples[is_pseudo][position]


def mixed_batches(
    human: SplitImages,
    pseudo: SplitImages,
    augmentation: Augmentation,
    parts: Parts,
    seed: int,
    loading: Loading,
) -> MixedBatches:
    """Returns endless batches from ``loading.start_step`` on, in the form of ``train_batches``.

    Human-labelled sample i of step s has position ``s * parts.human + i`` among the human-labelled
    samples, for any number of workers. Pseudo-labelled samples are numbered in the same way, with
    an order and draws of their own.
    """
    pseudo_seed = seed_from("pseudo-labelled run", seed)
    labelled, pseudo_labelled = (
        TrainSamples(index, image_ids, augmentation, order, loading)
        for (index, image_ids), order in (
            (human, RunOrder(seed=seed, batch_size=parts.human)),
            (pseudo, RunOrder(seed=pseudo_seed, batch_size=parts.pseudo)),
        )
    )
    samples = MixedSamples(labelled, pseudo_labelled)
    loader = build_loader(samples, _Steps(loading.start_step, parts), loading)
    return MixedBatches(labelled, pseudo_labelled, loader, parts)


@dataclass(frozen=True, slots=True)
class _Steps:
    """One rank's samples of each step, endlessly."""

    start_step: int
    parts: Parts

    def __iter__(self) -> Iterator[list[tuple[bool, int]]]:
        step = self.start_step
        while True:
            yield self.parts.positions(step)
            step += 1
