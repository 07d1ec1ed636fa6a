"""Types for the contents of an annotation file, before any check.

Boxes are as annotated, faults included. Categories are names, because two files of one data set may
number them differently.
"""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rethink_ray.spec.hashing import digest_of_parts

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawObject:
    """One annotated object."""

    category: str | None
    """``None``: the object's category is not defined in the file."""
    box_xyxy: Box
    """Absolute pixels, corners as continuous coordinates."""
    is_crowd: bool
    area: float
    """Square pixels; that of the box if the file gives none."""
    segmentation: bytes = b""
    """COCO's ``segmentation`` as JSON; empty if there is none that can be read."""
    is_mask_unreadable: bool = False
    """The file gives a ``segmentation`` that is no mask."""
    keypoints: tuple[float, ...] = ()
    """x and y in pixels, visibility, repeated."""
    line: int = 0
    """Line of the image's label file, from 1; 0 for formats without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """One annotated image."""

    image_id: int
    file_name: str
    path: Path
    width: int
    """In pixels, as annotated; 0 if the file does not say."""
    height: int
    objects: tuple[RawObject, ...]
    verified: tuple[str, ...] | None = None
    """LVIS: the categories that annotators checked in this image. ``None``: all categories."""
    label_file: str = ""
    """Folder and name of the text file of its labels; empty for formats without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A record that a reader skipped, or that disagrees with another one."""

    kind: str
    """A kind of ``spec.fault_kinds``."""
    example: str
    """One line of text: the record, and its value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSplit:
    """One split as its files describe it."""

    categories: tuple[str, ...]
    """In label order: COCO by category id, VOC by name."""
    images: tuple[RawImage, ...]
    problems: tuple[Problem, ...]
    shifted_categories: str = ""
    """A sentence, if objects number categories from another number than the file's list does."""
    keypoint_names: tuple[str, ...] = ()
    """Names of the keypoints, in order; empty if objects do not share one list of them."""


class SplitSource(Protocol):
    """The files from which one split is read."""

    @property
    def name(self) -> str:
        """The file or folder that error messages name."""

    @property
    def salt(self) -> str:
        """Added to the fingerprint: the settings that draw a built-in set; empty for other sets."""

    def image_folders(self) -> str:
        """Returns the image folders, one per line; an index holds their paths."""

    def hash_annotations(self) -> str:
        """Returns a hash of the annotation files.

        Raises:
            DataError: they do not exist.
        """

    def read(self) -> RawSplit:
        """Returns the contents of the annotation files.

        Raises:
            DataError: no annotation can be read.
        """


def round_box(box_xyxy: Box) -> tuple[float, ...]:
    """Returns the corners as an index holds them, in 32 bits."""
    return tuple(array("f", box_xyxy))


def id_from_name(name: str) -> int:
    """Returns a stable image id of 52 bits, exact in JSON and float64, for formats without ids."""
    return int(digest_of_parts("image id", name)[:13], 16)


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is hidden: ``._a.jpg``, ``.thumbnails``."""
    return name.startswith(".")
