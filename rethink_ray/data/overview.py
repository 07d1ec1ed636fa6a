"""Describes a data set in a few numbers: pictures, objects, classes, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.class_counts import count_objects
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.regime import DataSpec

QUANTILES = (0.05, 0.2, 0.5, 0.8, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOverview:
    """Pictures and objects of a data set; sizes are those of train."""

    num_images: Mapping[str, int]
    """Split -> its pictures; train without those of a hold-out."""
    class_counts: Mapping[str, Mapping[str, int]]
    """Split -> class -> objects that can be learned from."""
    picture_px: tuple[int, int]
    """Median shorter and longer side."""
    aspect: float
    """Longer over shorter side, which nine pictures in ten do not exceed."""
    box_shares: tuple[float, ...]
    """The side of a box (the root of its area) over the shorter side of its picture, at
    ``QUANTILES`` of the objects."""
    masked_share: float
    """The share of the objects that have a mask."""
    num_keypoints: int
    """Keypoints that all objects have; 0 without any."""

    @property
    def num_objects(self) -> int:
        """Objects of all splits."""
        return sum(sum(of_split.values()) for of_split in self.class_counts.values())

    @property
    def classes(self) -> Mapping[str, int]:
        """Class -> its objects in all splits, the most frequent class first."""
        totals: dict[str, int] = {}
        for of_split in self.class_counts.values():
            for name, num in of_split.items():
                totals[name] = totals.get(name, 0) + num
        return dict(sorted(totals.items(), key=lambda pair: -pair[1]))

    def box_share(self, quantile: float) -> float:
        """The relative side of a box at one of ``QUANTILES``."""
        return self.box_shares[QUANTILES.index(quantile)]


def survey_pictures(data: DataSpec) -> DataOverview:
    """Returns the numbers of a data set; builds missing indexes.

    Raises:
        DataError: a split cannot be opened, or train has no object.
    """
    used = dict.fromkeys(("train", data.select_split, data.report_split))
    splits = {split: open_split(data, split) for split in used}
    trainable = trainable_image_ids(data)
    train = splits["train"]
    num_images = {split: len(index) for split, index in splits.items()}
    sides, owners, in_use = _find_sides(train)
    if not in_use.any():
        must, remedy = "must hold an object to learn from", "Look at it: rethink-ray data check."
        raise DataError(explain("split train", must, f"{len(train)} pictures without any", remedy))
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    corners = train.boxes_xyxy[in_use]
    areas = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0.0), axis=1)
    box_shares = np.sqrt(areas) / shorter[owners[in_use]]
    listed = np.isin(train.image_column("image_id"), train.image_ids)
    return DataOverview(
        num_images={**num_images, "train": len(trainable)},
        class_counts=count_objects(splits, trainable),
        picture_px=(int(np.median(shorter[listed])), int(np.median(longer[listed]))),
        aspect=float(np.quantile((longer / shorter)[listed], 0.9)),
        box_shares=tuple(float(x) for x in np.quantile(box_shares, QUANTILES)),
        masked_share=float(train.masked_objects()[in_use].mean()),
        num_keypoints=len(train.keypoint_names),
    )


def _find_sides(
    train: AnnotationIndex,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Returns width and height of each picture, and of each object its picture and whether it is
    learned from."""
    columns = [train.image_column(side).astype(np.float64) for side in ("width", "height")]
    counts = train.image_column("num_objects")
    owners = np.repeat(np.arange(len(counts)), counts)
    listed = np.isin(train.image_column("image_id"), train.image_ids)
    in_use: NDArray[np.bool_] = train.learnable_objects() & listed[owners]
    return np.stack(columns, axis=1), owners, in_use
