"""Reads YOLO: one text file of labels per picture, in a folder ``labels`` beside ``images``.

Labels are shares of the picture as it is shown, so the size of each picture is read too. A picture
without a label file, or with an empty one, has no object.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.data.cache import content_hash
from rethink_ray.data.contents import may_pass
from rethink_ray.data.inspection import inspect_pictures
from rethink_ray.data.sources.coco import PERSON_KEYPOINTS
from rethink_ray.data.sources.raw import (
    Problem,
    RawImage,
    RawObject,
    RawSplit,
    id_from_name,
    is_hidden,
)
from rethink_ray.data.sources.values import is_text, read_file_name, show_path
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.data.sources.voc_lists import get_stem
from rethink_ray.data.sources.yolo_config import CLASS_LISTS, YoloConfig, find_below
from rethink_ray.data.sources.yolo_lines import LabelFormat, read_label_lines
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts

PICTURE_FOLDER_NAMES = ("images", "JPEGImages")
"""Names of folders of pictures; ``labels`` in their place is the folder of the label files."""
LABEL_FOLDER_NAME = "labels"
MEND_LIST = "Save it as UTF-8 text with lines such as images/a.jpg, or name a folder instead."
NO_LABEL_FILES = tuple(Path(name).name for name in CLASS_LISTS)
"""Text files in a folder of labels that are the labels of no picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloSource:
    """One split of a YOLO data set."""

    config: YoloConfig
    entries: tuple[Path, ...]
    """Folders of pictures, and text files that list pictures."""
    salt: str = ""

    @property
    def name(self) -> str:
        """The folders and lists of the split."""
        return ", ".join(map(str, self.entries))

    def image_folders(self) -> str:
        """The folders and lists, and the folder that pictures are named relative to."""
        paths = (*self.entries, self.config.folder)
        return "\n".join(dict.fromkeys(str(path.absolute()) for path in paths))

    def hash_annotations(self) -> str:
        """Returns a hash of the names of classes and pictures, and of the label files."""
        problems: list[Problem] = []
        pictures = self._list_pictures(problems)
        shape = self.config.keypoint_shape
        stated = [list(self.config.names.items()), shape, self.config.keypoint_names]
        labels = content_hash(find_label_files(pictures))
        names = [self._name_picture(path) for path in pictures]
        left_out = [problem.example for problem in problems]
        return digest_of_parts("yolo", json.dumps(stated), labels, *names, *left_out)

    def read(self) -> RawSplit:
        """Returns all pictures with their objects; reads the size of each picture.

        Raises:
            DataError: a folder or a list is missing, or no picture has a label file.
        """
        problems: list[Problem] = []
        pictures = self._list_pictures(problems)
        facts = inspect_pictures(self.image_folders(), list(map(Path, pictures)))
        labels = LabelFormat(names=self.config.names, keypoint_shape=self.config.keypoint_shape)
        images: list[RawImage] = []
        has_labels = False
        label_files = find_label_files(pictures)
        for path, label_file, seen in zip(pictures, label_files, facts, strict=True):
            try:
                text = _read_text(label_file)
            except UnicodeDecodeError as error:
                example = f"{_show(label_file)}: byte {error.start} is no UTF-8"
                problems.append(Problem(kind="unreadable_annotation", example=example))
                has_labels = True
                continue
            objects: tuple[RawObject, ...] = ()
            has_labels |= text is not None
            if text and not isinstance(seen.header, str):
                size, where = seen.header.shown_wh, _show(label_file)
                objects = read_label_lines(text, where, size, labels, problems)
            images.append(self._build_image(path, label_file, objects))
        if not has_labels:
            raise self._no_labels_error(pictures)
        return RawSplit(
            categories=tuple(self.config.names.values()),
            images=tuple(images),
            problems=tuple(problems),
            keypoint_names=self._name_keypoints(),
        )

    def has_labels(self) -> bool:
        """Returns whether any picture of the split has a label file."""
        return any(path.is_file() for path in find_label_files(self._list_pictures([])))

    def _build_image(self, path: str, label_file: Path, objects: tuple[RawObject, ...]) -> RawImage:
        name = self._name_picture(path)
        return RawImage(
            image_id=id_from_name(name),
            file_name=name,
            path=Path(path),
            width=0,
            height=0,
            objects=objects,
            label_file=_show(label_file),
        )

    def _name_picture(self, path: str) -> str:
        """Returns the path inside the data set, which is the same on every machine."""
        inside = os.path.join(os.path.abspath(self.config.folder), "")
        if path.startswith(inside):  # relpath takes twenty times as long
            return path[len(inside) :]
        return Path(os.path.relpath(path, self.config.folder)).as_posix()

    def _name_keypoints(self) -> tuple[str, ...]:
        if self.config.keypoint_shape is None or self.config.keypoint_names:
            return self.config.keypoint_names
        num = self.config.keypoint_shape[0]
        is_person = num == len(PERSON_KEYPOINTS)
        return PERSON_KEYPOINTS if is_person else tuple(str(k) for k in range(num))

    def _list_pictures(self, problems: list[Problem]) -> list[str]:
        """Returns the paths of the split's pictures, each once, sorted.

        They are texts: a ``Path`` for each would take three times as long.

        Args:
            problems: to which pictures that are listed twice or have no usable name are added, and
                label files without a picture.
        """
        pictures: dict[str, None] = {}
        for entry in map(os.path.abspath, self.entries):
            if os.path.isdir(entry):
                listed = _list_folder(entry, problems)
                problems += _find_orphans(entry, listed)
            else:
                listed = _read_list(Path(entry), Path(os.path.abspath(self.config.folder)))
            for path in listed:
                if path in pictures:
                    name = self._name_picture(path)
                    problems.append(Problem(kind="duplicate_id", example=f"{name}, listed twice"))
                pictures.setdefault(path)
        return sorted(pictures)

    def _no_labels_error(self, pictures: list[str]) -> DataError:
        if not pictures:
            must, remedy = "must hold pictures", "Check data.root and the paths in data.yaml."
            return DataError(explain(self.name, must, "none", remedy))
        must = "must have a label file for at least one picture"
        example = find_label_files(pictures[:1])[0]
        shown = f"{len(pictures)} pictures without any, such as {example}"
        remedy = "Put the labels into a folder called labels, beside images."
        return DataError(explain(self.name, must, shown, remedy))


