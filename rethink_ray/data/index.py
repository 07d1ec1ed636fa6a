"""The annotations of one split, memory-mapped: opening reads nothing, processes share the pages.

Built on first use and kept under a key of the annotation files' content.
"""

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.data.build import IMAGES_FILE, INDEX_VERSION, OBJECTS_FILE, write_index
from rethink_ray.data.cache import build_anew, build_once
from rethink_ray.data.chance import hash_order
from rethink_ray.data.contents import (
    ContentReader,
    FileContent,
    Pictures,
    are_unchanged,
    read_contents,
    same_pictures,
)
from rethink_ray.data.masks import filled_box, pixels_of
from rethink_ray.data.pictures import picture_size
from rethink_ray.data.sources.locate import source_of
from rethink_ray.data.sources.raw import Source
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import DataSpec, HoldoutSpec

OPENINGS = 3
"""So often an index is opened that another process replaces at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """One image and its objects as annotated: boxes may leave the image or be degenerate.

    Objects of unknown categories are not among them.
    """

    image_id: int
    path: str
    """Absolute."""
    width: int
    """Of the file's pixels, turned by EXIF if they were annotated so."""
    height: int
    boxes_xyxy: NDArray[np.float32]
    """[N, 4], absolute pixels."""
    labels: NDArray[np.int64]
    """[N], from 1; 0 is background."""
    is_crowd: NDArray[np.bool_]
    area: NDArray[np.float32]
    verified: tuple[int, ...] | None = None
    """Labels that were looked for in this image (LVIS); ``None``: all."""


