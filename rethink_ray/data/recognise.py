"""Recognises the format of a folder of labelled pictures by looking at its files."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from rethink_ray.data.convert import FOREIGN_FORMATS
from rethink_ray.data.layouts import coco, imagefolder, voc, yolo
from rethink_ray.data.layouts.recognised import RecognisedData
from rethink_ray.data.layouts.tree import FolderTree, scan_folder
from rethink_ray.data.sources.yolo_config import is_yolo_yaml
from rethink_ray.spec.errors import DataError, Explanation, explain

__all__ = ["RecognisedData", "recognise_folder"]

Recogniser = Callable[[FolderTree], RecognisedData | None]
RECOGNISERS: Mapping[str, Recogniser] = {
    coco.COCO_FORM: coco.recognise_coco,
    voc.VOC_FORM: voc.recognise_voc,
    yolo.YOLO_FORM: yolo.recognise_yolo,
    imagefolder.IMAGEFOLDER_FORM: imagefolder.recognise_imagefolder,
}
"""The form that is looked for, in words -> the function that looks for it."""


def recognise_folder(folder: Path) -> RecognisedData:
    """Returns the format of a folder of labelled pictures, and its ``data`` section.

    The folder may hold one other folder with all of it, as unpacked archives do. In place of a
    folder, its ``data.yaml`` may be named.

    Raises:
        DataError: the folder has no format that is known, or two of them.
    """
    folder = Path(os.path.abspath(folder))
    if is_yolo_yaml(folder):
        recognised = yolo.recognise_yolo(FolderTree(root=folder, files={}))
        assert recognised is not None, "the file is there"
        return recognised
    if not folder.is_dir():
        shown = "a file" if folder.exists() else "a folder that does not exist"
        must = "must be a folder of labelled pictures, or its data.yaml"
        raise DataError(explain(str(folder), must, shown, "Check the path."))
    tree = scan_folder(folder)
    inner = _find_single_folder(tree)
    all_formats = [recognise(tree) for recognise in RECOGNISERS.values()]
    formats = [recognised for recognised in all_formats if recognised is not None]
    if not formats and inner is not None and yolo.find_damaged_yaml(folder) is None:
        return recognise_folder(inner)
    if not formats:
        raise _unknown_format_error(tree)
    if len(formats) > 1:
        must = "must have its labels in one format, since two may disagree"
        shown = " and ".join(recognised.format for recognised in formats)
        remedy = "Move one of them out of the folder; or name the data.yaml itself, for YOLO."
        raise DataError(Explanation.of(str(folder), must, shown, remedy))
    return formats[0]


def _unknown_format_error(tree: FolderTree) -> DataError:
    must = f"must hold labelled pictures in one of these forms: {'; '.join(RECOGNISERS)}"
    kinds = " | ".join(FOREIGN_FORMATS)
    remedy = "Name the files in a study file (docs/data.md), or convert them: "
    remedy += f"rethink-ray data import DIR --from {kinds} --out DIR."
    if yolo.has_label_lines(tree):
        must = "must name the classes of its YOLO labels, in data.yaml or classes.txt"
        remedy = f"Write data.yaml: {yolo.suggest_yaml(tree)}, in the order of class ids."
    elif damaged := yolo.find_damaged_yaml(tree.root):
        return damaged
    elif partial := coco.find_partial(tree):
        remedy = f"{partial}. Copy the file again, or write what it lacks."
    return DataError(Explanation.of(str(tree.root), must, tree.describe(), remedy))


def _find_single_folder(tree: FolderTree) -> Path | None:
    """Returns the only folder inside a folder without pictures or labels; ``None`` if not so."""
    inner = [folder for folder in tree.files if "/" not in folder and folder != "."]
    return tree.path_of(inner[0]) if len(inner) == 1 and not tree.list_pictures(".") else None
