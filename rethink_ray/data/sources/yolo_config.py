"""Reads what a YOLO data set says about itself: names of classes, and the pictures of each split.

``data.yaml`` says it in the forms that Ultralytics, Roboflow and CVAT write. A folder without one
has ``obj.data`` (Darknet, CVAT) or ``classes.txt`` (Label Studio, labelImg).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from rethink_ray.data.sources.values import is_text, show
from rethink_ray.spec.errors import DataError, explain

YOLO_SPLIT_KEYS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Split -> its keys in ``data.yaml``, and its folders where there is no such file."""
LIST_SUFFIX = ".txt"
FIRST_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")
MEND_YAML = "It reads {train: images/train, val: images/val, names: [cat, dog]}, a key a line."
YOLO_LAYOUT = "data.yaml (names, train, val), or classes.txt beside images/ and labels/"


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloConfig:
    """A YOLO data set as its own file describes it."""

    file: Path
    """The file that names the classes."""
    folder: Path
    """The folder that pictures are named relative to."""
    names: Mapping[int, str]
    """Class id -> name, in the order of ids."""
    splits: Mapping[str, tuple[Path, ...]]
    """Split -> folders of pictures, and text files that list pictures."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Split that the file names -> why the data set does not have it."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of keypoints, and of values of each: 2, or 3 with a visibility; ``None``: none."""
    keypoint_names: tuple[str, ...] = ()


def find_yolo_file(root: Path) -> Path | None:
    """Returns the file that describes a YOLO data set; ``None`` if the folder has none.

    Args:
        root: the folder, or the file itself.

    Raises:
        DataError: several YAML files could be the one.
    """
    if root.is_file():
        return root
    first = [root / name for name in FIRST_YAML_NAMES if (root / name).is_file()]
    others = [path for path in sorted(root.glob("*.y*ml")) if path not in first]
    usable = [path for path in (*first, *others) if is_yolo_yaml(path)]
    if first and usable[:1] == first[:1]:
        return first[0]
    if len(usable) > 1:
        names = ", ".join(path.name for path in usable)
        must = "must have one file that describes a YOLO data set, or one called data.yaml"
        raise DataError(
            explain(str(root), must, names, "Name the file itself in place of the folder.")
        )
    lists = [*sorted(root.glob("*.data")), *(root / name for name in CLASS_LISTS)]
    return next((path for path in (*usable, *lists) if path.is_file()), None)


