"""The answer to the question which format a folder of labelled pictures has."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedData:
    """A folder of labelled pictures, in the words of a study file."""

    format: str
    """For people: ``YOLO (data.yaml)``."""
    data: dict[str, Any]
    """The ``data`` section of a study file, without ``split``, ``select_on`` and ``report_on``."""
    splits: tuple[str, ...]
    """The splits with labels that the folder has, of train, val and test; train is one of them."""
    notes: tuple[str, ...]
    """Sentences about what was read in another way than one may expect, or left out."""
