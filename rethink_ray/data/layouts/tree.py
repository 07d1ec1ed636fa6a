"""Lists a folder with its sub-folders once, by kinds of files, for all recognisers."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rethink_ray.data.sources.raw import is_hidden
from rethink_ray.data.sources.values import show_path
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES

MOST_LEVELS = 6
"""Folders inside each other that are looked at."""
SHOWN_FOLDERS = 8
"""Folders that a message describes."""
SPLIT_WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Split -> the words that name it in the names of folders and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTree:
    """A folder and the files below it, without hidden ones."""

    root: Path
    files: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Folder, relative to the root (``.`` is the root) -> suffix in small letters -> its files."""

    def list_folders(self, *suffixes: str) -> list[str]:
        """Returns the folders that hold a file with one of these suffixes."""
        return [
            folder for folder, kinds in self.files.items() if not kinds.keys().isdisjoint(suffixes)
        ]

    def list_files(self, folder: str, *suffixes: str) -> list[str]:
        """Returns the names of a folder's files with these suffixes, sorted."""
        kinds = self.files.get(folder, {})
        return sorted(name for suffix in suffixes for name in kinds.get(suffix, ()))

    def list_pictures(self, folder: str) -> list[str]:
        """Returns the names of a folder's picture files, sorted."""
        return self.list_files(folder, *IMAGE_SUFFIXES)

    def has_folder(self, folder: str) -> bool:
        """Returns whether there is such a folder below the root."""
        return folder in self.files

    def path_of(self, folder: str, name: str = "") -> Path:
        """Returns the path of a folder, or of a file in it."""
        return self.root / folder / name if name else self.root / folder

    def describe(self) -> str:
        """Returns in words which files there are, folder by folder."""
        lines = [
            f"{_name(folder)} with {_count(kinds)}" for folder, kinds in self.files.items() if kinds
        ]
        rest = len(lines) - SHOWN_FOLDERS
        more = [f"{rest} more folders"] if rest > 0 else []
        return "; ".join([*lines[:SHOWN_FOLDERS], *more]) or "no file"


def scan_folder(root: Path) -> FolderTree:
    """Returns the files of a folder and of the folders inside it."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for folder, names in _walk(root, PurePosixPath(".")):
        kinds: dict[str, list[str]] = {}
        for name in names:
            kinds.setdefault(os.path.splitext(name)[1].lower(), []).append(name)
        files[str(folder)] = {suffix: tuple(sorted(group)) for suffix, group in kinds.items()}
    return FolderTree(root=root, files=files)


def name_split(name: str) -> str:
    """Returns the split that a word of a name stands for: ``valid-2017`` -> val; empty for none."""
    words = re.findall(r"[a-z]+", name.lower())
    for split, of_split in SPLIT_WORDS.items():
        if not set(of_split).isdisjoint(words):
            return split
    return ""


def _walk(root: Path, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """Yields each folder with the names of its files, the root first, in the order of names.

    A folder inside that may not be entered counts as empty, as ``lost+found`` of a disk. Links to
    nothing are left out.
    """
    names, inner = list[str](), list[str]()
    is_root = not folder.parts
    guard: AbstractContextManager[None] = nullcontext() if is_root else suppress(PermissionError)
    with guard, os.scandir(root / folder) as entries:
        for entry in filter(_is_shown, entries):
            (inner if entry.is_dir() else names).append(entry.name)
    yield folder, names
    if len(folder.parts) < MOST_LEVELS:
        for name in sorted(inner):
            yield from _walk(root, folder / name)


def _is_shown(entry: os.DirEntry[str]) -> bool:
    return not is_hidden(entry.name) and (entry.is_dir() or entry.is_file())


def _name(folder: str) -> str:
    return "the folder itself" if folder == "." else f"{show_path(folder)}/"


def _count(kinds: Mapping[str, tuple[str, ...]]) -> str:
    num_of = Counter({suffix: len(names) for suffix, names in kinds.items()})
    most = num_of.most_common(4)
    return ", ".join(f"{num} {suffix or 'files without a suffix'}" for suffix, num in most)
