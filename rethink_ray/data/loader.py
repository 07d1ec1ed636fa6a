"""Batches as pure functions of (seed, step): any step can be asked for, by any number of workers.

No generator, no iterator and no worker holds state that a resumed run would have to restore.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rethink_ray.data.augment import AugmentDraws, Other, augment
from rethink_ray.data.decoded import NOTHING_KEPT, OF_THIS_PROCESS, DecodedImages
from rethink_ray.data.faults import trainable
from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.objects import Objects, PackedMasks, keypoint_swap, pack
from rethink_ray.data.order import RunOrder, epoch_order
from rethink_ray.data.pasting import partner_of
from rethink_ray.spec.errors import DataError, RethinkError, explain
from rethink_ray.spec.hashing import seed_from
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, AugmentSpec, DetectorSpec

Target = dict[str, Tensor]
TrainBatch = tuple[list[Tensor], list[Target]]
EvalBatch = tuple[list[Tensor], list[ImageEntry]]


class PictureLost(RethinkError):
    """A picture that is to be scored cannot be read any more. The machine's fault, not the data's:
    it could be read when the index was built."""


class LoaderDied(RethinkError):
    """A loader worker ended before its time: killed, or out of memory. The machine's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training image as it crosses from a worker: the image is the only tensor in it, since
    each tensor costs a file descriptor there; masks cross as one bit a pixel."""

    image: Tensor
    """[3, H, W] float32, 0..1."""
    objects: Objects
    """Without its masks."""
    masks: PackedMasks | None
    image_id: int
    was_read: bool

    def pin_memory(self) -> "Sample":
        """The same, where a GPU can fetch it by itself; torch's loader calls this by its name."""
        return replace(self, image=self.image.pin_memory())


class TrainBatches(Iterator[TrainBatch]):
    """Endless batches of ``source``. ``broken``: images whose files broke after indexing."""

    def __init__(self, source: "TrainSamples", loader: DataLoader[list[Sample]]) -> None:
        self.source = source
        self._samples = iter(loader)
        self.broken: set[int] = set()

    def __next__(self) -> TrainBatch:
        samples: list[Sample] = _next_of(self._samples)
        self.broken |= {sample.image_id for sample in samples if not sample.was_read}
        return [sample.image for sample in samples], [_target(sample) for sample in samples]


