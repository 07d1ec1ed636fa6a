"""Reads PASCAL VOC: one XML file per image, splits as lists of file stems.

VOC counts pixels from 1 and includes both corners in the box, so (xmin, ymin, xmax, ymax) becomes
(xmin - 1, ymin - 1, xmax, ymax). ``difficult`` objects become crowds: they are not trained on.
COCO's metrics ignore detections inside them, VOC's metrics those that overlap them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.raw import Problem, RawImage, RawSplit, id_from_name, is_hidden
from rethink_ray.data.sources.values import is_text, show
from rethink_ray.data.sources.voc_lists import list_xml_files, read_stems
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
        files = list_xml_files(self.annotations)
        file_of = {path.stem: path for path in files if is_text(path.name)}  # a.xml, not a.XML
        if self.image_set is None:
            return {stem: file_of[stem] for stem in sorted(file_of) if not is_hidden(stem)}
        stems = read_stems(self.image_set, self.annotations)
        return {stem: file_of.get(stem, self.annotations / f"{stem}.xml") for stem in stems}

    def list_unusable(self) -> list[Problem]:
        """Lists XML files whose names are no UTF-8, so that no record could name them.

        ``a.XML`` beside ``a.xml`` is listed too. A list of stems selects other files.
        """
        if self.image_set is not None:
            return []
        names = [path.name for path in list_xml_files(self.annotations)]
        used = {path.name for path in self.find_files().values()}
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
        images = [
            image
            for folder, stems in self._stems_by_folder(problems)
            for image in _read_folder(folder, stems, self.offset, problems)
        ]
        problems += [problem for folder in self.folders for problem in folder.list_unusable()]
        if not images:
            must = "must hold at least one XML file that can be read"
            shown = f"{len(problems)} unreadable ones" if problems else "none"
            remedy = "Check data.root or the split's paths."
            lists = [folder for folder in self.folders if folder.image_set is not None]
            if not all(stem.isascii() for folder in lists for stem in folder.find_files()):
                remedy += " If the list is in GBK or Latin-1, save it as UTF-8."
            raise DataError(explain(self.name, must, shown, remedy))
        names = {annotated.category for image in images for annotated in image.objects}
        return RawSplit(
            categories=tuple(sorted(name for name in names if name is not None)),
            images=tuple(images),
            problems=tuple(problems),
        )

    def _stems_by_folder(self, problems: list[Problem]) -> list[tuple[VocFolder, dict[str, str]]]:
        """Returns stem -> name of the image, by folder; two lists of one folder may share stems.

        An image is named by its stem. Stems that two folders share are named after their folders
        too, as ``VOC2007/000001``: they are two pictures.

        Raises:
            DataError: two folders of one name have the same stem.
        """
        listed: dict[tuple[Path, str], VocFolder] = {}
        for folder in self.folders:
            for stem in folder.find_files():
                if (folder.annotations, stem) in listed:
                    problems.append(Problem(kind="duplicate_id", example=f"{stem}, listed twice"))
                listed.setdefault((folder.annotations, stem), folder)
        num_folders = Counter(stem for _, stem in listed)
        names = {
            (path, stem): stem if num_folders[stem] == 1 else f"{path.parent.name}/{stem}"
            for path, stem in listed
        }
        folder_of: dict[str, Path] = {}
        for (path, _), name in names.items():
            if folder_of.setdefault(name, path) != path:
                must = "must have each picture in one of its folders"
                shown = f"{name}.xml in {folder_of[name]} and in {path}"
                raise DataError(explain(self.name, must, shown, "Rename one of the folders."))
        by_folder: dict[int, dict[str, str]] = {id(folder): {} for folder in self.folders}
        for (path, stem), folder in listed.items():
            by_folder[id(folder)][stem] = names[path, stem]
        return [(folder, by_folder[id(folder)]) for folder in self.folders]


def _read_folder(
    folder: VocFolder, name_of: dict[str, str], offset: int, problems: list[Problem]
) -> Iterator[RawImage]:
    """Yields the images of a folder; ``name_of`` maps the stem of each to the image's name."""
    pictures = _list_pictures(folder.images)
    file_of = {Path(name).stem: name for name in sorted(pictures, reverse=True)}
    xml_of = folder.find_files()
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
            path=folder.images.absolute() / file_name,
            width=picture.size[0],
            height=picture.size[1],
            objects=picture.objects,
        )


def _list_pictures(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        must = "must be the folder of the images"
        raise DataError(explain(str(folder), must, "no such folder", "Check data.root."))
    names = (path.name for path in folder.iterdir())
    return frozenset(n for n in names if n.lower().endswith(IMAGE_SUFFIXES) and is_text(n))


def _find_ambiguous(folder: Path, stems: Iterable[str]) -> list[str]:
    """Returns the pictures of these stems, but for a stem whose only picture is ``stem.jpg``.

    Such a file is looked for where there is none: an index notes that it is missing.
    """
    names_of: dict[str, list[str]] = {}
    for name in sorted(_list_pictures(folder)) if folder.is_dir() else ():
        names_of.setdefault(Path(name).stem, []).append(name)
    listed = [(stem, names_of.get(stem, [])) for stem in stems]
    return [name for stem, names in listed if names != [f"{stem}.jpg"] for name in names]
