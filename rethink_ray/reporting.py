"""Writes the report of a study with its pictures: the one service under ``api`` and ``commands``.

``analysis`` may not open a data set, and this takes what it needs from ``data`` to it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages
    from rethink_ray.analysis.show.report import Report
    from rethink_ray.data.index import AnnotationIndex
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.spec.facts import DataFacts
    from rethink_ray.spec.study import Study


def report_study(
    directory: "StudyDirectory", where: Path | str, *, has_pictures: bool = True
) -> "Report":
    """Writes the report of a study, with pictures of the data set if that is there.

    Args:
        directory: the study's directory.
        where: its path or URI, for the commands on the page.
        has_pictures: false to leave out pictures, and what needs the data set beside them.

    Raises:
        RecordError: the study's files are not as this program wrote them.
    """
    from rethink_ray.analysis.show.report import build_report  # takes half a second

    load_images = partial(load_report_images, directory.study, directory.facts)
    return build_report(directory, where, load_images if has_pictures else None)


def load_report_images(study: "Study", facts: "DataFacts", regime: str) -> "ReportImages":
    """The annotated images that a study reports on, as runs of one regime are scored on them.

    Args:
        study: the study.
        facts: its facts, which say how many images the regime has.
        regime: its name.

    Raises:
        DataError: the data set is not there, or has no image left.
    """
    from rethink_ray.analysis.read.scored_images import ReportImages
    from rethink_ray.data.regimes import open_scored

    index = open_scored(study.data, study.data.report_split, facts.regime_sizes[regime])
    return ReportImages(
        categories=index.categories,
        images={one.image_id: one for one in _list_annotated(index)},
        open_picture=partial(_open_picture, index),
    )


def _list_annotated(index: "AnnotationIndex") -> "Iterator[AnnotatedImage]":
    """Every image of an index with the objects that detectors are scored against."""
    from rethink_ray.analysis.read.scored_images import AnnotatedImage
    from rethink_ray.data.faults import is_findable

    image_ids = index.image_ids.tolist()
    entries = [index.entry(image_id) for image_id in image_ids]
    names = name_pictures([entry.path for entry in entries])
    for image_id, name, entry in zip(image_ids, names, entries, strict=True):
        kept = is_findable(entry)
        yield AnnotatedImage(
            image_id=image_id,
            file_name=name,
            width=entry.width,
            height=entry.height,
            boxes_xyxy=entry.boxes_xyxy[kept].astype("float64"),
            labels=entry.labels[kept],
            is_crowd=entry.is_crowd[kept],
        )


def name_pictures(paths: Sequence[str]) -> list[str]:
    """The name of each file, with as many of its folders as tell it from all others.

    ``["/a/x/1.jpg", "/a/y/1.jpg", "/a/y/2.jpg"]`` are ``x/1.jpg``, ``y/1.jpg`` and ``2.jpg``.
    """
    name_of = {path: path.name for path in map(Path, paths)}
    num_parts = 1
    while len(num_of := Counter(name_of.values())) < len(name_of):
        num_parts += 1
        for path, name in name_of.items():
            if num_of[name] > 1:
                name_of[path] = "/".join(path.parts[-num_parts:])
    return [name_of[Path(path)] for path in paths]


def _open_picture(index: "AnnotationIndex", image_id: int) -> "Image":
    from rethink_ray.data.pictures import open_unchanged

    entry = index.entry(image_id)
    return open_unchanged(entry.path, (entry.width, entry.height), index.level_ranges)
