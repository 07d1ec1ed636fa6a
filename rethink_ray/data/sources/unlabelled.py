"""Reads images without labels: every image under a folder, or those that a COCO JSON file lists.

Boxes in that file are not read, since a teacher labels the images.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethink_ray.data.cache import content_hash
from rethink_ray.data.contents import read_size_and_time
from rethink_ray.data.sources.raw import (
    Problem,
    RawImage,
    RawSplit,
    id_from_name,
    is_hidden,
)
from rethink_ray.data.sources.values import (
    is_text,
    read_file_name,
    read_image_id,
    show,
    show_path,
)
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledSource:
    """A folder of images; ``listed`` is the JSON file that selects some of them.

    Hidden folders and files are left out, because programs keep copies and notes in them.
    """

    images: Path
    listed: Path | None = None
    salt: str = ""

    @property
    def name(self) -> str:
        """The file that lists the images, or their folder."""
        return str(self.listed or self.images)

    def image_folders(self) -> str:
        """The image folder."""
        return str(self.images.absolute())

    def hash_annotations(self) -> str:
        """Returns a hash of the JSON file, or of every image file's name and size.

        Raises:
            DataError: there is no such file or folder.
        """
        if self.listed is not None:
            _require_path(self.listed, self.listed.is_file(), "a COCO JSON file")
            return content_hash([self.listed])
        names, unnameable = self._list_folder()
        sizes = (read_size_and_time(str(self.images / name))[0] for name in names)
        parts = [f"{name} {size}" for name, size in zip(names, sizes, strict=True)]
        return digest_of_parts(*parts, *unnameable)

    def read(self) -> RawSplit:
        """Returns all images, without categories or objects.

        Files whose names are no UTF-8 are listed as problems: no record could name them.

        Raises:
            DataError: there is no such folder, or the JSON file lists no images by name.
        """
        listed = self.listed
        names, unnameable = (self._read_list(listed), []) if listed else self._list_folder()
        images = tuple(
            RawImage(
                image_id=id_from_name(name),
                file_name=name,
                path=self.images.absolute() / name,
                width=0,
                height=0,
                objects=(),
            )
            for name in names
        )
        problems = tuple(Problem(kind="unreadable_image", example=name) for name in unnameable)
        return RawSplit(categories=(), images=images, problems=problems)

    def read_ids(self) -> dict[int, int]:
        """Returns each image's id in the JSON file -> its id in our index; none for a folder."""
        if self.listed is None:
            return {}
        ids: dict[int, int] = {}
        for record in self._read_records(self.listed):
            image_id = read_image_id(record.get("id"))
            if image_id is not None:
                ids.setdefault(image_id, id_from_name(record["file_name"]))
        return ids

    def _list_folder(self) -> tuple[list[str], list[str]]:
        """Returns the names of all images, and those that are no text as messages show them."""
        _require_path(self.images, self.images.is_dir(), "a folder of images")
        paths = (path for path in self.images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        within = (path.relative_to(self.images) for path in paths)
        names = [name.as_posix() for name in within if not any(map(is_hidden, name.parts))]
        unnameable = [show_path(name) for name in names if not is_text(name)]
        return sorted(filter(is_text, names)), sorted(unnameable)

    def _read_list(self, path: Path) -> list[str]:
        return sorted({record["file_name"] for record in self._read_records(path)})

    def _read_records(self, path: Path) -> list[dict[str, Any]]:
        """Returns the entries of ``images``, each of which names a file."""
        try:
            document: Any = json.loads(path.read_bytes())
            records: list[dict[str, Any]] = document["images"]
            names = [record["file_name"] for record in records]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _not_a_list_error(path, f"{type(error).__name__}: {error}") from None
        for name in names:
            if not read_file_name(name):
                raise _not_a_list_error(path, f"file_name {show(name)}")
        return records


def _not_a_list_error(path: Path, reason: str) -> DataError:
    must = "must be a COCO JSON file whose 'images' have a 'file_name'"
    remedy = "Or leave data.unlabelled.annotations out to take every image of the folder."
    return DataError(explain(str(path), must, reason, remedy))


def _require_path(path: Path, is_there: bool, contents: str) -> None:
    if not is_there:
        raise DataError(
            explain(
                str(path), f"must be {contents}", "none", "Check data.unlabelled and data.root."
            )
        )
