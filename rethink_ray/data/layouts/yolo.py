"""Recognises a YOLO data set: ``data.yaml``, Darknet's ``obj.data``, or a list of class names."""

import re
from pathlib import Path

from rethink_ray.data.layouts.recognised import RecognisedData
from rethink_ray.data.layouts.tree import FolderTree, name_split
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.data.sources.voc_lists import get_stem
from rethink_ray.data.sources.yolo import YoloSource
from rethink_ray.data.sources.yolo_config import (
    FIRST_YAML_NAMES,
    YOLO_SPLIT_KEYS,
    find_yolo_file,
    read_yolo_config,
    read_yolo_yaml,
)
from rethink_ray.spec.errors import DataError

_BOX_LINE = re.compile(r"\d+(\s+-?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?){4,}\s*", re.ASCII | re.I)
YOLO_FORM = "YOLO (data.yaml; or obj.data or classes.txt, with a .txt of labels per picture)"


def recognise_yolo(tree: FolderTree) -> RecognisedData | None:
    """Returns a YOLO data set; ``None`` if no file of the folder itself names its classes.

    Args:
        tree: the folder. Its root may be the ``data.yaml`` itself.

    Raises:
        DataError: such a file is there, but has no training pictures with labels.
    """
    path = find_yolo_file(tree.root)
    if path is None:
        return None
    config = read_yolo_config(path)
    is_yaml = path.suffix in (".yaml", ".yml")
    sources = {
        split: YoloSource(config=config, entries=entries)
        for split, entries in config.splits.items()
    }
    if not is_yaml and not sources["train"].has_labels():
        return None  # a list of classes alone may belong to another format
    labelled = [split for split in sources if split == "train" or sources[split].has_labels()]
    notes = [
        f"{path.name}: {split} {why}, so it is no split" for split, why in config.absent.items()
    ]
    notes += [
        f"{path.name}: no picture of {split} has a label file, so it is no split"
        for split in sources
        if split not in labelled
    ]
    stands_for_folder = tree.root.is_file() and _is_only_file(path)
    root = path.parent if stands_for_folder else tree.root
    return RecognisedData(
        format=f"YOLO ({path.name})",
        data={"dataset": "yolo", "root": str(root)},
        splits=tuple(labelled),
        notes=tuple(notes),
    )


def _is_only_file(path: Path) -> bool:
    """Returns whether the folder of a ``data.yaml`` means this file, so that either names it."""
    try:
        return find_yolo_file(path.parent) == path
    except DataError:
        return False


def find_damaged_yaml(root: Path) -> DataError | None:
    """Returns the error about a ``data.yaml`` that is no YAML; ``None`` if there is no such one."""
    for path in (root / name for name in FIRST_YAML_NAMES):
        if path.is_file():
            try:
                read_yolo_yaml(path)
            except DataError as error:
                return error
    return None


def suggest_yaml(tree: FolderTree) -> str:
    """Returns a ``data.yaml`` for a folder of YOLO labels, in one line, with made-up classes."""
    folders = {name_split(folder): folder for folder in tree.list_folders(*IMAGE_SUFFIXES)}
    splits = [split for split in YOLO_SPLIT_KEYS if split in folders]
    if "train" not in splits:
        return "{train: images, names: [cat, dog]}"
    return f"{{{', '.join(f'{one}: {folders[one]}' for one in splits)}, names: [cat, dog]}}"


def has_label_lines(tree: FolderTree) -> bool:
    """Returns whether a text file in a folder ``labels``, or beside a picture, has YOLO's lines."""
    for folder in tree.list_folders(".txt"):
        stems = {get_stem(name) for name in tree.list_pictures(folder)}
        for name in tree.list_files(folder, ".txt"):
            if get_stem(name) in stems or "labels" in folder.split("/"):
                path = tree.path_of(folder, name)
                if text := path.read_text(encoding="utf-8-sig", errors="replace").strip():
                    return _BOX_LINE.fullmatch(text.splitlines()[0]) is not None
    return False
