"""The annotated images of the split that a study reports on, as ``session`` hands them in.

This room opens no data set: it has no torch, and knows no format of annotations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # pictures are opened late
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """One image and the objects that a detector can find in it."""

    image_id: int
    file_name: str
    """With folders where several pictures share the name."""
    width: int
    """In pixels, of the picture as its boxes see it."""
    height: int
    boxes_xyxy: npt.NDArray[np.float64]
    """[N, 4], absolute pixels."""
    labels: npt.NDArray[np.int64]
    """[N], from 1."""
    is_crowd: npt.NDArray[np.bool_]
    """[N]: detections inside such an object count neither as right nor as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportImages:
    """All images of the split, and how to open their pictures."""

    categories: tuple[str, ...]
    """Name of label 1, 2, ..."""
    images: Mapping[int, AnnotatedImage]
    """Image id -> the image."""
    open_picture: Callable[[int], "Image"]
    """Image id -> the picture in RGB, of the size that the image states.

    Raises ``DataError`` for a file that is gone or damaged.
    """

    def name_of(self, label: int) -> str:
        """The name of a label."""
        return self.categories[label - 1]
