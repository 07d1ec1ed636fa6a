"""Batches of human and pseudo labels, as pure functions of (seed, step).

Each kind counts its own positions, so that the human part of a run does not depend on the pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from rethink_ray.data.decoded import NOTHING_KEPT, OF_THIS_PROCESS
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import Sample, TrainBatch, TrainBatches, TrainSamples, build_loader
from rethink_ray.data.order import RunOrder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import seed_from
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

Images = tuple[AnnotationIndex, Sequence[int]]
"""A split, and which of its images are learnt from."""


class MixedBatches(TrainBatches):
    """Endless batches, human labels first; each target says ``is_pseudo``."""

    def __init__(
        self,
        human: TrainSamples,
        pseudo: TrainSamples,
        loader: DataLoader[list[Sample]],
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
    """How a global batch is cut: so many images of each kind, each shared evenly by the ranks."""

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
        """Of one rank's part of a batch."""
        return self.human // self.world_size

    @classmethod
    def of(cls, batch_size: int, share: float, rank: int, world_size: int) -> "Parts":
        """``share`` of a global batch is pseudo-labelled."""
        pseudo = round(batch_size * share)
        return cls(human=batch_size - pseudo, pseudo=pseudo, rank=rank, world_size=world_size)

    def positions(self, step: int) -> list[tuple[bool, int]]:
        """This rank's samples of a step: whether it is pseudo-labelled, and its position there."""
        samples: list[tuple[bool, int]] = []
        for is_pseudo, num in ((False, self.human), (True, self.pseudo)):
            share = num // self.world_size
            first = step * num + self.rank * share
            samples += [(is_pseudo, position) for position in range(first, first + share)]
        return samples


class MixedSamples(Dataset[Sample]):
    """Sample (is pseudo-labelled, position) of two endless runs over images."""

    def __init__(self, human: TrainSamples, pseudo: TrainSamples) -> None:
        self._samples = {False: human, True: pseudo}

    def __getitem__(self, sample: tuple[bool, int]) -> Sample:
        is_pseudo, position = sample
        return self._samples[is_pseudo][position]


def mixed_batches(
    human: Images,
    pseudo: Images,
    augment: AugmentSpec,
    detector: DetectorSpec,
    parts: Parts,
    seed: int,
    *,
    start_step: int,
    num_workers: int = 0,
    pinned: bool = False,
) -> MixedBatches:
    """Endless batches from ``start_step`` on, as ``train_batches`` gives them.

    Human sample i of step s is position ``s * parts.human + i`` of the human run, whatever the
    number of workers; the pseudo-labelled ones likewise, with an order and luck of their own.
    """
    decoded = NOTHING_KEPT if num_workers else OF_THIS_PROCESS
    pseudo_seed = seed_from("pseudo-labelled run", seed)
    labelled, pseudo_labelled = (
        TrainSamples(index, image_ids, augment, detector, order, decoded)
        for (index, image_ids), order in (
            (human, RunOrder(seed=seed, batch_size=parts.human)),
            (pseudo, RunOrder(seed=pseudo_seed, batch_size=parts.pseudo)),
        )
    )
    samples = MixedSamples(labelled, pseudo_labelled)
    loader = build_loader(samples, _Steps(start_step, parts), num_workers, pinned=pinned)
    return MixedBatches(labelled, pseudo_labelled, loader, parts)


@dataclass(frozen=True, slots=True)
class _Steps:
    """One rank's samples of each step, for ever."""

    start_step: int
    parts: Parts

    def __iter__(self) -> Iterator[list[tuple[bool, int]]]:
        step = self.start_step
        while True:
            yield self.parts.positions(step)
            step += 1
