"""Finds a picture that is missing under its annotated name, and there under a form of the name."""

import os
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote


def find_other_form(path: Path) -> Path | None:
    """Returns the file that ``path`` seems to mean; ``None`` if it is there, or there is none.

    The forms: letters and accents in one character or two, another case (``.JPG``), ``%20`` for a
    blank, a backslash for a slash, a folder too many.
    """
    if os.path.isfile(path):
        return None
    for candidate in _list_candidates(path):
        if "\0" not in str(candidate) and os.path.isfile(candidate):
            return candidate
    entries = _list_folder(path.parent)
    name = entries.get(_fold(path.name))
    return None if name is None else path.parent / name


def say_other_form(path: Path) -> str:
    """Returns in brackets under which name a missing file is there; empty if it is not."""
    other = find_other_form(path)
    return "" if other is None else f" (there is {other.parent.name}/{other.name})"


def _list_candidates(path: Path) -> Iterator[Path]:
    """Yields the file under other spellings of its name."""
    yield path.parent / unquote(path.name)  # with_name refuses "/" and "%2F"
    yield path.parent / path.name.replace("\\", "/")
    yield path.parent / path.name.replace("\\", "/").rpartition("/")[2]
    yield path.parent.parent / path.name


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name)).casefold()


@lru_cache(maxsize=8)
def _list_folder(folder: Path) -> dict[str, str]:
    """Returns the simplest form of each name -> the name, of the files in a folder."""
    try:
        return {_fold(name): name for name in os.listdir(folder)}
    except (OSError, ValueError):
        return {}
