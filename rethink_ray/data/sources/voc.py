"""Reads PASCAL VOC: one XML file per image, splits as lists of file stems.

VOC counts pixels from 1 and includes both corners in the box, so (xmin, ymin, xmax, ymax) becomes
(xmin - 1, ymin - 1, xmax, ymax). ``difficult`` objects become crowds: they are not trained on.
COCO's metrics ignore detections inside them, VOC's metrics those that overlap them.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.raw import Problem, RawImage, RawSplit, id_from_name, is_hidden
from rethink_ray.data.sources.values import is_text, show
from rethink_ray.data.sources.voc_lists import get_stem, list_xml_names, read_stems
from rethink_ray.data.sources.voc_xml import UnreadableXml, read_voc_file
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class VocFolder:
    """The images and XML files of one year, or of a data set without years."""

    images: Path
    annotations: Path
    image_set: Path | None
    """File with one stem per line; ``None``: every XML file."""

    def find_files(self) -> dict[str, Path]:
        """Returns stem -> XML file of the split, sorted; macOS puts hidden files beside them."""
        names = filter(is_text, list_xml_names(self.annotations))
        name_of = {get_stem(name): name for name in names}  # a.xml, not a.XML
        if self.image_set is None:
            stems = sorted(stem for stem in name_of if not is_hidden(stem))
        else:
            stems = read_stems(self.image_set, self.annotations, name_of.keys())
        return {stem: self.annotations / name_of.get(stem, f"{stem}.xml") for stem in stems}

    def list_unusable(self, xml_of: Mapping[str, Path]) -> list[Problem]:
        """Lists XML files whose names are no UTF-8, so that no record could name them.

        ``a.XML`` beside ``a.xml`` is listed too. A list of stems selects other files.

        Args:
            xml_of: the files of the split (``find_files``).
        """
        if self.image_set is not None:
            return []
        names = list_xml_names(self.annotations)
        used = {path.name for path in xml_of.values()}
        unused = [name for name in names if name not in used and not is_hidden(name)]
        return [
            Problem(
                kind="duplicate_id" if is_text(name) else "unreadable_annotation",
                example=show(name),
            )
            for name in unused
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocSource:
    """One split, gathered from one or more VOC folders."""

    folders: tuple[VocFolder, ...]
    offset: int = 1
    """Subtracted from ``xmin`` and ``ymin``: the number of the first pixel."""
    salt: str = ""

    @property
    def name(self) -> str:
        """The lists of the split, or the annotation folders where there is no list."""
        return ", ".join(str(folder.image_set or folder.annotations) for folder in self.folders)

    def image_folders(self) -> str:
        """The image folders."""
        return "\n".join(str(folder.images.absolute()) for folder in self.folders)

    def hash_annotations(self) -> str:
        """Returns a hash of the split's XML files, of how their corners are read, and of pictures.

        Names of pictures count where they decide which file is an image's: of a.jpg and a.png.
        """
        by_folder = [(folder, folder.find_files()) for folder in self.folders]
        digest = content_hash([path for _, xml_of in by_folder for path in xml_of.values()])
        pictures = [
            f"{number} {name}"
            for number, (folder, xml_of) in enumerate(by_folder)
            for name in _find_ambiguous(folder.images, xml_of)
        ]
        digest = digest_of_parts(digest, *pictures) if pictures else digest
        return digest if self.offset == 1 else f"{digest}, offset {self.offset}"

    def read(self) -> RawSplit:
        """Returns all images with readable XML; the others are listed as problems.

        Raises:
            DataError: no XML file can be read, or two folders of one name share a stem.
        """
        problems: list[Problem] = []
        files = [folder.find_files() for folder in self.folders]
        by_folder = zip(self.folders, files, self._name_images(files, problems), strict=True)
        images = [
            image
            for folder, xml_of, name_of in by_folder
            for image in _read_folder(folder.images, xml_of, name_of, self.offset, problems)
        ]
        for folder, xml_of in zip(self.folders, files, strict=True):
            problems += folder.list_unusable(xml_of)
        if not images:
            must = "must hold at least one XML file that can be read"
            shown = f"{len(problems)} unreadable ones" if problems else "none"
            remedy = "Check data.root or the split's paths."
            lists = [x for f, x in zip(self.folders, files, strict=True) if f.image_set is not None]
            if not all(stem.isascii() for xml_of in lists for stem in xml_of):
                remedy += " If the list is in GBK or Latin-1, save it as UTF-8."
            raise DataError(explain(self.name, must, shown, remedy))
        names = {annotated.category for image in images for annotated in image.objects}
        return RawSplit(
            categories=tuple(sorted(name for name in names if name is not None)),
            images=tuple(images),
            problems=tuple(problems),
        )

    def _name_images(
        self, files: Sequence[Mapping[str, Path]], problems: list[Problem]
    ) -> list[dict[str, str]]:
        """Returns stem -> name of the image, of each folder.

        An image is named by its stem. Stems that two folders share are named after their folders
        too, as ``VOC2007/000001``: they are two pictures. A stem of two lists of one folder is of
        the first.

        Args:
            files: stem -> XML file, of each folder (``find_files``).
            problems: to which stems that are listed twice are added.

        Raises:
            DataError: two folders of one name have the same stem.
        """
        listed: dict[tuple[Path, str], int] = {}
        for number, (folder, xml_of) in enumerate(zip(self.folders, files, strict=True)):
            for stem in xml_of:
                if (folder.annotations, stem) in listed:
                    problems.append(Problem(kind="duplicate_id", example=f"{stem}, listed twice"))
                listed.setdefault((folder.annotations, stem), number)
        num_folders = Counter(stem for _, stem in listed)
        folder_of: dict[str, Path] = {}
        by_folder: list[dict[str, str]] = [{} for _ in files]
        for (path, stem), number in listed.items():
            name = stem if num_folders[stem] == 1 else f"{path.parent.name}/{stem}"
            if folder_of.setdefault(name, path) != path:
                must = "must have each picture in one of its folders"
                shown = f"{name}.xml in {folder_of[name]} and in {path}"
                raise DataError(explain(self.name, must, shown, "Rename one of the folders."))
            by_folder[number][stem] = name
        return by_folder


def _read_folder(
    images: Path,
    xml_of: Mapping[str, Path],
    name_of: Mapping[str, str],
    offset: int,
    problems: list[Problem],
) -> Iterator[RawImage]:
    """Yields the images of a folder; ``name_of`` maps the stem of each to the image's name."""
    pictures = _list_pictures(images)
    file_of = {get_stem(name): name for name in sorted(pictures, reverse=True)}
    for stem, name in name_of.items():
        xml = xml_of[stem]
        try:
            picture = read_voc_file(xml, offset)
        except UnreadableXml as error:
            problems.append(Problem(kind="unreadable_annotation", example=f"{xml.name}: {error}"))
            continue
        problems += picture.problems
        file_name = file_of.get(stem, f"{stem}.jpg")
        if Path(picture.file_name).stem == stem and picture.file_name in pictures:
            file_name = picture.file_name  # the XML file decides between a.jpg and a.png
        if picture.file_name and picture.file_name not in (stem, file_name):
            example = f"{xml.name} says {picture.file_name}"
            problems.append(Problem(kind="file_name_disagrees", example=example))
        yield RawImage(
            image_id=id_from_name(name),
            file_name=file_name,
            path=images.absolute() / file_name,
            width=picture.size[0],
            height=picture.size[1],
            objects=picture.objects,
        )


def _list_pictures(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        must = "must be the folder of the images"
        raise DataError(explain(str(folder), must, "no such folder", "Check data.root."))
    names = os.listdir(folder)
    return frozenset(n for n in names if n.lower().endswith(IMAGE_SUFFIXES) and is_text(n))


def _find_ambiguous(folder: Path, stems: Iterable[str]) -> list[str]:
    """Returns the pictures of these stems, but for a stem whose only picture is ``stem.jpg``.

    Such a file is looked for where there is none: an index notes that it is missing.
    """
    names_of: dict[str, list[str]] = {}
    for name in sorted(_list_pictures(folder)) if folder.is_dir() else ():
        names_of.setdefault(get_stem(name), []).append(name)
    listed = [(stem, names_of.get(stem, [])) for stem in stems]
    return [name for stem, names in listed if names != [f"{stem}.jpg"] for name in names]