def find_label_files(pictures: Sequence[str]) -> list[Path]:
    """Returns where the labels of each picture lie, whether or not there is such a file."""
    places = [os.path.split(path) for path in pictures]
    folders = {folder: _find_label_folder(Path(folder)) for folder in {one for one, _ in places}}
    return [folders[folder] / f"{get_stem(name)}.txt" for folder, name in places]


def _find_label_folder(folder: Path) -> Path:
    """Returns the folder of the label files of the pictures in a folder.

    It is ``labels/train`` for ``images/train``, or ``labels``, whichever is there first; where
    there is neither, labels lie beside the pictures.
    """
    for position in reversed(range(len(folder.parts))):
        if folder.parts[position] in PICTURE_FOLDER_NAMES:
            labels, inner = (
                Path(*folder.parts[:position], LABEL_FOLDER_NAME),
                folder.parts[position + 1 :],
            )
            for depth in range(len(inner), -1, -1):
                if labels.joinpath(*inner[:depth]).is_dir():
                    return labels.joinpath(*inner[:depth])
    return folder


def _list_folder(folder: str, problems: list[Problem]) -> list[str]:
    """Returns every picture in a folder and in folders inside it, without hidden ones."""
    pictures = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in names:
            if not name.lower().endswith(IMAGE_SUFFIXES) or is_hidden(name):
                continue
            path = os.path.join(parent, name)
            if is_text(name):
                pictures.append(path)
            else:
                problems.append(Problem(kind="unreadable_image", example=show_path(path)))
    return pictures


def _find_orphans(folder: str, pictures: Sequence[str]) -> Iterator[Problem]:
    """Yields a problem for each label file whose picture is missing.

    Folders of labels that other folders of pictures share are not looked at.
    """
    stems: dict[str, set[str]] = {folder: set()}
    for path in pictures:
        parent, name = os.path.split(path)
        stems.setdefault(parent, set()).add(get_stem(name))
    for parent in sorted(stems):
        labels = _find_label_folder(Path(parent))
        if labels == Path(parent) or len(labels.parts) < len(Path(parent).parts):
            continue
        for name in sorted(os.listdir(labels)):
            stem, suffix = os.path.splitext(name)
            if suffix == ".txt" and stem not in stems[parent] and name not in NO_LABEL_FILES:
                example = f"{_show(labels / name)} is there, its picture is not"
                yield Problem(kind="missing_image", example=example)


def _read_list(listed: Path, folder: Path) -> list[str]:
    """Returns the pictures that a text file lists, one per line, as paths that exist if any do.

    Raises:
        DataError: the file cannot be read as text, or a line is no path.
    """
    try:
        lines = listed.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        must = "must be a text file with the path of one picture per line"
        raise DataError(explain(str(listed), must, str(error), MEND_LIST)) from None
    pictures = []
    for line in filter(str.strip, lines):
        text = line.strip().replace("\\", "/")
        if not read_file_name(text):
            must = "must name one picture per line"
            raise DataError(explain(str(listed), must, text[:100], MEND_LIST))
        path = find_below(listed.parent, text) or find_below(folder, text) or folder / text
        pictures.append(os.path.normpath(path))
    return pictures


def _read_text(path: Path) -> str | None:
    """Returns the contents of a label file; ``None`` if there is none.

    Raises:
        UnicodeDecodeError: it is no text.
        DataError: it cannot be read for a reason that may pass.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        if may_pass(error):
            must, remedy = "must be a file that can be read", "Try again once it can."
            raise DataError(explain(str(path), must, str(error), remedy)) from error
        return None


def _show(path: Path) -> str:
    """Returns a file's folder and name, since splits often use the same file names."""
    return show_path(f"{path.parent.name}/{path.name}")