def is_yolo_yaml(path: Path) -> bool:
    """Returns whether a file is a ``data.yaml``: it names classes, and a split or a folder."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        tree = read_yolo_yaml(path)
    except DataError:
        return False
    splits = {key for keys in YOLO_SPLIT_KEYS.values() for key in keys} | {"path"}
    return not {"names", "nc"}.isdisjoint(tree) and not splits.isdisjoint(tree)


def read_yolo_config(root: Path) -> YoloConfig:
    """Returns what a YOLO data set says about itself.

    Args:
        root: its folder, or the file that describes it.

    Raises:
        DataError: there is no such file, or it names no class or no training pictures.
    """
    path = find_yolo_file(root)
    if path is None:
        shown = "no such file" if root.is_dir() else "no folder and no file"
        raise DataError(explain(str(root), f"must hold {YOLO_LAYOUT}", shown, "Check data.root."))
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path)
    return _read_data_file(path) if path.suffix == ".data" else _read_class_list(root, path)


def _read_yaml(path: Path) -> YoloConfig:
    tree = read_yolo_yaml(path)
    stated = {
        split: _as_list(next((tree[key] for key in keys if tree.get(key)), []))
        for split, keys in YOLO_SPLIT_KEYS.items()
    }
    folder = _choose_folder(path, str(tree.get("path") or ""), stated["train"])
    splits = {s: _find_entries(folder, entries) for s, entries in stated.items() if entries}
    shape = _read_keypoint_shape(path, tree.get("kpt_shape"))
    return _build_config(
        path,
        folder,
        names=_read_names(path, tree),
        splits=splits,
        keypoint_shape=shape,
        keypoint_names=_read_keypoint_names(tree.get("kpt_names"), shape),
    )


def read_yolo_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping in a file; every value stays the text that the file has.

    So a class may be called ``yes``, ``007`` or ``1e3``.

    Raises:
        DataError: it is no YAML, or no mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(explain(str(path), "must be a YAML file", str(error), MEND_YAML)) from None
    if not isinstance(tree, dict):
        must = "must be a mapping of keys to values"
        raise DataError(explain(str(path), must, tree, MEND_YAML))
    return tree


def _as_list(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _read_names(path: Path, tree: Mapping[str, Any]) -> dict[int, str]:
    """Returns class id -> name of a list, a mapping, or a mere number of classes.

    Raises:
        DataError: no class is named, a name stands for two classes, or ``nc`` is another number.
    """
    stated, count = tree.get("names"), _read_count(tree.get("nc"))
    if isinstance(stated, list):
        names = dict(enumerate(map(str, stated)))
    elif isinstance(stated, dict):
        if not all(_read_count(key) is not None for key in stated):
            must = "must map each class id, a whole number from 0, to a name"
            remedy = "For instance names: {0: cat, 1: dog}, or names: [cat, dog]."
            raise DataError(explain(f"{path}: names", must, show(stated), remedy))
        names = {int(key): str(name) for key, name in stated.items()}
    else:
        names = {number: f"class_{number}" for number in range(count or 0)}
    names = {key: names[key].strip() for key in sorted(names)}
    _require_plain_names(path, names)
    if count is not None and count != len(names):
        must = f"must be the number of names, {len(names)}"
        raise DataError(explain(f"{path}: nc", must, count, "Correct nc, or name every class."))
    return names


def _require_plain_names(path: Path, names: Mapping[int, str]) -> None:
    texts = list(names.values())
    if not texts or not all(name and is_text(name) for name in texts):
        must = "must give each class a name"
        raise DataError(explain(f"{path}: names", must, texts, "Name every class in its order."))
    doubled = sorted({name for name in texts if texts.count(name) > 1})
    if doubled:
        must = "must name each class once"
        remedy = "Make the names distinct, or give the labels of both one class id."
        raise DataError(explain(f"{path}: names", must, doubled, remedy))


def _read_count(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None


def _read_keypoint_shape(path: Path, value: Any) -> tuple[int, int] | None:
    """Returns the number of keypoints, and of values of each; ``None`` if there are none."""
    if not value:
        return None
    sides = [_read_count(side) for side in value] if isinstance(value, list) else []
    if len(sides) != 2 or not sides[0] or sides[1] not in (2, 3):
        must = "must be [number of keypoints, 2 or 3 values of each]"
        remedy = "For instance kpt_shape: [17, 3]; leave it out where objects have none."
        raise DataError(explain(f"{path}: kpt_shape", must, value, remedy))
    return sides[0], sides[1]


def _read_keypoint_names(value: Any, shape: tuple[int, int] | None) -> tuple[str, ...]:
    """Returns the names that all classes share; none if the file does not say, or they differ."""
    lists = list(value.values()) if isinstance(value, dict) else [value]
    names = {tuple(map(str, one)) for one in lists if isinstance(one, list)}
    if shape is None or len(names) != 1 or len(next(iter(names))) != shape[0]:
        return ()
    return names.pop()


def _choose_folder(path: Path, stated: str, train: list[str]) -> Path:
    """Returns the folder that ``path`` in ``data.yaml`` means; the file's own if it is not here.

    A file that was written on another machine states a folder of that machine.
    """
    here = path.parent
    for folder in dict.fromkeys((here / stated, Path(stated or here))):
        if folder.is_dir() and any((folder / entry).exists() for entry in train):
            return folder
    return here


def _find_entries(folder: Path, entries: list[str]) -> tuple[Path, ...]:
    """Returns the folders and lists of a split that exist."""
    located = (find_below(folder, entry) for entry in entries if entry)
    return tuple(path for path in located if path is not None)


def find_below(folder: Path, entry: str) -> Path | None:
    """Returns the file or folder that a path means, if need be without its first parts.

    Roboflow writes ``../train/images`` for ``train/images``, CVAT ``data/images/a.jpg`` for
    ``images/a.jpg``, and other programs the whole path on the machine where they ran. A folder is
    not found by its last part alone: ``images`` is another one than ``valid/images``.
    """
    text = entry.strip().replace("\\", "/")
    if "\0" in text or not is_text(text):
        return None
    if os.path.exists(folder / text):
        return folder / text
    parts = [part for part in PurePosixPath(text).parts if part not in ("/", "..", ".")]
    for start in range(len(parts)):
        path, is_short = folder.joinpath(*parts[start:]), 0 < start == len(parts) - 1
        if os.path.isfile(path) or (os.path.isdir(path) and not is_short):
            return path
    return None


def _read_data_file(path: Path) -> YoloConfig:
    """Reads Darknet's ``obj.data``: lines ``names = obj.names``, ``train = train.txt``."""
    lines = (line.partition("=") for line in _read_lines(path))
    stated = {key.strip(): value.strip() for key, _, value in lines}
    folder, names_file = path.parent, find_below(path.parent, stated.get("names", "obj.names"))
    if names_file is None:
        must = "must name the file with the names of the classes"
        remedy = "Write names = obj.names, and a class on each line of that file."
        raise DataError(explain(f"{path}: names", must, stated.get("names"), remedy))
    splits = {
        split: _find_entries(folder, [stated[key] for key in keys if key in stated])
        for split, keys in YOLO_SPLIT_KEYS.items()
        if not stated.keys().isdisjoint(keys)
    }
    return _build_config(path, folder, names=_list_names(names_file), splits=splits)


