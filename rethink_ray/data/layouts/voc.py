"""Recognises PASCAL VOC: XML files apart from or beside their pictures, with or without lists."""

import re
from collections.abc import Iterator
from typing import Any

from rethink_ray.data.layouts.recognised import RecognisedData
from rethink_ray.data.layouts.tree import SPLIT_WORDS, FolderTree, name_split
from rethink_ray.data.sources.voc_lists import get_stem
from rethink_ray.spec.errors import DataError, explain

VOC_FORM = "PASCAL VOC (one .xml with <annotation> per picture, beside it or in another folder)"
VOC_YEARS = ("VOC2007", "VOC2012", "VOCdevkit/VOC2007", "VOCdevkit/VOC2012")
VOC_LISTS = "ImageSets/Main"
NO_LISTS = f"no lists of splits ({VOC_LISTS}): one split, train"
XML_PEEK_BYTES = 4096
"""So much of an XML file is read to see whether it is VOC's."""
_ROOT = re.compile(rb"<annotation[\s>]", re.IGNORECASE)


def recognise_voc(tree: FolderTree) -> RecognisedData | None:
    """Returns a VOC data set; ``None`` if no folder holds VOC's XML files.

    Raises:
        DataError: XML files lie in several folders that do not say which split they are, or have
            no pictures.
    """
    years = [year for year in VOC_YEARS if tree.list_files(f"{year}/Annotations", ".xml")]
    if years and not tree.list_files("Annotations", ".xml"):
        return _recognise_years(tree, years)
    folders = [folder for folder in tree.list_folders(".xml") if _is_voc(tree, folder)]
    if not folders:
        return None
    if folders == ["Annotations"] and tree.list_pictures("JPEGImages"):
        return _recognise_lists(tree)
    files = dict(_pair_folders(tree, folders))
    notes = () if len(files) > 1 else (NO_LISTS,)
    where = "beside" if files["train"]["images"] == files["train"]["annotations"] else "apart from"
    return RecognisedData(
        format=f"PASCAL VOC (XML {where} the pictures)",
        data={"dataset": files, "root": str(tree.root)},
        splits=tuple(files),
        notes=notes,
    )


def _recognise_years(tree: FolderTree, years: list[str]) -> RecognisedData:
    lists = {split for year in years for split in _list_splits(tree, f"{year}/{VOC_LISTS}")}
    splits = tuple(split for split in ("train", "val", "test") if split in lists)
    if "train" not in splits:
        must = f"must have a list {VOC_LISTS}/train.txt in one of its years"
        shown = ", ".join(sorted(lists)) or "no list"
        remedy = "Rename one, or name it in a study file: data.image_sets (docs/data.md)."
        raise DataError(explain(str(tree.root), must, shown, remedy))
    return RecognisedData(
        format=f"PASCAL VOC ({', '.join(years)})",
        data={"dataset": "voc", "root": str(tree.root)},
        splits=splits,
        notes=(),
    )


def _recognise_lists(tree: FolderTree) -> RecognisedData:
    """Returns a folder with ``Annotations`` and ``JPEGImages``, in VOC's own layout.

    Raises:
        DataError: none of its lists is of train.
    """
    lists = _list_splits(tree, VOC_LISTS)
    chosen = _choose_lists(lists)
    if lists and "train" not in chosen:
        must = f"must have a list {VOC_LISTS}/train.txt, or trainval.txt"
        shown, remedy = ", ".join(lists[:12]), "Rename one, or name it in data.image_sets."
        raise DataError(explain(str(tree.root), must, shown, remedy))
    dataset: Any = "voc"
    notes = [] if lists else [NO_LISTS]
    if any(split != name for split, name in chosen.items()):
        notes = [f"{split} is the list {name}.txt" for split, name in chosen.items()]
        files = {"images": "JPEGImages", "annotations": "Annotations"}
        dataset = {
            split: files | {"image_set": f"{VOC_LISTS}/{name}.txt"}
            for split, name in chosen.items()
        }
    return RecognisedData(
        format="PASCAL VOC (Annotations/, JPEGImages/)",
        data={"dataset": dataset, "root": str(tree.root)},
        splits=tuple(chosen) or ("train",),
        notes=tuple(notes),
    )


def _choose_lists(lists: list[str]) -> dict[str, str]:
    """Returns split -> the list that is it, of train, val and test.

    The only list is train, whatever its name: CVAT calls it ``default``. ``trainval`` has the
    pictures of val too, so there is no val beside it.
    """
    chosen: dict[str, str] = {}
    for split, words in SPLIT_WORDS.items():
        names = [name for word in words for name in lists if name.lower() == word]
        chosen |= {split: names[0]} if names else {}
    if "train" not in chosen and "default" in lists:
        chosen = {"train": "default", **chosen}
    if len(lists) == 1:
        chosen = {"train": lists[0]}
    if chosen.get("train", "").lower() == "trainval":
        chosen.pop("val", None)
    return chosen


def _list_splits(tree: FolderTree, folder: str) -> list[str]:
    """Returns the names of the lists in a folder that name a picture."""
    names = tree.list_files(folder, ".txt")
    return [get_stem(name) for name in names if tree.path_of(folder, name).stat().st_size > 1]


def _is_voc(tree: FolderTree, folder: str) -> bool:
    """Returns whether one of the first XML files of a folder is VOC's."""
    for name in tree.list_files(folder, ".xml")[:3]:
        with tree.path_of(folder, name).open("rb") as file:
            if _ROOT.search(file.read(XML_PEEK_BYTES)):
                return True
    return False


def _pair_folders(tree: FolderTree, folders: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each split with the folders of its pictures and its XML files.

    Raises:
        DataError: two folders are of one split, or one has no pictures.
    """
    by_split: dict[str, list[str]] = {}
    for folder in folders:
        by_split.setdefault(name_split(folder) if len(folders) > 1 else "train", []).append(folder)
    crowded = [folder for split, some in by_split.items() for folder in some if len(some) > 1]
    if crowded or "train" not in by_split or "" in by_split:
        must = "must have the XML files of each split in one folder, named train, valid or test"
        shown = ", ".join(folders[:6]) + (" and more" if len(folders) > 6 else "")
        remedy = "Name the folders in a study file: data.dataset (docs/data.md)."
        raise DataError(explain(str(tree.root), must, shown, remedy))
    for split in ("train", "val", "test"):
        for folder in by_split.get(split, []):
            yield split, {"images": _find_pictures(tree, folder, split), "annotations": folder}


def _find_pictures(tree: FolderTree, folder: str, split: str) -> str:
    """Returns the folder that has the pictures of a folder's XML files.

    Of folders with half as many of them as any other or more, the one beside the XML files is
    taken, then one that is named after the split, then the fullest: splits may each number their
    pictures from 1.

    Raises:
        DataError: no folder has any.
    """
    stems = {get_stem(name) for name in tree.list_files(folder, ".xml")}
    num_of = {
        other: len(stems & {get_stem(name) for name in tree.list_pictures(other)})
        for other in tree.files
    }
    most = max(num_of.values())
    if not most:
        must = "must have the pictures of its XML files, under the same names"
        shown = f"{folder}/ with {len(stems)} XML files, and {tree.describe()}"
        remedy = "Put a.jpg beside a.xml, or all pictures into a folder called images."
        raise DataError(explain(str(tree.root), must, shown, remedy))

    def rank(other: str) -> tuple[bool, bool, int, str]:
        return (other != folder, name_split(other) != split, -num_of[other], other)

    return min((other for other, num in num_of.items() if 2 * num >= most), key=rank)
