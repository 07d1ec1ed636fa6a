"""Recognises COCO's JSON: COCO's and LVIS's own folders, Roboflow's, CVAT's and Label Studio's."""

import json
import mmap
import re
from itertools import islice
from pathlib import Path

from rethink_ray.data.layouts.recognised import RecognisedData
from rethink_ray.data.layouts.tree import FolderTree, name_split
from rethink_ray.data.sources.coco_categories import not_coco_error, not_utf8_error
from rethink_ray.data.sources.values import read_file_name
from rethink_ray.spec.errors import DataError, explain

COCO_FORM = (
    "COCO (a .json with images, annotations and categories: annotations/instances_*.json, "
    "_annotations.coco.json beside its pictures, result.json)"
)
JSON_PEEK_BYTES = 1_000_000
"""So much of a JSON file is read to see whether it is COCO's."""
NUM_LOOKED_UP = 50
"""Names of pictures that are looked for."""
OTHER_COCO_FILES = ("captions", "image_info", "panoptic", "stuff", "person_keypoints")
"""Beginnings of COCO's files beside ``instances``; only ``person_keypoints`` may stand alone."""
_KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_FIRST_KEY = re.compile(
    rb'\s*(\xef\xbb\xbf)?\{\s*"(info|licenses|images|annotations|categories|type)"'
)
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def recognise_coco(tree: FolderTree) -> RecognisedData | None:
    """Returns a COCO data set; ``None`` if no JSON file of the folder is COCO's.

    Raises:
        DataError: two files are of one split, or none of the pictures of a file is there.
    """
    files = [
        (folder, name)
        for folder in tree.list_folders(".json")
        for name in tree.list_files(folder, ".json")
        if _is_coco(tree.path_of(folder, name))
    ]
    if not files:
        return None
    if layout := _name_layout(tree):
        return layout
    by_split = _assign_splits(tree, files)
    dataset = {
        split: {
            "images": _find_pictures(tree, split, *by_split[split]),
            "annotations": _join(*by_split[split]),
        }
        for split in ("train", "val", "test")
        if split in by_split
    }
    names = ", ".join(one["annotations"] for one in dataset.values())
    return RecognisedData(
        format=f"COCO ({names})",
        data={"dataset": dataset, "root": str(tree.root)},
        splits=tuple(dataset),
        notes=() if len(dataset) > 1 else ("one file of annotations: one split, train",),
    )


def _name_layout(tree: FolderTree) -> RecognisedData | None:
    """Returns the layout of COCO 2017 or LVIS, whose test labels are not public."""
    listed = set(tree.list_files("annotations", ".json"))
    layouts = {"coco": "instances_{}2017.json", "lvis": "lvis_v1_{}.json"}
    for dataset, name in layouts.items():
        splits = [s for s in ("train", "val") if name.format(s) in listed]
        if len(splits) == 2 and all(tree.has_folder(f"{split}2017") for split in splits):
            return RecognisedData(
                format=f"{dataset.upper()} in its own layout",
                data={"dataset": dataset, "root": str(tree.root)},
                splits=tuple(splits),
                notes=(),
            )
    return None


def _is_coco(path: Path) -> bool:
    """Returns whether a JSON file begins as COCO's do; small files must have all three lists."""
    with path.open("rb") as file:
        begin = file.read(JSON_PEEK_BYTES)
        is_whole = not file.read(1)
    if _FIRST_KEY.match(begin) is None:
        return False
    keys = {*_KEY.findall(begin)}
    return len(keys) == 3 if is_whole else bool(keys)


def find_partial(tree: FolderTree) -> str:
    """Returns a clause about a JSON file with pictures or objects that is no whole COCO file.

    Empty if there is none.
    """
    for folder in tree.list_folders(".json"):
        for name in tree.list_files(folder, ".json"):
            with tree.path_of(folder, name).open("rb") as file:
                begin = file.read(JSON_PEEK_BYTES)
            keys = {key.decode() for key in _KEY.findall(begin)}
            if _FIRST_KEY.match(begin) and keys - {"categories"}:
                missing = " and no ".join(sorted({"images", "annotations", "categories"} - keys))
                return f"{_join(folder, name)} begins as COCO's files do, but has no {missing}"
    return ""


def _assign_splits(tree: FolderTree, files: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Returns split -> folder and name of its file; a single file is train."""
    main = [file for file in files if not file[1].startswith(OTHER_COCO_FILES)]
    files = main or [file for file in files if file[1].startswith("person_keypoints")] or files
    if len(files) == 1:
        return {"train": files[0]}
    by_split: dict[str, list[tuple[str, str]]] = {}
    for folder, name in files:
        split = name_split(name) or name_split(folder.rpartition("/")[2]) or name_split(folder)
        by_split.setdefault(split, []).append((folder, name))
    if (
        "" in by_split
        or "train" not in by_split
        or any(len(some) > 1 for some in by_split.values())
    ):
        must = "must have one JSON file for each of train, val and test, named after it"
        shown = ", ".join(_join(*file) for file in files[:6])
        remedy = "Name the files in a study file: data.dataset (docs/data.md)."
        raise DataError(explain(str(tree.root), must, shown, remedy))
    return {split: some[0] for split, some in by_split.items()}


def _find_pictures(tree: FolderTree, split: str, folder: str, name: str) -> str:
    """Returns the folder that the names of pictures in a JSON file are relative to.

    Of folders that hold as many of them, the one beside the file is taken, then one that is named
    after the split: splits may each number their pictures from 1.

    Raises:
        DataError: none of the first pictures is there.
    """
    path = tree.path_of(folder, name)
    names = _read_first_names(path)
    best, most = "", 0

    def rank(other: str) -> tuple[bool, bool, int, str]:
        return (other != folder, name_split(other) != split, len(other), other)

    for other in sorted(tree.files, key=rank):
        num = sum(tree.path_of(other, one).is_file() for one in names)
        if num > most:
            best, most = other, num
    if not best:
        must = "must name pictures of this folder (file_name)"
        shown = f"{names[0] if names else 'none'}, which is nowhere in it"
        remedy = "Put the pictures into a folder called images, beside this file."
        raise DataError(explain(str(path), must, shown, remedy))
    return best


def _read_first_names(path: Path) -> list[str]:
    """Returns the first names of pictures in a JSON file, which may stand behind all objects.

    Raises:
        DataError: they are not in UTF-8, or no JSON.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        texts = [match[1] for match in islice(_FILE_NAME.finditer(content), NUM_LOOKED_UP)]
    try:
        names = [json.loads(text) for text in texts]
    except UnicodeDecodeError as error:
        raise not_utf8_error(path, error) from None
    except ValueError as error:
        raise not_coco_error(path, f"no JSON: {error}") from None
    return [turned for name in names if (turned := read_file_name(name).replace("\\", "/"))]


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
