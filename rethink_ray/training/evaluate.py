"""A detector over every image of a split, to the 12 COCO numbers.

Each image is looked at exactly once whatever the number of workers, and every worker gets the same
numbers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rethink_ray.data.index import ImageEntry, open_split
from rethink_ray.data.loader import eval_batches
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.scoring import Detection, GroundTruth, score
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.live import precision
from rethink_ray.training.place import Place
from rethink_ray.training.stopping import Stopped, never_stop


def score_split(
    detector: Detector,
    recipe: Recipe,
    data: DataSpec,
    split: str,
    place: Place,
    *,
    num_workers: int = 0,
    stop: Callable[[], bool] = never_stop,
) -> dict[str, float]:
    """The 12 COCO numbers of one split, named ``<split>/<metric>``, in AP points.

    Batches are as large as a worker's training batches: those are known to fit, and where sizes
    differ the padding belongs to the method.

    Raises:
        Stopped: ``stop`` turned true between two batches (a lone worker asks; a group does not).
    """
    index = open_split(data, split)
    images = eval_batches(
        index,
        [int(i) for i in index.image_ids],
        max(1, recipe.batch_size // place.world_size),
        num_workers=num_workers,
        rank=place.rank,
        world_size=place.world_size,
    )
    found: list[tuple[GroundTruth, Detection]] = []
    for batch, entries in images:
        if place.world_size == 1 and stop():
            raise Stopped(f"scoring {split} was stopped; it will be repeated")
        found += _look(detector, recipe, batch, entries, place.device)
    found = sorted(place.gather(found), key=lambda pair: pair[0].image_id)
    numbers = score([g for g, _ in found], [d for _, d in found], len(index.categories))
    return {f"{split}/{name}": value for name, value in numbers.items()}


def _look(
    detector: Detector,
    recipe: Recipe,
    images: Sequence[Tensor],
    entries: Sequence[ImageEntry],
    device: torch.device,
) -> list[tuple[GroundTruth, Detection]]:
    with precision(recipe, device):
        found = detector.detect([image.to(device) for image in images])
    return [
        (_truth(entry), _detection(entry.image_id, boxes))
        for entry, boxes in zip(entries, found, strict=True)
    ]


def _truth(entry: ImageEntry) -> GroundTruth:
    return GroundTruth(
        image_id=entry.image_id,
        boxes_xyxy=entry.boxes_xyxy,
        labels=entry.labels,
        is_crowd=entry.is_crowd,
        area=entry.area,
    )


def _detection(image_id: int, found: dict[str, Tensor]) -> Detection:
    return Detection(
        image_id=image_id,
        boxes_xyxy=found["boxes_xyxy"].float().cpu().numpy(),
        scores=found["scores"].float().cpu().numpy(),
        labels=found["labels"].cpu().numpy(),
    )
