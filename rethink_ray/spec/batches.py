"""Checks how a batch is divided among workers and into micro-batches.

A split that leaves a remainder is refused before training starts, and so is a ``norm_batch`` other
than the number of images that are normalised together. Only a micro-batch must not cut a padding
group: without micro-batches the last group of a batch may be smaller.
"""

import math
from dataclasses import dataclass

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import Norm, Recipe
from rethink_ray.spec.study import ResourceSpec

BATCH_PATHS = (
    *("batch_size", "detector.norm", "detector.norm_batch", "detector.padding_group"),
    *("labels.kind", "labels.share"),
)
"""What ``check_batch`` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images of one kind of label that enter an update together, and the keys that ask for them."""

    key: str
    norm_key: str
    num_images: int
    norm: Norm
    norm_batch: int | None
    padding_group: int


def check_batch(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    """The batch divides among workers, kinds of label and micro-batches, as ``norm_batch`` says.

    Raises:
        SpecError: with the remedy.
    """
    num = max(resources.workers, 1)
    if recipe.batch_size % num:
        must = f"must divide among {num} workers"
        raise SpecError(explain(f"{where}: batch_size", must, recipe.batch_size))
    for key, num_images in _kinds_of(recipe, where, num).items():
        kind = Batch(
            key=key,
            norm_key="detector.norm_batch",
            num_images=num_images,
            norm=recipe.detector.norm,
            norm_batch=recipe.detector.norm_batch,
            padding_group=recipe.detector.padding_group,
        )
        check_split(kind, where, resources)


def batch_in_words(recipe: Recipe, resources: ResourceSpec) -> str:
    """How an update's images pass the network: ``batch 16 in 8 passes of 2 images``."""
    num = max(resources.workers, 1)
    shares = [_share(images, resources) for images in _images_by_kind(recipe)]
    at_once = min(max(shares), resources.images_per_step or max(shares))
    num_passes = sum(math.ceil(share / at_once) for share in shares)
    at_most = "at most " if any(share % at_once for share in shares) else ""
    passes = f"{num_passes} passes of {at_most}{at_once} images" if num_passes > 1 else "one pass"
    by_workers = f" on each of {num} workers" if num > 1 else ""
    return f"batch {recipe.batch_size} in {passes}{by_workers}"


def _share(num_images: int, resources: ResourceSpec) -> int:
    return num_images // max(resources.workers, 1)


def _images_by_kind(recipe: Recipe) -> tuple[int, ...]:
    """Images of a batch with human labels and with pseudo labels, or all of them."""
    if recipe.labels.kind != "self_training":
        return (recipe.batch_size,)
    num_pseudo = round(recipe.batch_size * recipe.labels.share)
    return recipe.batch_size - num_pseudo, num_pseudo


def check_split(batch: Batch, where: str, resources: ResourceSpec) -> None:
    """The batch divides among workers and into micro-batches that cut no group.

    Raises:
        SpecError: with the remedy.
    """
    num = max(resources.workers, 1)
    if batch.num_images % num:
        must = f"must divide among {num} workers"
        raise SpecError(explain(f"{where}: {batch.key}", must, batch.num_images))
    share = batch.num_images // num
    at_once = share
    if resources.images_per_step is not None and resources.images_per_step < share:
        at_once = resources.images_per_step
        _check_micro_batches(batch, where, share, at_once)
    _check_normalised(batch, where, num, at_once)


def _check_micro_batches(batch: Batch, where: str, share: int, at_once: int) -> None:
    key = f"{where}: resources.images_per_step"
    if share % at_once:
        must = f"must divide the {share} images of a worker ({batch.key} / workers)"
        raise SpecError(explain(key, must, at_once, _divisors(share, batch)))
    if batch.norm in ("gn", "frozen_bn") and at_once % batch.padding_group:
        must = f"must be a multiple of detector.padding_group = {batch.padding_group}"
        raise SpecError(explain(key, must, at_once, _divisors(share, batch)))


def _divisors(share: int, batch: Batch) -> str:
    group = batch.padding_group if batch.norm in ("gn", "frozen_bn") else 1
    fitting = [str(n) for n in range(group, share + 1, group) if share % n == 0]
    return f"Take one of {', '.join(fitting)}." if fitting else "Leave it out."


def _check_normalised(batch: Batch, where: str, num_workers: int, at_once: int) -> None:
    """Batch normalisation sees the number of images that ``norm_batch`` asks for."""
    together = {"bn": at_once, "sync_bn": at_once * num_workers}.get(batch.norm)
    if together is None or batch.norm_batch in (None, together):
        return
    words = batch.key if batch.norm == "sync_bn" else f"{batch.key} / workers"
    if at_once * num_workers < batch.num_images:
        words = "resources.images_per_step"
        words += " x workers" if batch.norm == "sync_bn" else ""
    must = f"must equal {words} = {together} under {batch.norm}"
    raise SpecError(explain(f"{where}: {batch.norm_key}", must, batch.norm_batch))


def _kinds_of(recipe: Recipe, where: str, num_workers: int) -> dict[str, int]:
    """Images that pass the network together: human and pseudo labels go one by one."""
    batch, labels = recipe.batch_size, recipe.labels
    if labels.kind != "self_training":
        return {"batch_size": batch}
    parts = _images_by_kind(recipe)
    whole = abs(batch * labels.share - parts[1]) < 1e-6
    if not whole or min(parts) < 1 or any(part % num_workers for part in parts):
        must = f"must cut batch_size {batch} into whole parts that {num_workers} workers divide"
        remedy = "Half of an even batch always does with one worker."
        raise SpecError(explain(f"{where}: labels.share", must, labels.share, remedy))
    if parts[0] == parts[1]:
        return {"batch_size / 2": parts[0]}
    if recipe.detector.norm_batch is not None:
        must = "must be 0.5 where detector.norm_batch is set: each kind is normalised by itself"
        raise SpecError(explain(f"{where}: labels.share", must, labels.share))
    return {"the human share of batch_size": parts[0], "the pseudo share of batch_size": parts[1]}
