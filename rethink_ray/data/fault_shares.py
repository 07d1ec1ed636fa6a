"""Measures which share of its images, boxes or masks a split or a regime loses to faults."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.faults import count_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.mask_states import MaskState
from rethink_ray.data.splits import open_split
from rethink_ray.spec.fault_kinds import FaultShare, FaultUnit, describe_kind, is_note
from rethink_ray.spec.regime import HOLDOUTS, DataSpec


def measure_faults(
    index: AnnotationIndex, image_ids: Sequence[int], *, is_holdout: bool = False
) -> dict[str, FaultShare]:
    """Returns kind of fault -> the number that has it, and the number of all; no notes.

    Records that the index left out belong to no image, so they are counted among all records of
    the split. Masks and keypoints are counted among the objects that have some. Crowds are objects.

    Args:
        index: the split.
        image_ids: the images to count in.
        is_holdout: true to pass over records that the index left out: train counts them.
    """
    in_use = np.isin(index.image_column("image_id"), np.asarray(image_ids, np.int64))
    everywhere = np.ones_like(in_use)
    shares = {}
    for kind, count in count_faults(index, image_ids).items():
        if is_note(kind) or (is_holdout and kind in index.dropped):
            continue
        unit = describe_kind(kind).unit
        if kind in index.dropped:
            total = _count_all(index, everywhere, unit) + _count_left_out(index.dropped, unit)
        else:
            total = _count_all(index, in_use, unit)
        shares[kind] = FaultShare(count=count, total=max(count, total))
    return shares


def count_split_faults(data: DataSpec, split: str) -> dict[str, int]:
    """Returns kind of fault -> number of those that have it, in a split that scores; no notes."""
    index = open_split(data, split)
    shares = measure_faults(index, index.image_ids.tolist(), is_holdout=split in HOLDOUTS)
    return {kind: share.count for kind, share in shares.items()}


def _count_all(index: AnnotationIndex, in_use: NDArray[np.bool_], unit: FaultUnit) -> int:
    """Counts the images, boxes, masks, keypoints or records of these images that the index holds.

    Boxes of an unknown category are counted too: the index has only their number.
    """
    num_objects = index.image_column("num_objects")
    num_images = int(in_use.sum())
    if unit == "images":
        return num_images
    if unit in ("masks", "keypoints"):
        states_mask = index.object_column("mask_state") != MaskState.ABSENT
        is_stated = states_mask if unit == "masks" else index.visible_keypoints() > 0
        return int((is_stated & np.repeat(in_use, num_objects)).sum())
    counted = int(num_objects[in_use].sum() + index.image_column("num_unknown")[in_use].sum())
    return num_images + counted if unit == "records" else counted


def _count_left_out(dropped: Mapping[str, int], unit: FaultUnit) -> int:
    """Counts the units that the index does not hold; every image and box is a record, too."""
    kinds = [(describe_kind(kind), count) for kind, count in dropped.items()]
    units = (unit, *(("images", "boxes") if unit == "records" else ()))
    return sum(count for kind, count in kinds if kind.is_left_out and kind.unit in units)
