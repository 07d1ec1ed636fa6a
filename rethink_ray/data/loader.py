"""Batches as pure functions of (seed, step): a loader can start at any step, with any workers.

No generator, iterator or loader process holds state that a resumed run would have to restore.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rethink_ray.data.augment import (
    Augmentation,
    AugmentDraws,
    PasteSource,
    augment,
    augmented_hw,
    changes_no_pixel,
)
from rethink_ray.data.decoded import NO_CACHE, PROCESS_CACHE, DecodedImages
from rethink_ray.data.faults import select_trainable
from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.objects import Objects, keypoint_swap, pack
from rethink_ray.data.order import RunOrder, epoch_order
from rethink_ray.data.pasting import draw_partner
from rethink_ray.data.samples import PinnedSample, TargetTensors, TrainSample, scale_pixels
from rethink_ray.spec.errors import DataError, RethinkError, explain
from rethink_ray.spec.hashing import seed_from
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS

TrainBatch = tuple[list[Tensor], list[TargetTensors]]
EvalBatch = tuple[list[Tensor], list[ImageEntry]]


class PictureLost(RethinkError):
    """A picture of a scoring split cannot be read any more.

    It could be read when the index was built, so this is a fault of the machine.
    """


class LoaderDied(RethinkError):
    """A loader process was killed or ran out of memory: a fault of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Where a loader starts, and how it loads samples."""

    start_step: int = 0
    num_workers: int = 0
    """Loader processes; 0: this process loads."""
    pinned: bool = False
    """Batches are for a GPU: images and targets lie in pinned memory, from which it copies them
    while it computes. Images may be bytes (``samples.scale_pixels``), and masks are packed
    (``samples.unpack_masks``)."""
    num_peers: int = 1
    """Workers that share each batch and have to know the sizes of each other's images: each target
    then has ``peer_hw``. 1: they need not know them."""

    def decoded_images(self) -> DecodedImages:
        """Returns the cache of decoded images; loader processes keep none."""
        return NO_CACHE if self.num_workers else PROCESS_CACHE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShare:
    """The part of each batch that one worker of a run takes."""

    rank: int = 0
    world_size: int = 1


WHOLE_BATCH = WorkerShare()
IN_THIS_PROCESS = Loading()


class TrainBatches(Iterator[TrainBatch]):
    """Endless batches of ``source``; ``broken`` holds ids of images that broke after indexing."""

    def __init__(self, source: "TrainSamples", loader: DataLoader[list[TrainSample]]) -> None:
        self.source = source
        self._samples = iter(loader)
        self.broken: set[int] = set()

    def __next__(self) -> TrainBatch:
        samples: list[TrainSample | PinnedSample] = _next_of(self._samples)
        self.broken |= {sample.image_id for sample in samples if not sample.was_read}
        images, targets = zip(*(sample.finish() for sample in samples), strict=True)
        return list(images), list(targets)


class TrainSamples(Dataset[TrainSample]):
    """Training samples by position in an endless run over the images, epoch after epoch."""

    def __init__(
        self,
        index: AnnotationIndex,
        image_ids: Sequence[int],
        augmentation: Augmentation,
        order: RunOrder,
        loading: Loading,
    ) -> None:
        spec, detector = augmentation.spec, augmentation.detector
        self._index = index
        self.image_ids = sorted(image_ids)
        self.augment = spec
        self._augmentation = replace(
            augmentation, keypoint_swap=keypoint_swap(index.keypoint_names)
        )
        self._order = order
        self._seed = order.seed
        self._is_portrait = index.is_portrait(self.image_ids)
        self._epoch = -1
        self._rows = np.empty(0, np.int64)
        self._decoded = loading.decoded_images()
        self._num_peers = loading.num_peers
        self._family = detector.family
        self._sends_bytes = changes_no_pixel(augmentation)
        self._needs_masks = detector.family in WITH_MASKS or spec.copy_paste > 0
        if self._needs_masks and not index.has_masks:
            must = "must come with masks (COCO's `segmentation`) for this detector or Copy-Paste"
            remedy = "Choose a detector.family without masks and augment.copy_paste: 0."
            raise DataError(explain("the training annotations", must, "boxes alone", remedy))
        if detector.family in WITH_KEYPOINTS and not index.keypoint_names:
            must = "must have the same keypoints for every object that has some"
            remedy = "Choose another detector.family."
            raise DataError(explain("the training annotations", must, "no such keypoints", remedy))

    def __getitem__(self, position: int) -> TrainSample:
        epoch, image_id = self._locate(position)
        image, objects, was_read = self._load_annotated(image_id)
        image, objects = augment(
            image,
            objects,
            self._augmentation,
            AugmentDraws.draw(self._seed, epoch, image_id),
            self._paste_source(epoch, image_id),
        )
        objects, masks = pack(objects)
        return TrainSample(
            image=image.contiguous(),
            objects=objects,
            masks=masks if self._family in WITH_MASKS else None,
            image_id=image_id,
            was_read=was_read,
            peer_hw=self._sizes_beside(position),
        )

    def _locate(self, position: int) -> tuple[int, int]:
        """Returns the epoch of a position and the id of its image."""
        epoch, rank_in_epoch = divmod(position, len(self.image_ids))
        return epoch, self.image_ids[int(self._order_rows(epoch)[rank_in_epoch])]

    def _sizes_beside(self, position: int) -> tuple[tuple[int, int], ...]:
        """Returns the sizes of the images at this place of every worker's share of the batch.

        They follow from the index and the draws, so no image is read.
        """
        if self._num_peers == 1:
            return ()
        size = self._order.batch_size
        share = size // self._num_peers
        first = position // size * size + position % size % share
        return tuple(self._size_of(first + rank * share) for rank in range(self._num_peers))

    def _size_of(self, position: int) -> tuple[int, int]:
        epoch, image_id = self._locate(position)
        row = self._index.row_of(image_id)
        height, width = (int(self._index.image_column(side)[row]) for side in ("height", "width"))
        draws = AugmentDraws.draw(self._seed, epoch, image_id)
        return augmented_hw((height, width), self._augmentation, draws)

    def _load_annotated(self, image_id: int) -> tuple[Tensor, Objects, bool]:
        """Returns the image, the objects to train on, and whether its file could be read."""
        entry = self._index.entry(image_id)
        pixels, was_read = self._decoded.read(
            entry.path, entry.width, entry.height, self._index.level_ranges
        )
        masks = self._index.masks(image_id) if self._needs_masks else None
        has_keypoints = self._family in WITH_KEYPOINTS
        points = self._index.keypoints(image_id) if has_keypoints else None
        objects = select_trainable(entry, masks, points)
        if not was_read:
            objects = objects.where(np.zeros(len(objects), np.bool_))
        return pixels if self._sends_bytes else scale_pixels(pixels), objects, was_read

    def _paste_source(self, epoch: int, image_id: int) -> PasteSource | None:
        """Returns the training image whose objects Copy-Paste takes, with draws of its own."""
        chance = self.augment.copy_paste
        partner = draw_partner(self.image_ids, chance, self._seed, epoch, image_id)
        if partner is None:
            return None
        image, objects, was_read = self._load_annotated(partner)
        draws = AugmentDraws.draw(seed_from("pasted onto", self._seed, image_id), epoch, partner)
        return (image, objects, draws) if was_read else None

    def _order_rows(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._rows = epoch_order(self._order, epoch, self._is_portrait)
        return self._rows


class EvalImages(Dataset[Tensor]):
    """Images by id, [3, H, W] bytes, without augmentation.

    Raises:
        PictureLost: an image cannot be read any more. A gray one in its place would change the
            scored data set.
    """

    def __init__(self, index: AnnotationIndex, decoded: DecodedImages = NO_CACHE) -> None:
        self._index = index
        self._decoded = decoded

    def __getitem__(self, image_id: int) -> Tensor:
        entry = self._index.entry(image_id)
        pixels, was_read = self._decoded.read(
            entry.path, entry.width, entry.height, self._index.level_ranges
        )
        if not was_read:
            must = f"must be the picture of {entry.width}x{entry.height} it was when indexed"
            remedy = "Put the file back and run again; finished work is kept."
            raise PictureLost(explain(entry.path, must, "another or unreadable file", remedy))
        return pixels


def train_batches(
    index: AnnotationIndex,
    image_ids: Sequence[int],
    augmentation: Augmentation,
    order: RunOrder,
    loading: Loading,
    share: WorkerShare = WHOLE_BATCH,
) -> TrainBatches:
    """Returns endless batches (images, targets) from ``loading.start_step`` on.

    Sample i of step s has position ``s * batch_size + i``. Its epoch is position // num_images; it
    is image number position % num_images in the epoch's order (``order.epoch_order``). Images
    without a box are kept.

    A target holds ``boxes`` [N, 4] float32 xyxy, ``labels`` [N] int64 from 1, ``image_id`` int64,
    ``area`` [N] float32, ``iscrowd`` [N] int64 (all zero), and for families that learn them
    ``masks`` [N, H, W] uint8 and ``keypoints`` [N, K, 3] float32 (x, y, visibility). ``has_mask``
    [N] bool is there if an object has no mask that can be read: ``masks`` has its box. ``peer_hw``
    [workers, 2] int64 is there if workers have to know it: height and width of the images at the
    same place of every worker's share.

    Args:
        index: the split.
        image_ids: the training images; their order does not matter.
        augmentation: the settings; the keypoint swap is taken from the index.
        order: seed and global batch size of the run.
        loading: the first step, and how samples are loaded.
        share: the worker whose contiguous slice of each batch is returned.

    Raises:
        DataError: there are no images, the workers cannot share a batch evenly, or annotations
            lack the masks or keypoints to learn from.
    """
    if not image_ids:
        raise DataError(explain("train_batches", "must get at least one image", "none"))
    if order.batch_size % share.world_size:
        must = f"must be divisible by the number of workers ({share.world_size})"
        raise DataError(explain("batch_size", must, order.batch_size, "Change one of the two."))
    samples = TrainSamples(index, image_ids, augmentation, order, loading)
    positions = _Positions(loading.start_step, order.batch_size, share)
    return TrainBatches(samples, build_loader(samples, positions, loading))


def eval_batches(
    index: AnnotationIndex,
    image_ids: Sequence[int],
    batch_size: int,
    loading: Loading = IN_THIS_PROCESS,
    share: WorkerShare = WHOLE_BATCH,
) -> Iterator[EvalBatch]:
    """Yields (images, entries); all ranks together get every image once, without augmentation.

    ``batch_size`` is global and divided among the ranks, so that all ranks take the same number of
    steps. A rank's share of the last batch may be empty; the last batch is not filled up. Images
    without objects are kept. They are [3, H, W] float32 in 0..1, or bytes in pinned memory
    (``loading.pinned``).
    """
    num = -(-batch_size // share.world_size)
    ids = list(image_ids)
    batches = [
        ids[first : first + batch_size][share.rank * num : (share.rank + 1) * num]
        for first in range(0, len(ids), batch_size)
    ]
    samples = iter(build_loader(EvalImages(index, loading.decoded_images()), batches, loading))
    for batch in batches:
        images: list[Tensor] = _next_of(samples)
        if not loading.pinned:
            images = [scale_pixels(image) for image in images]
        yield images, [index.entry(image_id) for image_id in batch]


@dataclass(frozen=True, slots=True)
class _Positions:
    """One worker's positions in the batch of each step, endlessly."""

    start_step: int
    batch_size: int
    share: WorkerShare

    def __iter__(self) -> Iterator[range]:
        num = self.batch_size // self.share.world_size
        step = self.start_step
        while True:
            first = step * self.batch_size + self.share.rank * num
            yield range(first, first + num)
            step += 1


