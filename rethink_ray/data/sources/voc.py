"""Reads PASCAL VOC: one XML file per image, splits as lists of file stems.

VOC counts pixels from 1 and includes both corners in the box, so (xmin, ymin, xmax, ymax) becomes
(xmin - 1, ymin - 1, xmax, ymax). ``difficult`` objects become crowds: they are not trained on.
COCO's metrics ignore detections inside them, VOC's metrics those that overlap them.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.raw import Box, Problem, RawImage, RawObject, RawSplit, id_from_name
from rethink_ray.spec.errors import DataError, explain

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class VocFolder:
    """The images and XML files of one year, or of a data set without years."""

    images: Path
    annotations: Path
    image_set: Path | None
    """File with one stem per line; ``None``: every XML file."""

    def stems(self) -> list[str]:
        """Returns the file stems of the split, sorted."""
        if self.image_set is None:
            return sorted(path.stem for path in self.annotations.glob("*.xml"))
        try:
            lines = self.image_set.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            must = "must be a text file with one file stem per line"
            raise DataError(explain(str(self.image_set), must, str(error))) from error
        return sorted({line.split()[0] for line in lines if line.strip()})


@dataclass(frozen=True, slots=True, kw_only=True)
class VocSource:
    """One split, gathered from one or more VOC folders."""

    folders: tuple[VocFolder, ...]
    offset: int = 1
    """Subtracted from ``xmin`` and ``ymin``: the number of the first pixel."""
    salt: str = ""

    @property
    def name(self) -> str:
        """The annotation folders."""
        return ", ".join(str(folder.image_set or folder.annotations) for folder in self.folders)

    def image_folders(self) -> str:
        """The image folders."""
        return "\n".join(str(folder.images.absolute()) for folder in self.folders)

    def hash_annotations(self) -> str:
        """Returns a hash of the split's XML files, and of how their corners are read."""
        digest = content_hash(
            [
                folder.annotations / f"{stem}.xml"
                for folder in self.folders
                for stem in folder.stems()
            ]
        )
        return digest if self.offset == 1 else f"{digest}, offset {self.offset}"

    def read(self) -> RawSplit:
        """Returns all images with readable XML; the others are listed as problems."""
        problems: list[Problem] = []
        images: dict[int, RawImage] = {}
        for folder in self.folders:
            for image in _read_folder(folder, self.offset, problems):
                if image.image_id in images:
                    problems.append(Problem(kind="duplicate_id", example=image.file_name))
                images.setdefault(image.image_id, image)
        if not images:
            must = "must hold at least one XML file that can be read"
            shown = f"{len(problems)} unreadable ones" if problems else "none"
            raise DataError(
                explain(self.name, must, shown, "Check data.root or the split's paths.")
            )
        names = {annotated.category for image in images.values() for annotated in image.objects}
        return RawSplit(
            categories=tuple(sorted(name for name in names if name is not None)),
            images=tuple(images.values()),
            problems=tuple(problems),
        )


def _read_folder(folder: VocFolder, offset: int, problems: list[Problem]) -> Iterator[RawImage]:
    files = _map_files_by_stem(folder.images)
    for stem in folder.stems():
        xml = folder.annotations / f"{stem}.xml"
        try:
            root = ElementTree.parse(xml).getroot()
        except (OSError, ElementTree.ParseError, UnicodeDecodeError) as error:
            problems.append(Problem(kind="unreadable_annotation", example=f"{xml.name}: {error}"))
            continue
        file_name = files.get(stem, f"{stem}.jpg")
        stated_name = (root.findtext("filename") or "").strip()
        if stated_name and stated_name not in (stem, file_name):
            example = f"{xml.name} says {stated_name}"
            problems.append(Problem(kind="file_name_disagrees", example=example))
        yield RawImage(
            image_id=id_from_name(stem),
            file_name=file_name,
            path=folder.images.absolute() / file_name,
            width=int(_read_number(root.findtext("size/width"))),
            height=int(_read_number(root.findtext("size/height"))),
            objects=tuple(_read_object(element, offset) for element in root.iter("object")),
        )


def _map_files_by_stem(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        must = "must be the folder of the images"
        raise DataError(explain(str(folder), must, "no such folder", "Check data.root."))
    names = sorted((path.name for path in folder.iterdir()), reverse=True)
    return {Path(name).stem: name for name in names if name.lower().endswith(IMAGE_SUFFIXES)}


def _read_object(node: ElementTree.Element, offset: int) -> RawObject:
    box = _read_box(node.find("bndbox"), offset)
    return RawObject(
        category=(node.findtext("name") or "").strip() or None,
        box_xyxy=box,
        is_crowd=_read_number(node.findtext("difficult")) > 0,
        area=(box[2] - box[0]) * (box[3] - box[1]),
    )


def _read_box(node: ElementTree.Element | None, offset: int) -> Box:
    if node is None:
        return (0.0, 0.0, 0.0, 0.0)
    corners = [_read_number(node.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]
    return (corners[0] - offset, corners[1] - offset, corners[2], corners[3])


def _read_number(text: str | None) -> float:
    """Returns the number in ``text``; 0 if there is none."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
