"""Images without labels: every image under a folder, or those that a COCO JSON file lists.

If that file holds boxes they are not read: a teacher is to find them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.raw import RawImage, RawSplit, id_from_name
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledSource:
    """A folder of images; ``listed``: the JSON file that says which of them."""

    images: Path
    listed: Path | None = None
    salt: str = ""

    @property
    def name(self) -> str:
        """The file that lists the images, or their folder."""
        return str(self.listed or self.images)

    def place(self) -> str:
        """The image folder."""
        return str(self.images.absolute())

    def content(self) -> str:
        """Hash of the list, or of every file's name and size."""
        if self.listed is not None:
            _require(self.listed, self.listed.is_file(), "a COCO JSON file")
            return content_hash([self.listed])
        return digest_of_parts(
            *(f"{name} {(self.images / name).stat().st_size}" for name in self._all())
        )

    def read(self) -> RawSplit:
        """All images, of no category and without an object."""
        names = self._all() if self.listed is None else self._listed(self.listed)
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
        return RawSplit(categories=(), images=images, problems=())

    def _all(self) -> list[str]:
        _require(self.images, self.images.is_dir(), "a folder of images")
        paths = (path for path in self.images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        return sorted(path.relative_to(self.images).as_posix() for path in paths)

    def _listed(self, path: Path) -> list[str]:
        try:
            document: Any = json.loads(path.read_bytes())
            return sorted({str(record["file_name"]) for record in document["images"]})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            must = "must be a COCO JSON file whose 'images' have a 'file_name'"
            reason = f"{type(error).__name__}: {error}"
            remedy = "Or leave data.unlabelled.annotations out: every image of the folder is taken."
            raise DataError(explain(str(path), must, reason, remedy)) from None


def _require(path: Path, is_there: bool, contents: str) -> None:
    if not is_there:
        raise DataError(
            explain(
                str(path), f"must be {contents}", "none", "Check data.unlabelled and data.root."
            )
        )
