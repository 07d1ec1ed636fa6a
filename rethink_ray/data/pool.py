"""The pool that a teacher labels, and the same images as a split once it has labelled them.

Pictures of the scoring splits are left out of a pool, whatever their names: by content.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.build import INDEX_VERSION, write_index
from rethink_ray.data.cache import build_once
from rethink_ray.data.contents import read_contents, same_pictures
from rethink_ray.data.index import AnnotationIndex, open_split
from rethink_ray.data.regimes import holdout_image_ids, regime_image_ids
from rethink_ray.data.sources.raw import RawImage, RawObject, RawSplit
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_chunks
from rethink_ray.spec.regime import DataSpec, Images

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Images to be labelled, none of which is scored on."""

    index: AnnotationIndex
    image_ids: tuple[int, ...]
    """Rising."""
    num_scored: int
    """Left out, because a scoring split holds the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a teacher found on one image, best first. Length N throughout."""

    boxes_xyxy: NDArray[np.float32]
    """[N, 4], absolute pixels."""
    labels: NDArray[np.int64]
    """[N], from 1."""
    scores: NDArray[np.float32]
    segmentations: tuple[str, ...] = ()
    """COCO's ``segmentation`` of each as JSON, from a teacher that finds masks."""


def open_pool(
    data: DataSpec, images: Images, pool: Literal["unlabelled", "rest"], draw: int = 0
) -> Pool:
    """The images that a teacher trained on a regime of ``images`` labels.

    Args:
        data: the data set.
        images: of the regime.
        pool: which images; ``rest`` is what the regime leaves of the training images.
        draw: of the regime's images.

    Raises:
        DataError: there are none.
    """
    if pool == "rest":
        index = open_split(data, "train")
        used = {*regime_image_ids(data, images, draw), *holdout_image_ids(data)}
        image_ids = [int(i) for i in index.image_ids if int(i) not in used]
    else:
        index = open_split(data, "unlabelled")
        image_ids = [int(i) for i in index.image_ids]
    scored = _in_scoring_splits(data, index, image_ids)
    kept = tuple(i for i in image_ids if i not in scored)
    if not kept:
        must = "must leave images for the teacher to label"
        remedy = "Give data.unlabelled, or a smaller regime where the rest is the pool."
        raise DataError(explain(f"labels.pool {pool}", must, "none", remedy))
    return Pool(index=index, image_ids=kept, num_scored=len(scored))


def open_labelled(pool: Pool, labels: Mapping[int, Found], *, keep_empty: bool) -> AnnotationIndex:
    """The pool's images as a split whose labels are what the teacher found.

    Built once on each machine, since it holds paths; what the teacher found holds none.
    """
    kept = [i for i in pool.image_ids if keep_empty or len(labels[i].labels)]
    index = pool.index
    digest = sha256_of_chunks(_contents_of(kept, labels))
    key = digest_of_parts("pseudo labels", INDEX_VERSION, str(index.directory), digest)
    build = partial(_build, pool, kept, labels)
    return AnnotationIndex(build_once(cache_folder() / "index" / key[:24], build))


def _in_scoring_splits(data: DataSpec, index: AnnotationIndex, image_ids: list[int]) -> set[int]:
    """The images that a split to select or to report on holds too."""
    pictures = index.pictures(image_ids)
    twin_ids: set[int] = set()
    for split in dict.fromkeys((data.select_split, data.report_on)):
        twins = same_pictures(pictures, open_split(data, split).pictures())
        twin_ids |= {image_ids[row] for row, _ in twins}
        if twins:
            _log.warning(
                "%d pictures of the pool are in split %s too and are left out", len(twins), split
            )
    return twin_ids


def _contents_of(kept: list[int], labels: Mapping[int, Found]) -> Iterator[bytes]:
    for image_id in kept:
        seen = labels[image_id]
        yield np.array([image_id, len(seen.labels)], np.int64).tobytes()
        for column in (seen.boxes_xyxy, seen.labels):
            yield np.ascontiguousarray(column).tobytes()
        yield "\n".join(seen.segmentations).encode()


def _build(pool: Pool, kept: list[int], labels: Mapping[int, Found], directory: Path) -> None:
    categories = pool.index.categories
    images = tuple(_raw_image(pool.index, i, labels[i], categories) for i in kept)
    raw = RawSplit(categories=categories, images=images, problems=())
    sizes_alone = partial(read_contents, hashed=False)
    write_index(raw, categories, directory, name="pseudo labels", read=sizes_alone)


def _raw_image(
    index: AnnotationIndex, image_id: int, labels: Found, categories: tuple[str, ...]
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
