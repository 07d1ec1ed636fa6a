"""All labelled pictures of a study as one COCO file: training on them leaves nothing to score."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.splits import open_split
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.regime import HOLDOUTS, DataSpec, SplitSpec, UnlabelledSpec

MERGED_FILE = "all.json"
KEPT_KEYS = ("keep_empty", "min_keypoints", "upstream", "upstream_detection", "frequency")
"""Keys of a data set that are the same for the merged one."""


def write_merged(data: DataSpec, folder: Path) -> DataSpec:
    """``folder/all.json`` lists every picture of train and of the scoring splits, with its objects.

    A picture that two splits hold under one path is listed once. Returns the data set whose train
    is this file. Its ``select_on`` and ``report_on`` are train too, because no split is left.

    Raises:
        DataError: a split cannot be opened.
    """
    used = dict.fromkeys(("train", data.select_split, data.report_split))
    indexes = [open_split(data, split) for split in used if split not in HOLDOUTS]
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    listed: set[str] = set()
    for index in indexes:
        for image_id in index.image_ids:
            entry = index.entry(int(image_id))
            if entry.path in listed:
                continue
            listed.add(entry.path)
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": entry.path,
                    "width": entry.width,
                    "height": entry.height,
                }
            )
            objects += _list_objects(index, entry, len(images), len(objects))
    tree = {"images": images, "annotations": objects, "categories": _list_categories(indexes[0])}
    path = folder.absolute() / MERGED_FILE
    write_atomically(path, json.dumps(tree))
    whole = SplitSpec(images=str(path.parent), annotations=str(path))
    kept = {key: getattr(data, key) for key in KEPT_KEYS}
    return DataSpec(
        dataset={"train": whole},
        format="coco",
        root=str(path.parent),
        subset_seed=data.subset_seed,
        select_on="train",
        report_on="train",
        unlabelled=_with_absolute_paths(data),
        **kept,
    )


def _list_objects(
    index: AnnotationIndex, entry: ImageEntry, image_id: int, num_before: int
) -> Iterator[dict[str, Any]]:
    """The objects of an image as COCO has them."""
    segmentations = index.segmentations(entry.image_id)
    keypoints = index.keypoints(entry.image_id)
    for number, (x0, y0, x1, y1) in enumerate(entry.boxes_xyxy.astype(float).tolist()):
        record = {
            "id": num_before + number + 1,
            "image_id": image_id,
            "category_id": int(entry.labels[number]),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": float(entry.area[number]),
            "iscrowd": int(entry.is_crowd[number]),
        }
        if segmentations[number] is not None:
            record["segmentation"] = segmentations[number]
        if keypoints is not None:
            record["keypoints"] = keypoints[number].flatten().astype(float).tolist()
        yield record


def _list_categories(train: AnnotationIndex) -> list[dict[str, Any]]:
    points = {"keypoints": list(train.keypoint_names)} if train.keypoint_names else {}
    return [
        {"id": label, "name": name, **points}
        for label, name in enumerate(train.categories, start=1)
    ]


def _with_absolute_paths(data: DataSpec) -> UnlabelledSpec | None:
    """The unlabelled pictures, whose paths are no longer relative to the root of the data set."""
    spec, root = data.unlabelled, Path(data.root or ".").absolute()
    if spec is None:
        return None
    annotations = None if spec.annotations is None else str(root / spec.annotations)
    return UnlabelledSpec(images=str(root / spec.images), annotations=annotations)