class AnnotationIndex:
    """The readable images of one split. Pickles as its path: every process maps the same pages."""

    def __init__(self, directory: Path, only: tuple[int, ...] | None = None) -> None:
        """Maps the index in ``directory``; ``only`` narrows it to some of its images."""
        self.directory = directory
        self._only = only
        self._images, about = _map(directory / IMAGES_FILE)
        self._objects, beside = _map(directory / OBJECTS_FILE)
        if beside.get("fingerprint", about["fingerprint"]) != about["fingerprint"]:
            raise _no_index(directory, "files of two different builds")
        self.categories: tuple[str, ...] = tuple(about["categories"])
        self.dropped: Mapping[str, int] = about["dropped"]
        """What the annotation files hold that no image here shows, by kind, over the split."""
        self.unread: tuple[str, ...] = tuple(about["unread"])
        """Paths that could not be read when the index was built (the first few)."""
        self.keypoint_names: tuple[str, ...] = tuple(about["keypoint_names"])
        """What the K keypoints are, in order; empty if the data set has none that all share."""
        self._all_ids: NDArray[np.int64] = self.image_column("image_id")
        self.image_ids: NDArray[np.int64] = self._all_ids
        self.fingerprint: str = about["fingerprint"]
        if only is not None:
            self.image_ids = np.array(sorted(only), np.int64)
            self.fingerprint = digest_of_parts(self.fingerprint, *sorted(only))[:16]
        self._first = self.image_column("first_object")
        self._count = self.image_column("num_objects")
        corners = _numbers(self._objects.column("box_xyxy").values)
        self.boxes_xyxy: NDArray[np.float32] = corners.reshape(-1, 4)
        """[all objects, 4]: of the whole split, in image order."""
        self._labels = self.object_column("label")
        self._crowd = self.object_column("is_crowd")
        self._area = self.object_column("area")

    def __len__(self) -> int:
        return len(self.image_ids)

    def __reduce__(self) -> tuple[type["AnnotationIndex"], tuple[Path, tuple[int, ...] | None]]:
        return type(self), (self.directory, self._only)

    def entry(self, image_id: int) -> ImageEntry:
        """The image of this id, with copies of its rows."""
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
            verified=None if verified is None else tuple(verified),
        )

    def segmentations(self, image_id: int) -> list[Any]:
        """COCO's ``segmentation`` of each object (polygons or run lengths), ``None`` without."""
        texts = self._texts("segmentation", image_id)
        return [json.loads(text) if text else None for text in texts]

    @property
    def has_masks(self) -> bool:
        """Whether any object of the split has a ``segmentation``."""
        ends = np.frombuffer(self._objects.column("segmentation").buffers()[1] or b"", np.int64)
        return bool(len(ends)) and int(ends[-1]) > 0

    def masks(self, image_id: int) -> NDArray[np.uint8]:
        """[N, H, W], 0 or 1: what each object covers; its whole box where nothing says.

        Of the file's size, like boxes.
        """
        row = self.row_of(image_id)
        height, width = (int(self.image_column(side)[row]) for side in ("height", "width"))
        boxes = self.boxes_xyxy[self.objects_of(row)]
        masks = np.zeros((len(boxes), height, width), np.uint8)
        for number, segmentation in enumerate(self.segmentations(image_id)):
            pixels = pixels_of(segmentation, height, width)
            masks[number] = filled_box(boxes[number], height, width) if pixels is None else pixels
        return masks

    def keypoints(self, image_id: int) -> NDArray[np.float32] | None:
        """[N, K, 3] x, y, visibility, zero for objects without; ``None`` if K is 0."""
        num = len(self.keypoint_names)
        if not num:
            return None
        rows = self._texts("keypoints", image_id)
        points = np.zeros((len(rows), num, 3), np.float32)
        for number, values in enumerate(rows):
            if len(values) == 3 * num:
                points[number] = np.array(values, np.float32).reshape(num, 3)
        return points

    def pictures(self, image_ids: Iterable[int] | None = None) -> Pictures:
        """The files of these images, in their order; of all by default."""
        ids = self.image_ids if image_ids is None else np.fromiter(image_ids, np.int64)
        rows = np.searchsorted(self._all_ids, ids)
        buffers = [None, pa.py_buffer(rows)]  # pa.array imports pandas: 0.5 s
        rows = pa.Array.from_buffers(pa.int64(), len(rows), buffers)
        columns = self._images.select(["path", "file_bytes", "file_sha256"]).take(rows)
        paths, num_bytes, digests = (column.to_pylist() for column in columns.columns)
        return Pictures(paths=paths, num_bytes=num_bytes, digests=digests)

    def file_contents(self) -> dict[str, FileContent]:
        """Path -> what its file held when the index was built, over the whole split."""
        names = ("path", "file_bytes", "file_changed_ns", "file_sha256")
        columns = [self._images.column(name).to_pylist() for name in names]
        return {
            path: FileContent(num_bytes=num_bytes, changed_ns=changed_ns, digest=digest)
            for path, num_bytes, changed_ns, digest in zip(*columns, strict=True)
        }

    def _texts(self, column: str, image_id: int) -> list[Any]:
        values = self._objects.column(column)
        rows = self.objects_of(self.row_of(image_id))
        return [values[row].as_py() for row in range(rows.start, rows.stop)]

    def row_of(self, image_id: int) -> int:
        """The image's row in the whole split."""
        row = int(np.searchsorted(self._all_ids, image_id))
        if row == len(self._all_ids) or self._all_ids[row] != image_id:
            must = "must hold every image that is asked for"
            raise DataError(explain(str(self.directory), must, image_id, "Resolve the study anew."))
        return row

    def is_portrait(self, image_ids: Sequence[int]) -> NDArray[np.bool_]:
        """[N]: whether each of these images is higher than wide."""
        rows = np.array([self.row_of(image_id) for image_id in image_ids], np.int64)
        higher = self.image_column("height") > self.image_column("width")
        return higher[rows]

    def objects_of(self, row: int) -> slice:
        """Where the objects of an image row stand in the object columns."""
        first = int(self._first[row])
        return slice(first, first + int(self._count[row]))

    def image_column(self, name: str) -> NDArray[Any]:
        """One number per image of the whole split, straight from the file."""
        return _numbers(self._images.column(name))

    def object_column(self, name: str) -> NDArray[Any]:
        """One number per object of the whole split, straight from the file."""
        return _numbers(self._objects.column(name))


def open_split(data: DataSpec, split: str) -> AnnotationIndex:
    """The index of train, val, test or holdout, built if this is its first use.

    Labels of every split follow the categories of train. An index that left images out is built
    again once one of those can be read. ``data.duplicates: drop`` leaves out of train what a
    scoring split shows too, and out of the split that selects what the one that reports shows.
    """
    if split == "holdout":
        return _open_holdout(data)
    index = open_listed(data, split)
    return _without_duplicates(data, split, index) if data.duplicates == "drop" else index


def open_listed(data: DataSpec, split: str) -> AnnotationIndex:
    """The index of train, val, test or unlabelled with every image that its files list."""
    source, categories = _source_and_categories(data, split)
    directory = _directory(source, categories)
    build = partial(_build, source, categories, _reader(split))
    index = _open_built(directory, build)
    if any(not isinstance(picture_size(Path(path)), str) for path in index.unread):
        return _rebuilt(directory, build)
    return index


def refresh_split(data: DataSpec, split: str) -> AnnotationIndex:
    """The index of train, val or test, built again if a picture file changed since it was built."""
    index = open_listed(data, split)
    earlier = index.file_contents()
    if are_unchanged([*earlier], [*earlier.values()]):
        return index
    source, categories = _source_and_categories(data, split)
    build = partial(_build, source, categories, _reader(split, earlier))
    return _rebuilt(index.directory, build)


