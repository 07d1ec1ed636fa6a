"""Groups categories into rare, common and frequent by how many training images show them.

Images of the largest regime are counted for trials of every regime, so that a bin means the same in
all of them (LVIS, Gupta et al. 2019: rare up to 10 images, common up to 100).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.metrics import FREQUENCIES
from rethink_ray.spec.regime import DataSpec

LVIS_BOUNDS = (10, 100)


def frequency_groups(data: DataSpec) -> Mapping[str, tuple[int, ...]]:
    """Returns bin -> its labels (from 1); empty if ``data.frequency`` is not set."""
    if data.frequency is None:
        return {}
    counts = count_images_per_category(data)
    if data.frequency == "thirds":
        bins = _split_into_thirds(counts)
    else:
        bounds = LVIS_BOUNDS if data.frequency == "lvis" else data.frequency
        bins = np.searchsorted(bounds, counts, side="left")
    return {
        name: tuple(int(label) + 1 for label in np.flatnonzero(bins == number))
        for number, name in enumerate(FREQUENCIES)
    }


def count_images_per_category(data: DataSpec) -> NDArray[np.int64]:
    """Counts, per category, the trainable images with an object of it that is no crowd."""
    index = open_split(data, "train")
    image_ids = index.image_column("image_id")
    rows = np.arange(len(image_ids))
    used = np.isin(image_ids, np.array(trainable_image_ids(data), np.int64))
    owner = np.repeat(rows, index.image_column("num_objects"))
    seen = used[owner] & (index.object_column("is_crowd") == 0)
    labels = index.object_column("label").astype(np.int64)
    pairs = np.unique(owner[seen] * (len(index.categories) + 1) + labels[seen])
    per_label = np.bincount(
        pairs % (len(index.categories) + 1), minlength=len(index.categories) + 1
    )
    return per_label[1:].astype(np.int64)


def _split_into_thirds(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers the thirds of the categories 0 to 2, rarest first; equal counts sort by label."""
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    return rank * len(FREQUENCIES) // len(counts)
