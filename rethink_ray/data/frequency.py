"""Which categories are rare, common or frequent: by how many training images show them.

Counted over the full regime whatever a trial's own regime, so that the bins mean the same in all
of them (LVIS, Gupta et al. 2019: rare up to 10 images, common up to 100).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import open_split
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.spec.metrics import FREQUENCIES
from rethink_ray.spec.regime import DataSpec

LVIS_BOUNDS = (10, 100)


def frequency_groups(data: DataSpec) -> Mapping[str, tuple[int, ...]]:
    """Bin -> its labels, from 1; empty where the data section asks for no bins."""
    if data.frequency is None:
        return {}
    counts = images_per_category(data)
    if data.frequency == "thirds":
        bins = _thirds(counts)
    else:
        bounds = LVIS_BOUNDS if data.frequency == "lvis" else data.frequency
        bins = np.searchsorted(bounds, counts, side="left")
    return {
        name: tuple(int(label) + 1 for label in np.flatnonzero(bins == number))
        for number, name in enumerate(FREQUENCIES)
    }


def images_per_category(data: DataSpec) -> NDArray[np.int64]:
    """[categories]: images that regimes are drawn from, with an object that is no crowd."""
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


def _thirds(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rarest third of the categories is 0, the next 1; equal counts go by label."""
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    return rank * len(FREQUENCIES) // len(counts)