def build_loader(dataset: Dataset[Any], batches: Any, loading: Loading) -> DataLoader[Any]:
    """Returns a loader of lists that leaves torch's global generator alone.

    Args:
        dataset: the samples.
        batches: yields the sample keys of each batch.
        loading: how samples are loaded; its ``start_step`` is not read.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=loading.num_workers,
        collate_fn=list,
        generator=torch.Generator(),
        pin_memory=loading.pinned,
    )


def _next_of(samples: Iterator[Any]) -> Any:
    """Returns the next batch.

    Raises:
        LoaderDied: a loader process has ended; torch notices within five seconds.
    """
    try:
        return next(samples)
    except RuntimeError as error:
        raise explain_death(error) or error from None


def explain_death(error: RuntimeError) -> LoaderDied | None:
    """Turns torch's error for a dead loader process into ours; ``None`` for other errors.

    Torch may raise it anywhere in the main thread.
    """
    if not str(error).startswith("DataLoader worker"):
        return None
    must = "must live to the end of the run"
    remedy = (
        "The run continues from its checkpoint. If it happens again: lower "
        "resources.loader_workers, or give the machine more memory (/dev/shm too)."
    )
    reason = str(error).splitlines()[0].strip()
    return LoaderDied(explain("a loader worker", must, reason, remedy))
