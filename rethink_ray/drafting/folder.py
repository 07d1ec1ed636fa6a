"""Looks at a folder of labelled pictures: its format, its splits, its objects and their sizes."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethink_ray.data.leaks import Leak
from rethink_ray.data.look_alikes import find_look_alikes
from rethink_ray.data.overview import DataOverview, survey_pictures
from rethink_ray.data.recognise import recognise_folder
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec

CUT_SHARE = "20%"
"""The share of the pictures that a split gets if it is cut from train."""
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MASKED_SHARE = 0.9
"""From this share of objects with a mask on, a study learns masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFolder:
    """A folder of labelled pictures, and the ``data`` section of a study on it."""

    folder: Path
    format: str
    """For people."""
    notes: tuple[str, ...]
    data: Mapping[str, Any]
    """The section as a study file has it."""
    spec: DataSpec
    cut: tuple[str, ...]
    """Splits that are cut from train."""
    overview: DataOverview
    alike: tuple[Leak, ...]
    """Pictures that look like one of another split, where the folder names its splits."""

    @property
    def name(self) -> str:
        """The folder's name, as a study may have it."""
        return name_study(self.folder)

    @property
    def num_train(self) -> int:
        """Pictures to train on."""
        return self.overview.num_images["train"]

    @property
    def num_keypoints(self) -> int:
        """Keypoints to learn; 0 where objects have boxes or masks alone."""
        return self.overview.num_keypoints

    @property
    def has_masks(self) -> bool:
        """Whether nearly all objects have a mask to learn from."""
        return self.overview.masked_share >= MASKED_SHARE


def name_study(folder: Path) -> str:
    """The name of a folder, or of the folder of a file, as a study may have it."""
    path = Path(os.path.abspath(folder))
    words = NOT_IN_NAMES.sub("_", (path.parent if path.is_file() else path).name)
    return words.strip("_.-") or "pictures"


def look_at_folder(folder: Path) -> SeenFolder:
    """The folder's data set. Splits that it lacks are cut from train: val selects, test reports.

    Raises:
        DataError: the folder has no known format, or its data cannot be read.
    """
    recognised = recognise_folder(folder)
    cut = tuple(split for split in ("val", "test") if split not in recognised.splits)
    data = dict(recognised.data)
    if cut:
        shares = dict.fromkeys(cut, CUT_SHARE)
        data["split"] = {**shares, "seed": 0, "group": "near_duplicates"}
    if len(cut) < 2:
        data["duplicates"] = "drop"
    data |= {"select_on": "val", "report_on": "test"}
    spec = validate(DataSpec, data, f"{folder}: data")
    return SeenFolder(
        folder=folder,
        format=recognised.format,
        notes=recognised.notes,
        data=data,
        spec=spec,
        cut=cut,
        overview=survey_pictures(spec),
        alike=tuple(find_look_alikes(spec)),
    )
