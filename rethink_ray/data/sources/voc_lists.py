"""Reads VOC's lists of a split: one file stem per line, or a stem and a label -1, 0 or 1."""

import os
from collections.abc import Collection
from pathlib import Path

from rethink_ray.data.sources.values import read_file_name
from rethink_ray.spec.errors import DataError, explain

LABELS = ("-1", "0", "1")
"""In the list of one class: its image lacks the class, shows difficult objects of it, shows it."""


def read_stems(listed: Path, annotations: Path, xml_stems: Collection[str]) -> list[str]:
    """Returns the file stems of a list, sorted, each once.

    Stems may have blanks: a last column is a label only if it is -1, 0 or 1, and if there is no
    XML file named after the whole line.

    Args:
        listed: the list.
        annotations: the folder of the XML files.
        xml_stems: the stems of the XML files in it, as texts that a list can have.

    Raises:
        DataError: the list is no text, or a line is no name of a file.
    """
    try:
        lines = _decode(listed.read_bytes()).splitlines()
    except UnicodeDecodeError as error:
        must, shown = "must be text in UTF-8", f"byte {error.start} in another encoding"
        remedy = "Save the list as UTF-8: its names may be in GBK or Latin-1."
        raise DataError(explain(str(listed), must, shown, remedy)) from error
    except OSError as error:
        must = "must be a text file with one file stem per line"
        remedy = "Check data.root, and that the file can be read."
        raise DataError(explain(str(listed), must, str(error), remedy)) from error
    stems = {_find_stem(line.strip(), annotations, xml_stems) for line in lines if line.strip()}
    for stem in sorted(stems):
        if not read_file_name(f"{stem}.xml"):
            must = "must name one file stem per line"
            raise DataError(explain(str(listed), must, stem[:100], "Check that it is a text file."))
    return sorted(stems)


def _decode(content: bytes) -> str:
    """Decodes UTF-8, or what the byte order mark of a Windows editor says."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def list_xml_names(folder: Path) -> list[str]:
    """Returns the names of files that end in ``.xml``, in small or capital letters, sorted."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if _is_xml(name))


def get_stem(name: str) -> str:
    """Returns the name of a file without its suffix: ``Path.stem`` in a twentieth of the time."""
    return name.rpartition(".")[0] or name


def _is_xml(name: str) -> bool:
    """Returns whether a name ends in ``.xml``; a hidden file ``.xml`` has no suffix."""
    return name.lower().endswith(".xml") and get_stem(name) != name


def _find_stem(line: str, annotations: Path, xml_stems: Collection[str]) -> str:
    """Returns the stem that a line names: without its label, and without a suffix."""
    if _has_xml(line, annotations, xml_stems):
        return line
    stem, _, label = line.replace("\t", " ").rpartition(" ")
    if label in LABELS and stem.strip():
        return stem.strip()
    bare = Path(line).stem if Path(line).suffix.lower() in (".xml", ".jpg", ".jpeg", ".png") else ""
    return bare if bare and _has_xml(bare, annotations, xml_stems) else line


def _has_xml(stem: str, annotations: Path, xml_stems: Collection[str]) -> bool:
    if "/" not in stem:
        return stem in xml_stems
    return bool(read_file_name(f"{stem}.xml")) and (annotations / f"{stem}.xml").is_file()
