"""What an annotation file says, before anyone judged it.

Boxes are as annotated, faults included; categories go by name because two files of one data set
may number them differently.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rethink_ray.spec.hashing import digest_of_parts

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawObject:
    """One annotated object."""

    category: str | None
    """``None``: the file gives a category that it does not define."""
    box_xyxy: Box
    """Absolute pixels, corners as continuous coordinates; all zero if the file gives no box."""
    is_crowd: bool
    area: float
    segmentation: bytes = b""
    """COCO's ``segmentation`` value as JSON; empty if there is none."""
    keypoints: tuple[float, ...] = ()
    """x, y, visibility, repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """One annotated image."""

    image_id: int
    file_name: str
    path: Path
    width: int
    """As annotated; 0 if the file does not say."""
    height: int
    objects: tuple[RawObject, ...]
    verified: tuple[str, ...] | None = None
    """LVIS: the categories somebody looked for here; of others nothing is known. ``None``: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a reader stepped over."""

    kind: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSplit:
    """One split as its files have it."""

    categories: tuple[str, ...]
    """In label order: COCO by category id, VOC by name."""
    images: tuple[RawImage, ...]
    problems: tuple[Problem, ...]
    keypoint_names: tuple[str, ...] = ()
    """What the keypoints of every object are, in order; empty if the objects share no such list."""


class Source(Protocol):
    """Where one split is read from."""

    @property
    def name(self) -> str:
        """What errors call this split."""

    @property
    def salt(self) -> str:
        """Goes into the fingerprint: what the annotations do not show about the pictures."""

    def place(self) -> str:
        """The image folders: an index holds their paths."""

    def content(self) -> str:
        """Hash of the annotation files."""

    def read(self) -> RawSplit:
        """Everything in the annotation files; ``DataError`` if nothing can be read."""


def id_from_name(name: str) -> int:
    """A stable image id for formats that have names only: 52 bits, exact in JSON and float64."""
    return int(digest_of_parts("image id", name)[:13], 16)