def _read_class_list(root: Path, path: Path) -> YoloConfig:
    """Reads a folder without ``data.yaml``, whose splits are its folders."""
    splits: dict[str, tuple[Path, ...]] = {}
    for split, words in YOLO_SPLIT_KEYS.items():
        folders = [root / sub for word in words for sub in (f"images/{word}", f"{word}/images")]
        lists = [root / f"{word}{LIST_SUFFIX}" for word in words]
        there = [entry for entry in (*folders, *lists) if entry.exists()]
        splits |= {split: tuple(there[:1])} if there else {}
    if "train" not in splits:
        splits = {"train": (root / "images" if (root / "images").is_dir() else root,)}
    return _build_config(path, root, names=_list_names(path), splits=splits)


def _list_names(path: Path) -> dict[int, str]:
    names = dict(enumerate(line.strip() for line in _read_lines(path)))
    _require_plain_names(path, names)
    return names


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        must, remedy = "must be a text file in UTF-8", "Save it as UTF-8, or copy it again."
        raise DataError(explain(str(path), must, str(error), remedy)) from None
    return [line for line in lines if line.strip()]


def _build_config(
    path: Path,
    folder: Path,
    *,
    names: Mapping[int, str],
    splits: Mapping[str, tuple[Path, ...]],
    keypoint_shape: tuple[int, int] | None = None,
    keypoint_names: tuple[str, ...] = (),
) -> YoloConfig:
    """Returns the data set without splits that are not there, or repeat another one."""
    usable: dict[str, tuple[Path, ...]] = {}
    absent: dict[str, str] = {}
    for split, entries in splits.items():
        keys = [os.path.realpath(entry) for entry in entries]
        twin = next((s for s, e in usable.items() if [*map(os.path.realpath, e)] == keys), "")
        if not entries:
            absent[split] = "names no folder or list that is there"
        elif twin:
            absent[split] = f"names the pictures of {twin}"
        else:
            usable[split] = entries
    if "train" not in usable:
        must = "must name training pictures: a folder, or a text file that lists pictures"
        remedy = f"Paths start at {folder}. Correct train (and path) in this file."
        raise DataError(explain(f"{path}: train", must, "none that are there", remedy))
    return YoloConfig(
        file=path,
        folder=folder,
        names=names,
        splits=usable,
        absent=absent,
        keypoint_shape=keypoint_shape,
        keypoint_names=keypoint_names,
    )
