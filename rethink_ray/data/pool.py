"""The pool of images that a teacher labels, and the split of these images with its labels.

Pictures of the scoring splits are left out of a pool; they are recognised by content, not by name.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.build import INDEX_VERSION, IndexLabels, write_index
from rethink_ray.data.cache import build_once
from rethink_ray.data.contents import find_same_pictures
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.inspection import inspect_headers
from rethink_ray.data.regimes import holdout_image_ids, regime_image_ids
from rethink_ray.data.sources.raw import RawImage, RawObject, RawSplit
from rethink_ray.data.splits import open_split
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_chunks
from rethink_ray.spec.regime import DataSpec, Images

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPool:
    """Images for a teacher to label; none of them is in a scoring split."""

    index: AnnotationIndex
    image_ids: tuple[int, ...]
    """Ascending."""
    num_scored: int
    """Images left out because a scoring split has the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherLabels:
    """The labels that a teacher gave one image, best first. All fields have length N."""

    boxes_xyxy: NDArray[np.float32]
    """[N, 4], absolute pixels."""
    labels: NDArray[np.int64]
    """[N], from 1."""
    scores: NDArray[np.float32]
    segmentations: tuple[str, ...] = ()
    """COCO's ``segmentation`` of each object as JSON; empty unless the teacher detects masks."""


def open_pool(
    data: DataSpec, images: Images, pool: Literal["unlabelled", "rest"], draw: int = 0
) -> LabelPool:
    """Returns the images for a teacher to label that was trained on a regime.

    Args:
        data: the data set.
        images: number or share of images of the regime.
        pool: ``unlabelled``, or ``rest``: the training images outside the regime.
        draw: number of the regime's draw.

    Raises:
        DataError: the pool is empty.
    """
    if pool == "rest":
        index = open_split(data, "train")
        used = {*regime_image_ids(data, images, draw), *holdout_image_ids(data)}
        image_ids = [int(i) for i in index.image_ids if int(i) not in used]
    else:
        index = open_split(data, "unlabelled")
        image_ids = [int(i) for i in index.image_ids]
    scored = _find_scored(data, index, image_ids)
    kept = tuple(i for i in image_ids if i not in scored)
    if not kept:
        must = "must leave images for the teacher to label"
        remedy = "Set data.unlabelled, or choose a smaller regime if the pool is the rest."
        raise DataError(explain(f"labels.pool {pool}", must, "none", remedy))
    return LabelPool(index=index, image_ids=kept, num_scored=len(scored))


def open_labelled(
    pool: LabelPool, labels: Mapping[int, TeacherLabels], *, keep_empty: bool
) -> AnnotationIndex:
    """Returns the index of the pool's images with the teacher's labels.

    It is built once on each machine, since it holds paths; the teacher's labels hold none.

    Args:
        pool: the images.
        labels: image id -> labels.
        keep_empty: whether to keep images without any label.
    """
    kept = [i for i in pool.image_ids if keep_empty or len(labels[i].labels)]
    index = pool.index
    digest = sha256_of_chunks(_contents_of(kept, labels))
    pool_parts = (str(index.directory), index.fingerprint)
    key = digest_of_parts("pseudo labels", INDEX_VERSION, *pool_parts, digest)
    build = partial(_build, pool, kept, labels)
    return AnnotationIndex(build_once(cache_folder() / "index" / key[:24], build))


def _find_scored(data: DataSpec, index: AnnotationIndex, image_ids: list[int]) -> set[int]:
    """Returns the images whose pictures are in the selecting or the reporting split too."""
    pictures = index.pictures(image_ids)
    twin_ids: set[int] = set()
    for split in dict.fromkeys((data.select_split, data.report_split)):
        twins = find_same_pictures(pictures, open_split(data, split).pictures())
        twin_ids |= {image_ids[row] for row, _ in twins}
        if twins:
            _log.warning(
                "%d pictures of the pool are left out: they are in split %s too", len(twins), split
            )
    return twin_ids


def _contents_of(kept: list[int], labels: Mapping[int, TeacherLabels]) -> Iterator[bytes]:
    for image_id in kept:
        seen = labels[image_id]
        yield np.array([image_id, len(seen.labels)], np.int64).tobytes()
        for column in (seen.boxes_xyxy, seen.labels):
            yield np.ascontiguousarray(column).tobytes()
        yield "\n".join(seen.segmentations).encode()


def _build(
    pool: LabelPool, kept: list[int], labels: Mapping[int, TeacherLabels], directory: Path
) -> None:
    categories = pool.index.categories
    images = tuple(_build_raw_image(pool.index, i, labels[i], categories) for i in kept)
    raw = RawSplit(categories=categories, images=images, problems=())
    shared = IndexLabels(categories=categories, level_ranges=pool.index.level_ranges)
    write_index(raw, shared, directory, name="pseudo labels", inspect=inspect_headers)


def _build_raw_image(
    index: AnnotationIndex, image_id: int, labels: TeacherLabels, categories: tuple[str, ...]
) -> RawImage:
    entry = index.entry(image_id)
    boxes = labels.boxes_xyxy.astype(np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    masks = labels.segmentations or ("",) * len(boxes)
    objects = tuple(
        RawObject(
            category=categories[int(label) - 1],
            box_xyxy=(box[0], box[1], box[2], box[3]),
            is_crowd=False,
            area=float(area),
            segmentation=mask.encode(),
        )
        for box, label, area, mask in zip(
            boxes.tolist(), labels.labels, areas.tolist(), masks, strict=True
        )
    )
    return RawImage(
        image_id=image_id,
        file_name=Path(entry.path).name,
        path=Path(entry.path),
        width=entry.width,
        height=entry.height,
        objects=objects,
    )