class TrainSamples(Dataset[Sample]):
    """Sample ``position`` of an endless run over the images, one epoch's order after another."""

    def __init__(
        self,
        index: AnnotationIndex,
        image_ids: Sequence[int],
        spec: AugmentSpec,
        detector: DetectorSpec,
        order: RunOrder,
        decoded: DecodedImages = NOTHING_KEPT,
    ) -> None:
        self._index = index
        self.image_ids = sorted(image_ids)
        self.augment = spec
        self._detector = detector
        self._order = order
        self._seed = order.seed
        self._is_portrait = index.is_portrait(self.image_ids)
        self._epoch = -1
        self._rows = np.empty(0, np.int64)
        self._decoded = decoded
        self._swap = keypoint_swap(index.keypoint_names)
        self._needs_masks = detector.family in WITH_MASKS or spec.copy_paste > 0
        if self._needs_masks and not index.has_masks:
            must = "must come with masks (COCO's `segmentation`) for this detector or Copy-Paste"
            remedy = "Take a detector.family without masks and augment.copy_paste: 0."
            raise DataError(explain("the training annotations", must, "boxes alone", remedy))
        if detector.family in WITH_KEYPOINTS and not index.keypoint_names:
            must = "must come with the same keypoints for every object that has some"
            remedy = "Take another detector.family."
            raise DataError(explain("the training annotations", must, "none such", remedy))

    def __getitem__(self, position: int) -> Sample:
        epoch, rank_in_epoch = divmod(position, len(self.image_ids))
        image_id = self.image_ids[int(self._rows_of(epoch)[rank_in_epoch])]
        image, objects, was_read = self._annotated(image_id)
        image, objects = augment(
            image,
            objects,
            self.augment,
            self._detector,
            AugmentDraws.draw(self._seed, epoch, image_id),
            self._swap,
            self._other(epoch, image_id),
        )
        objects, masks = pack(objects)
        return Sample(
            image=image.contiguous(),
            objects=objects,
            masks=masks if self._detector.family in WITH_MASKS else None,
            image_id=image_id,
            was_read=was_read,
        )

    def _annotated(self, image_id: int) -> tuple[Tensor, Objects, bool]:
        """The image, what there is to learn on it, and whether its file could be read."""
        entry = self._index.entry(image_id)
        pixels, was_read = self._decoded.read(entry.path, entry.width, entry.height)
        masks = self._index.masks(image_id) if self._needs_masks else None
        family = self._detector.family
        points = self._index.keypoints(image_id) if family in WITH_KEYPOINTS else None
        objects = trainable(entry, masks, points)
        if not was_read:
            objects = objects.where(np.zeros(len(objects), np.bool_))
        return pixels.float() / 255.0, objects, was_read

    def _other(self, epoch: int, image_id: int) -> Other | None:
        """The image whose objects Copy-Paste takes: of the same images, with draws of its own."""
        chance = self.augment.copy_paste
        partner = partner_of(self.image_ids, chance, self._seed, epoch, image_id)
        if partner is None:
            return None
        image, objects, was_read = self._annotated(partner)
        draws = AugmentDraws.draw(seed_from("pasted onto", self._seed, image_id), epoch, partner)
        return (image, objects, draws) if was_read else None

    def _rows_of(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._rows = epoch_order(self._order, epoch, self._is_portrait)
        return self._rows


class EvalImages(Dataset[Tensor]):
    """The image of one id, [3, H, W] float32 in 0..1, untouched.

    Raises:
        PictureLost: it cannot be read any more; a gray one would score another data set.
    """

    def __init__(self, index: AnnotationIndex, decoded: DecodedImages = NOTHING_KEPT) -> None:
        self._index = index
        self._decoded = decoded

    def __getitem__(self, image_id: int) -> Tensor:
        entry = self._index.entry(image_id)
        pixels, was_read = self._decoded.read(entry.path, entry.width, entry.height)
        if not was_read:
            must = f"must be the picture of {entry.width}x{entry.height} it was when indexed"
            remedy = "Put the file back and run again; nothing finished is lost."
            raise PictureLost(explain(entry.path, must, "one that is not", remedy))
        return pixels.float() / 255.0


def train_batches(
    index: AnnotationIndex,
    image_ids: Sequence[int],
    augment: AugmentSpec,
    detector: DetectorSpec,
    batch_size: int,
    seed: int,
    *,
    start_step: int,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pinned: bool = False,
) -> TrainBatches:
    """Endless batches from ``start_step`` on: (images, targets), lists of this rank's share.

    Sample i of step s is position ``s * batch_size + i``: epoch = position // num_images, place in
    the epoch's order (``order.epoch_order``) = position % num_images. ``batch_size`` is global; a
    rank takes its contiguous slice. Targets: ``boxes`` [N, 4] float32 xyxy, ``labels`` [N] int64
    from 1, ``image_id`` int64, ``area`` [N] float32, ``iscrowd`` [N] int64, all zero; for families
    that learn them ``masks`` [N, H, W] uint8 and ``keypoints`` [N, K, 3] float32 (x, y,
    visibility).
    Images without a box are kept. ``pinned`` images can be copied to a GPU while it works.
    """
    if not image_ids:
        raise DataError(explain("train_batches", "must get at least one image", "none"))
    if batch_size % world_size:
        must = f"must be divisible by the number of workers ({world_size})"
        raise DataError(explain("batch_size", must, batch_size, "Change one of the two."))
    decoded = NOTHING_KEPT if num_workers else OF_THIS_PROCESS
    order = RunOrder(seed=seed, batch_size=batch_size)
    samples = TrainSamples(index, image_ids, augment, detector, order, decoded)
    positions = _Positions(start_step, batch_size, rank, world_size)
    return TrainBatches(samples, build_loader(samples, positions, num_workers, pinned=pinned))


def eval_batches(
    index: AnnotationIndex,
    image_ids: Sequence[int],
    batch_size: int,
    *,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[EvalBatch]:
    """Every image exactly once, over all ranks together: (images, entries), nothing augmented.

    ``batch_size`` is global and cut among the ranks as in training, so that all of them take the
    same number of steps; a rank's share of the last batches may be empty. Images without objects
    are kept, no batch is filled up.
    """
    share = -(-batch_size // world_size)
    ids = list(image_ids)
    batches = [
        ids[first : first + batch_size][rank * share : (rank + 1) * share]
        for first in range(0, len(ids), batch_size)
    ]
    decoded = NOTHING_KEPT if num_workers else OF_THIS_PROCESS
    images = iter(build_loader(EvalImages(index, decoded), batches, num_workers))
    for batch in batches:
        yield _next_of(images), [index.entry(image_id) for image_id in batch]


@dataclass(frozen=True, slots=True)
class _Positions:
    """The positions of each step's batch that fall to one rank, for ever."""

    start_step: int
    batch_size: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[range]:
        share = self.batch_size // self.world_size
        step = self.start_step
        while True:
            first = step * self.batch_size + self.rank * share
            yield range(first, first + share)
            step += 1


def build_loader(
    dataset: Dataset[Any], batches: Any, num_workers: int, *, pinned: bool = False
) -> DataLoader[Any]:
    """A loader that leaves torch's global generator alone and returns lists."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
        pin_memory=pinned,
    )


def _next_of(samples: Iterator[Any]) -> Any:
    """The next batch.

    Raises:
        LoaderDied: a worker of the loader is gone; torch notices within five seconds.
    """
    try:
        return next(samples)
    except RuntimeError as error:
        raise explain_death(error) or error from None


def explain_death(error: RuntimeError) -> LoaderDied | None:
    """What torch says of a dead loader worker (it may say so anywhere in the main thread)."""
    if not str(error).startswith("DataLoader worker"):
        return None
    must = "must stay alive to the end of the run"
    remedy = (
        "The run goes on from its checkpoint. If it happens again: lower resources.loader_workers, "
        "or give the machine more memory (/dev/shm too)."
    )
    reason = str(error).splitlines()[0].strip()
    return LoaderDied(explain("a loader worker", must, reason, remedy))


def _target(sample: Sample) -> Target:
    objects = sample.objects
    target = {
        "boxes": torch.from_numpy(objects.boxes_xyxy),
        "labels": torch.from_numpy(objects.labels),
        "image_id": torch.tensor(sample.image_id, dtype=torch.int64),
        "area": torch.from_numpy(objects.area),
        "iscrowd": torch.zeros(len(objects), dtype=torch.int64),
    }
    if sample.masks is not None:
        target["masks"] = torch.from_numpy(sample.masks.unpack())
    if objects.keypoints is not None:
        target["keypoints"] = torch.from_numpy(objects.keypoints)
    return target