def _reader(split: str, earlier: Mapping[str, FileContent] | None = None) -> ContentReader:
    """Images without labels, of which there may be millions, are read only if that is needed."""
    return partial(read_contents, hashed=split != "unlabelled", earlier=earlier)


def _without_duplicates(data: DataSpec, split: str, index: AnnotationIndex) -> AnnotationIndex:
    """The copy that is kept stands in the split that scores, or that reports."""
    scoring = {data.report_on, data.select_split} - {"holdout"}
    keeps = {"train": scoring, data.select_split: {data.report_on}}.get(split, set()) - {split}
    pictures = index.pictures()
    rows = {
        row
        for other in keeps
        for row, _ in same_pictures(pictures, open_listed(data, other).pictures())
    }
    if not rows:
        return index
    left = [int(key) for row, key in enumerate(index.image_ids) if row not in rows]
    if not left:
        must = f"must hold an image that {' and '.join(sorted(keeps))} does not"
        remedy = "data.duplicates: drop would leave none."
        raise DataError(explain(f"split {split}", must, "none", remedy))
    return AnnotationIndex(index.directory, only=tuple(left))


def _open_built(directory: Path, build: Callable[[Path], None]) -> AnnotationIndex:
    """The index in ``directory``; opened again should another process be replacing it just now."""
    for _ in range(OPENINGS - 1):
        before = _inode_of(build_once(directory, build))
        try:
            return AnnotationIndex(directory)
        except DataError:
            if before is not None and _inode_of(directory) == before:
                raise
    return AnnotationIndex(build_once(directory, build))


def _rebuilt(directory: Path, build: Callable[[Path], None]) -> AnnotationIndex:
    """A fresh index, opened again should another process be replacing it at the same time."""
    build_anew(directory, build)
    return _open_built(directory, build)


def _inode_of(directory: Path) -> int | None:
    """``None`` while another process has taken the old folder away and not put its own there."""
    try:
        return directory.stat().st_ino
    except FileNotFoundError:
        return None


def build_index(data: DataSpec, split: str) -> AnnotationIndex:
    """The index of train, val or test, built from its files whether or not there was one."""
    source, categories = _source_and_categories(data, split)
    directory = _directory(source, categories)
    build = partial(_build, source, categories, _reader(split))
    return _rebuilt(directory, build)


def _source_and_categories(data: DataSpec, split: str) -> tuple[Source, tuple[str, ...] | None]:
    """``None`` for train: its own categories are the data set's."""
    source = source_of(data, split)
    return source, None if split == "train" else open_listed(data, "train").categories


def _directory(source: Source, categories: tuple[str, ...] | None) -> Path:
    key = digest_of_parts(
        "index",
        INDEX_VERSION,
        source.place(),
        source.salt,
        source.content(),
        *(("train",) if categories is None else ("labels of", *categories)),
    )
    return cache_folder() / "index" / key[:24]


def _build(
    source: Source, categories: tuple[str, ...] | None, read: ContentReader, directory: Path
) -> None:
    with _no_collection():
        raw = source.read()
        labels = raw.categories if categories is None else categories
        write_index(raw, labels, directory, name=source.name, salt=source.salt, read=read)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for cycles: there are none in ten million fresh objects, and it takes minutes."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _open_holdout(data: DataSpec) -> AnnotationIndex:
    if not isinstance(data.select_on, HoldoutSpec):
        must = "must be {holdout: N} for a study that looks at a hold-out"
        raise DataError(explain("data.select_on", must, data.select_on))
    train = open_split(data, "train")
    num_held_out = data.select_on.holdout
    if num_held_out >= len(train):
        must = f"must leave some of the {len(train)} readable training images to train on"
        raise DataError(explain("data.select_on.holdout", must, num_held_out, "Ask for fewer."))
    order = hash_order("holdout", data.subset_seed, map(int, train.image_ids))
    return AnnotationIndex(train.directory, only=tuple(order[:num_held_out]))


def _numbers(column: Any) -> NDArray[Any]:
    """The column's bytes as they lie in the file; pyarrow's own ``to_numpy`` imports pandas."""
    dtype = {"float": "float32"}.get(str(column.type), str(column.type))
    return np.frombuffer(column.buffers()[1] or b"", dtype)[column.offset :][: len(column)]


def _map(path: Path) -> tuple[Any, dict[str, Any]]:
    """The one record batch of the file, and what was written about it."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads(reader.schema.metadata[b"rethink_ray"])
        return reader.get_batch(0), about
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        raise _no_index(path, str(error)) from error


def _no_index(path: Path, reason: str) -> DataError:
    remedy = "Delete that folder; the index is built again from the annotation files."
    return DataError(explain(str(path), "must be an annotation index", reason, remedy))
