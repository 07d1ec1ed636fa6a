"""Converts rarer formats of labels to COCO JSON, with the library labelformat (an extra).

labelformat reads the files. The COCO file that is written here is read as any other.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rethink_ray.data.cache import build_once
from rethink_ray.data.sources.values import read_file_name, show
from rethink_ray.spec.errors import DataError, explain, say_error

if TYPE_CHECKING:
    from labelformat.model.object_detection import ObjectDetectionInput

ANNOTATIONS_FILE = "annotations/instances_default.json"
PICTURES_FOLDER = "images"
KITTI_IGNORED = "DontCare"
"""KITTI's name of regions whose objects are not labelled; it is no class."""
_LABELBOX_KIND = "ImageBoundingBox"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignLabels:
    """Where the labels of a format lie in its folder."""

    labels: str
    """In words, for messages: ``labels/*.txt``."""
    label_paths: tuple[str, ...]
    """Patterns of the file or folder of labels; the first that is there counts."""
    picture_folders: tuple[str, ...]
    """Folders of pictures, likewise."""
    has_sizes: bool
    """Whether the labels state the size of each picture; else the library reads it from the file,
    without EXIF."""


FOREIGN_FORMATS: Mapping[str, ForeignLabels] = {
    "kitti": ForeignLabels(
        labels="a folder labels or label_2 of .txt",
        label_paths=("labels", "label_2", "training/label_2"),
        picture_folders=("images", "image_2", "training/image_2"),
        has_sizes=False,
    ),
    "cvat": ForeignLabels(
        labels="annotations.xml (CVAT for images)",
        label_paths=("annotations.xml", "*.xml"),
        picture_folders=("images", "."),
        has_sizes=True,
    ),
    "labelbox": ForeignLabels(
        labels="an export (v2) .ndjson",
        label_paths=("*.ndjson", "*.jsonl"),
        picture_folders=("images", "."),
        has_sizes=True,
    ),
    "lightly": ForeignLabels(
        labels="schema.json beside a .json per picture",
        label_paths=("labels", "annotations", "."),
        picture_folders=("images", "."),
        has_sizes=False,
    ),
}
"""Format -> where its labels lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedLabels:
    """What a conversion wrote."""

    num_images: int
    num_objects: int
    num_ignored: int
    """Regions that are no objects (KITTI's ``DontCare``) and were left out."""
    num_missing: int
    """Pictures that the labels name and the folder does not have."""


def convert_labels(
    folder: Path, format_name: str, out: Path, classes: Sequence[str] = ()
) -> ConvertedLabels:
    """Writes a folder of another format as COCO JSON with its pictures, which are linked or copied.

    Args:
        folder: the labels and pictures.
        format_name: one of ``FOREIGN_FORMATS``.
        out: the new folder; it must not exist.
        classes: names of classes in the order of labels. Empty: those that the labels name.

    Raises:
        DataError: labelformat is not installed, the format is unknown, its files are not there, or
            they cannot be read.
    """
    if format_name not in FOREIGN_FORMATS:
        must = f"must be one of {', '.join(FOREIGN_FORMATS)}"
        remedy = "COCO, VOC, YOLO and imagefolder are read as they are: rethink-ray data check DIR."
        raise DataError(explain("--from", must, format_name, remedy))
    if out.exists():
        must, remedy = "must be a folder that does not exist yet", "Name another folder."
        raise DataError(explain(f"--out {out}", must, "one that does", remedy))
    layout = FOREIGN_FORMATS[format_name]
    labels = _find_first(folder, layout.label_paths, f"labels of {format_name}: {layout.labels}")
    pictures = _find_first(folder, layout.picture_folders, "a folder images of pictures")
    try:
        reader = _READERS[format_name](labels, pictures, classes)
        document, num_ignored = _build_document(reader, layout.has_sizes)
    except ImportError as error:
        must, remedy = (
            "needs labelformat, an optional package",
            "pip install 'rethink-ray[formats]'.",
        )
        raise DataError(explain("data import", must, str(error), remedy)) from error
    except Exception as error:  # another program's: of any kind
        must = f"must hold labels of {format_name} that labelformat can read"
        remedy = "Check --from, and that the copy is whole."
        raise DataError(explain(str(labels), must, say_error(error), remedy)) from error
    for name in (one["file_name"] for one in document["images"]):
        if ".." in Path(name).parts or Path(name).is_absolute() or not read_file_name(name):
            must = "must name pictures inside the folder of pictures"
            remedy = "Put all pictures into one folder, and name them relative to it."
            raise DataError(explain(str(labels), must, show(name), remedy))
    num_missing = sum(not (pictures / one["file_name"]).is_file() for one in document["images"])
    build_once(out.absolute(), partial(_write, document, pictures))
    return ConvertedLabels(
        num_images=len(document["images"]),
        num_objects=len(document["annotations"]),
        num_ignored=num_ignored,
        num_missing=num_missing,
    )


def _find_first(folder: Path, patterns: Iterable[str], contents: str) -> Path:
    for pattern in patterns:
        for path in [folder] if pattern == "." else sorted(folder.glob(pattern)):
            return path
    raise DataError(explain(str(folder), f"must hold {contents}", "none", "Check the folder."))


def _read_kitti(labels: Path, pictures: Path, classes: Sequence[str]) -> "ObjectDetectionInput":
    from labelformat.formats.kitti import KittiObjectDetectionInput

    lines = (line for path in sorted(labels.rglob("*.txt")) for line in _read_lines(path))
    listed = {" ".join(line.split(" ")[:-14]) for line in lines} - {KITTI_IGNORED}
    names = [*(classes or sorted(listed)), KITTI_IGNORED]
    return KittiObjectDetectionInput(
        input_folder=labels,
        category_names=",".join(names),
        images_rel_path=os.path.relpath(pictures, labels),
    )


def _read_cvat(labels: Path, pictures: Path, classes: Sequence[str]) -> "ObjectDetectionInput":
    from labelformat.formats.cvat import CVATObjectDetectionInput

    return CVATObjectDetectionInput(input_file=labels)


def _read_labelbox(labels: Path, pictures: Path, classes: Sequence[str]) -> "ObjectDetectionInput":
    from labelformat.formats.labelbox import LabelboxObjectDetectionInput

    names = classes or sorted(_list_labelbox_names(labels))
    return LabelboxObjectDetectionInput(input_file=labels, category_names=",".join(names))


def _read_lightly(labels: Path, pictures: Path, classes: Sequence[str]) -> "ObjectDetectionInput":
    from labelformat.formats.lightly import LightlyObjectDetectionInput

    relative = os.path.relpath(pictures, labels)
    return LightlyObjectDetectionInput(input_folder=labels, images_rel_path=relative)


_READERS: Mapping[str, Callable[[Path, Path, Sequence[str]], "ObjectDetectionInput"]] = {
    "kitti": _read_kitti,
    "cvat": _read_cvat,
    "labelbox": _read_labelbox,
    "lightly": _read_lightly,
}


def _read_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _list_labelbox_names(path: Path) -> set[str]:
    """Returns the names of the boxes in an export; labelformat asks for them."""
    rows = [json.loads(line) for line in _read_lines(path)]
    labels = [
        one for row in rows for project in row["projects"].values() for one in project["labels"]
    ]
    objects = [one for label in labels for one in label["annotations"]["objects"]]
    return {one["name"] for one in objects if one["annotation_kind"] == _LABELBOX_KIND}


def _build_document(
    reader: "ObjectDetectionInput", has_sizes: bool
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Returns the labels as a COCO document, and the number of regions that are no objects."""
    from labelformat.model.bounding_box import BoundingBoxFormat

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    num_ignored = 0
    for labelled in reader.get_labels():
        picture = labelled.image
        sizes = {"width": picture.width, "height": picture.height} if has_sizes else {}
        images.append({"id": picture.id, "file_name": picture.filename, **sizes})
        for one in labelled.objects:
            if one.category.name == KITTI_IGNORED:
                num_ignored += 1
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture.id,
                    "category_id": one.category.id,
                    "bbox": [float(value) for value in one.box.to_format(BoundingBoxFormat.XYWH)],
                }
            )
    categories = [
        {"id": category.id, "name": category.name}
        for category in reader.get_categories()
        if category.name != KITTI_IGNORED
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return document, num_ignored


def _write(document: Mapping[str, Any], pictures: Path, directory: Path) -> None:
    """Writes the COCO file and the pictures: links to the same bytes where the disk allows it."""
    path = directory / ANNOTATIONS_FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    for record in document["images"]:
        source, target = (
            pictures / record["file_name"],
            directory / PICTURES_FOLDER / record["file_name"],
        )
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
