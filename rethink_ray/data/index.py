"""The memory-mapped annotations of one split: opening reads no data, and processes share pages.

An index is built on first use and stored under a hash of the annotation files.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.data.arrow_files import explain_damaged_index, map_batch, read_numbers
from rethink_ray.data.build import (
    IMAGES_TABLE,
    OBJECTS_TABLE,
)
from rethink_ray.data.chance import generator_from
from rethink_ray.data.contents import (
    FileContent,
    Pictures,
)
from rethink_ray.data.learnable import clamp, count_visible, is_learnable
from rethink_ray.data.levels import LevelRange, LevelRanges
from rethink_ray.data.mask_states import HAS_MASK
from rethink_ray.data.masks import decode_segmentation, fill_box
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """One image and its objects as annotated: boxes may leave the image or be degenerate.

    Objects of unknown categories are left out.
    """

    image_id: int
    path: str
    """Absolute."""
    width: int
    """In pixels, of the picture as it was annotated: turned by EXIF, or as stored."""
    height: int
    boxes_xyxy: NDArray[np.float32]
    """[N, 4], absolute pixels."""
    labels: NDArray[np.int64]
    """[N], from 1; 0 is background."""
    is_crowd: NDArray[np.bool_]
    """[N]."""
    area: NDArray[np.float32]
    """[N], square pixels, as annotated."""
    has_mask: NDArray[np.bool_]
    """[N]: whether the object has a mask that can be read."""
    verified: tuple[int, ...] | None = None
    """Labels that annotators checked in this image (LVIS); ``None``: all."""


class AnnotationIndex:
    """The readable images of one split; pickled as a path, so that processes share its pages."""

    def __init__(
        self,
        directory: Path,
        only: tuple[int, ...] | None = None,
        shuffled_under: int | None = None,
    ) -> None:
        """Maps the index in ``directory``.

        Args:
            directory: of the index.
            only: the image ids to keep; ``None``: all.
            shuffled_under: seed under which labels are permuted among all objects of the split;
                ``None``: they are true.
        """
        self.directory = directory
        self._only = only
        self._shuffled_under = shuffled_under
        self._images, metadata = map_batch(directory / IMAGES_TABLE)
        self._objects, objects_metadata = map_batch(directory / OBJECTS_TABLE)
        fingerprint = metadata["fingerprint"]
        if objects_metadata.get("fingerprint", fingerprint) != fingerprint:
            raise explain_damaged_index(directory, "files of two different builds")
        self.categories: tuple[str, ...] = tuple(metadata["categories"])
        self.dropped: Mapping[str, int] = metadata["dropped"]
        """Kind of fault -> number of records that were left out, over the whole split."""
        self.unread: Mapping[str, FileContent] = {
            path: FileContent(num_bytes=num_bytes, changed_ns=changed_ns, digest=None)
            for path, num_bytes, changed_ns in metadata["unread"]
        }
        """Files that could not be read when the index was built, as they were then."""
        self.level_ranges: LevelRanges = {
            kind: LevelRange(lowest=lowest, highest=highest)
            for kind, (lowest, highest) in metadata["level_ranges"].items()
        }
        """Levels of black and white for each kind of deep picture."""
        self.keypoint_names: tuple[str, ...] = tuple(metadata["keypoint_names"])
        """Names of the K keypoints, in order; empty if objects do not share one list of them."""
        self._all_ids: NDArray[np.int64] = self.image_column("image_id")
        self.image_ids: NDArray[np.int64] = self._all_ids
        self.fingerprint: str = fingerprint
        if only is not None:
            self.image_ids = np.array(sorted(only), np.int64)
            self.fingerprint = digest_of_parts(self.fingerprint, *sorted(only))[:16]
        self._first = self.image_column("first_object")
        self._count = self.image_column("num_objects")
        corners = read_numbers(self._objects.column("box_xyxy").values)
        self.boxes_xyxy: NDArray[np.float32] = corners.reshape(-1, 4)
        """[all objects, 4], over the whole split, in image order."""
        self._labels = self.object_column("label")
        if shuffled_under is not None:
            shuffle = generator_from("shuffled classes", shuffled_under)
            self._labels = shuffle.permutation(self._labels)
        self._crowd = self.object_column("is_crowd")
        self._area = self.object_column("area")
        self._mask_state = self.object_column("mask_state")

    def __len__(self) -> int:
        return len(self.image_ids)

    def __reduce__(
        self,
    ) -> tuple[type["AnnotationIndex"], tuple[Path, tuple[int, ...] | None, int | None]]:
        return type(self), (self.directory, self._only, self._shuffled_under)

    def with_shuffled_labels(self, seed: int) -> "AnnotationIndex":
        """Returns the same images, whose labels are permuted among all objects of the split."""
        return AnnotationIndex(self.directory, self._only, seed)

    def entry(self, image_id: int) -> ImageEntry:
        """Returns the image of this id, with copies of its rows.

        Raises:
            DataError: the split has no image of this id.
        """
        row = self.row_of(image_id)
        objects = self.objects_of(row)
        verified = self._images.column("verified")[row].as_py()
        return ImageEntry(
            image_id=image_id,
            path=self._images.column("path")[row].as_py(),
            width=int(self._images.column("width")[row].as_py()),
            height=int(self._images.column("height")[row].as_py()),
            boxes_xyxy=self.boxes_xyxy[objects].copy(),
            labels=self._labels[objects].astype(np.int64),
            is_crowd=self._crowd[objects].astype(np.bool_),
            area=self._area[objects].copy(),
            has_mask=np.isin(self._mask_state[objects], HAS_MASK),
            verified=None if verified is None else tuple(verified),
        )

    def segmentations(self, image_id: int) -> list[Any]:
        """Returns COCO's ``segmentation`` (polygons or run lengths) or ``None`` for each object."""
        texts = self._object_values("segmentation", image_id)
        return [json.loads(text) if text else None for text in texts]

    @property
    def has_masks(self) -> bool:
        """Whether any object of the whole split has a mask that can be read."""
        return bool(self.masked_objects().any())

    def masked_objects(self) -> NDArray[np.bool_]:
        """Returns, for each object of the whole split, whether it has a mask that can be read."""
        masked: NDArray[np.bool_] = np.isin(self._mask_state, HAS_MASK)
        return masked

    def masks(self, image_id: int) -> NDArray[np.uint8]:
        """Returns the mask of each object: [N, H, W], 0 or 1.

        An object without a mask that can be read (``ImageEntry.has_mask``) has its box filled, so
        that the box moves with the picture; no mask is learned from it or scored against it.
        """
        row = self.row_of(image_id)
        height, width = (int(self.image_column(side)[row]) for side in ("height", "width"))
        boxes = self.boxes_xyxy[self.objects_of(row)]
        masks = np.zeros((len(boxes), height, width), np.uint8)
        for number, segmentation in enumerate(self.segmentations(image_id)):
            pixels = decode_segmentation(segmentation, height, width)
            masks[number] = fill_box(boxes[number], height, width) if pixels is None else pixels
        return masks

    def keypoints(self, image_id: int) -> NDArray[np.float32] | None:
        """Returns [N, K, 3]: x and y in pixels, visibility; ``None`` if K is 0.

        An object without keypoints has zeros.
        """
        num = len(self.keypoint_names)
        if not num:
            return None
        rows = self._object_values("keypoints", image_id)
        points = np.zeros((len(rows), num, 3), np.float32)
        for number, values in enumerate(rows):
            if len(values) == 3 * num:
                points[number] = np.array(values, np.float32).reshape(num, 3)
        return points

    def pictures(self, image_ids: Iterable[int] | None = None) -> Pictures:
        """Returns the files of these images, in their order; by default of all images."""
        ids = self.image_ids if image_ids is None else np.fromiter(image_ids, np.int64)
        columns = self._images.select(["path", "file_bytes", "file_sha256"])
        if not np.array_equal(ids, self._all_ids):  # take imports pyarrow.compute: 0.1 s
            rows = np.searchsorted(self._all_ids, ids)
            buffers = [None, pa.py_buffer(rows)]  # pa.array imports pandas: 0.5 s
            rows = pa.Array.from_buffers(pa.int64(), len(rows), buffers)
            columns = columns.take(rows)
        paths, num_bytes, digests = (column.to_pylist() for column in columns.columns)
        return Pictures(paths=paths, num_bytes=num_bytes, digests=digests)

    def file_contents(self) -> dict[str, FileContent]:
        """Returns path -> file content when the index was built, over the whole split."""
        names = ("path", "file_bytes", "file_changed_ns", "file_sha256")
        columns = [self._images.column(name).to_pylist() for name in names]
        return {
            path: FileContent(num_bytes=num_bytes, changed_ns=changed_ns, digest=digest)
            for path, num_bytes, changed_ns, digest in zip(*columns, strict=True)
        }

    def _object_values(self, column: str, image_id: int) -> list[Any]:
        values = self._objects.column(column)
        rows = self.objects_of(self.row_of(image_id))
        return [values[row].as_py() for row in range(rows.start, rows.stop)]

    def row_of(self, image_id: int) -> int:
        """Returns the image's row in the whole split.

        Raises:
            DataError: the split has no image of this id.
        """
        row = int(np.searchsorted(self._all_ids, image_id))
        if row == len(self._all_ids) or self._all_ids[row] != image_id:
            must = "must hold every image of the study"
            raise DataError(explain(str(self.directory), must, image_id, "Resolve the study anew."))
        return row

    def is_portrait(self, image_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Returns [N]: whether each of these images is higher than wide."""
        rows = np.array([self.row_of(image_id) for image_id in image_ids], np.int64)
        higher = self.image_column("height") > self.image_column("width")
        return higher[rows]

    def has_learnable(self, min_keypoints: int | None = None) -> NDArray[np.bool_]:
        """Returns, for each image of the whole split, whether it has an object to learn from.

        ``min_keypoints``: how many visible keypoints such objects must have together; ``None``: 1
        if the split has keypoints.
        """
        learnable = self.learnable_objects()
        owner = np.repeat(np.arange(len(self._count)), self._count)
        is_filled = np.bincount(owner[learnable], minlength=len(self._count)) > 0
        required = int(bool(self.keypoint_names)) if min_keypoints is None else min_keypoints
        if not required:
            return is_filled
        visible = np.where(learnable, self.visible_keypoints(), 0)
        num_visible = np.bincount(owner, weights=visible, minlength=len(self._count))
        enough: NDArray[np.bool_] = is_filled & (num_visible >= required)
        return enough

    def learnable_objects(self) -> NDArray[np.bool_]:
        """Returns, for each object of the whole split, whether a detector learns from it."""
        sizes = [self.image_column(side).astype(np.float32) for side in ("width", "height")]
        owner = np.repeat(np.arange(len(self._count)), self._count)
        boxes = clamp(self.boxes_xyxy, np.stack(sizes, axis=1)[owner])
        return is_learnable(boxes, self._crowd.astype(np.bool_))

    def visible_keypoints(self) -> NDArray[np.int64]:
        """Returns, for each object of the whole split, how many of its keypoints are visible."""
        column = self._objects.column("keypoints")
        values, offsets = read_numbers(column.values), read_numbers(column.offsets)
        return count_visible(values, offsets, len(self.keypoint_names))

    def objects_of(self, row: int) -> slice:
        """Returns the rows of the object columns that belong to an image row."""
        first = int(self._first[row])
        return slice(first, first + int(self._count[row]))

    def image_column(self, name: str) -> NDArray[Any]:
        """Returns a memory-mapped column: one number per image of the whole split."""
        return read_numbers(self._images.column(name))

    def object_column(self, name: str) -> NDArray[Any]:
        """Returns a memory-mapped column: one number per object of the whole split."""
        return read_numbers(self._objects.column(name))
