"""How a batch is divided among workers, kinds of labels and micro-batches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import Norm, Recipe
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.spec.trial_config import uses_upstream_detector


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images of one kind of label in one update, and the keys that set their number and norm."""

    key: str
    norm_key: str
    num_images: int
    norm: Norm
    norm_batch: int | None
    padding_group: int

    def share(self, num_workers: int) -> int:
        """Images of one worker."""
        return self.num_images // num_workers

    def at_once(self, resources: ResourceSpec) -> int:
        """Images of one worker that pass the network together."""
        share = self.share(max(resources.workers, 1))
        return min(share, resources.images_per_step or share)

    @property
    def group(self) -> int:
        """Images that a micro-batch must not tear apart: those that are padded together."""
        return self.padding_group if self.norm in ("gn", "frozen_bn") else 1


def batches_of(recipe: Recipe) -> Iterator[Batch]:
    """What a batch of the recipe consists of: human and pseudo labels pass the network apart."""
    sizes, detector = images_by_kind(recipe), recipe.detector
    keys = ["batch_size"]
    if len(sizes) == 2:
        keys = ["the human share of batch_size", "the pseudo share of batch_size"]
    if len(sizes) == 2 and sizes[0] == sizes[1]:
        keys, sizes = ["batch_size / 2"], sizes[:1]
    for key, num_images in zip(keys, sizes, strict=True):
        yield Batch(
            key=key,
            norm_key="detector.norm_batch",
            num_images=num_images,
            norm=detector.norm,
            norm_batch=detector.norm_batch,
            padding_group=1 if is_own(detector.family) else detector.padding_group,
        )


def direct_batches_of(recipe: Recipe) -> Iterator[Batch]:
    """The batch of the first stage of direct pre-training; none where there is no such stage."""
    if recipe.init.source == "direct":
        yield Batch(
            key="direct.batch_size",
            norm_key="direct.norm_batch",
            num_images=recipe.direct.batch_size,
            norm=recipe.direct.norm,
            norm_batch=recipe.direct.norm_batch,
            padding_group=recipe.detector.padding_group,
        )


def upstream_detector_batches_of(recipe: Recipe) -> Iterator[Batch]:
    """The batch of the upstream detector; none where a run starts from no such detector."""
    if uses_upstream_detector(recipe):
        yield Batch(
            key="upstream_detector.batch_size",
            norm_key="detector.norm_batch",
            num_images=recipe.upstream_detector.batch_size,
            norm="bn" if recipe.detector.norm == "frozen_bn" else recipe.detector.norm,
            norm_batch=None,
            padding_group=recipe.detector.padding_group,
        )


def images_by_kind(recipe: Recipe) -> tuple[int, ...]:
    """Images of a batch with human labels and with pseudo labels, or all of them."""
    if not recipe.labels.has_pseudo:
        return (recipe.batch_size,)
    num_pseudo = round(recipe.batch_size * recipe.labels.share)
    return recipe.batch_size - num_pseudo, num_pseudo


def count_passes(recipe: Recipe, updates: int, num_images: int) -> float:
    """How often a run has seen each labelled image of its regime after so many updates.

    Of a student's batch only images with human labels count. Zero where there are no images.
    """
    return updates * images_by_kind(recipe)[0] / num_images if num_images else 0.0


def batch_in_words(recipe: Recipe, resources: ResourceSpec) -> str:
    """How an update's images pass the network: ``batch 16 in 8 passes of 2 images``."""
    num = max(resources.workers, 1)
    shares = [images // num for images in images_by_kind(recipe)]
    at_once = min(max(shares), resources.images_per_step or max(shares))
    num_passes = sum(math.ceil(share / at_once) for share in shares)
    at_most = "at most " if any(share % at_once for share in shares) else ""
    passes = f"{num_passes} passes of {at_most}{at_once} images" if num_passes > 1 else "one pass"
    by_workers = f" on each of {num} workers" if num > 1 else ""
    return f"batch {recipe.batch_size} in {passes}{by_workers}"
