"""The gradient of one large batch, computed in several micro-batches.

Losses are divided by counts of the whole batch (foreground anchors, drawn proposals), so these are
counted first. One-stage detectors count from boxes; two-stage detectors and self-training run a
pass without gradients. Then each micro-batch adds its share of the gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rethink_ray.detection.whole_batch import LossSums, add_sums


def split_into_micro_batches(
    targets: Sequence[Mapping[str, Tensor]], num_images: int
) -> list[list[int]]:
    """The positions of the images in each micro-batch: neighbours with the same kind of label.

    Args:
        targets: one for each image of this worker; ``is_pseudo`` tells the kind, if there are two.
        num_images: size of a micro-batch; it divides the number of images of each kind.
    """
    kinds: dict[bool, list[int]] = {}
    for number, target in enumerate(targets):
        kinds.setdefault(bool(target.get("is_pseudo", False)), []).append(number)
    return [
        numbers[first : first + num_images]
        for numbers in kinds.values()
        for first in range(0, len(numbers), num_images)
    ]


def add_micro_batches(parts: Iterator[LossSums]) -> LossSums:
    """The loss sums of the whole batch.

    Micro-batches of human and of pseudo labels have losses of different names.
    """
    by_names: dict[tuple[str, ...], list[LossSums]] = {}
    for part in parts:
        by_names.setdefault(tuple(part.sums), []).append(part)
    whole = [add_sums(alike) for alike in by_names.values()]
    return LossSums(
        sums={name: value for part in whole for name, value in part.sums.items()},
        denominators={n: value for part in whole for n, value in part.denominators.items()},
    )


@contextmanager
def dry_run(losses: nn.Module) -> Iterator[None]:
    """Inside, no gradient is recorded. Afterwards all buffers (batch statistics) are as before."""
    before = [buffer.clone() for buffer in losses.buffers()]
    try:
        with torch.no_grad():
            yield
    finally:
        for buffer, kept in zip(losses.buffers(), before, strict=True):
            buffer.copy_(kept)


def exchange_gradients_if_last(model: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Inside, workers exchange gradients only in the last micro-batch of an update."""
    if is_last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    unshared: AbstractContextManager[None] = model.no_sync()
    return unshared
