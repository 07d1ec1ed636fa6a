"""No picture that something learns from is one that the study is scored on.

Files are compared by content. Only those whose sizes agree are read, so a check of COCO reads a few
per cent of it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from rethink_ray.data.index import AnnotationIndex, open_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.regime import DataSpec

_MEGABYTE = 2**20


def require_unseen(data: DataSpec, learned_from: Iterable[Path], what: str) -> None:
    """None of these files is, byte for byte, a picture of a split that scores.

    Args:
        data: its splits for selecting and reporting are looked at.
        learned_from: the files.
        what: learns from them, for the message.

    Raises:
        DataError: names the first two files that are one picture.
    """
    splits = tuple(dict.fromkeys((data.select_split, data.report_on)))
    scored = {split: paths_of(open_split(data, split)) for split in splits}
    learned = list(learned_from)
    for split, paths in scored.items():
        for path, twin in same_pictures(learned, paths):
            must = f"must learn from no picture of split {split}"
            remedy = "Take one of the two out of its split, then start a new study."
            raise DataError(explain(what, must, f"{path}, which is {twin}", remedy))


def paths_of(index: AnnotationIndex, image_ids: Iterable[int] | None = None) -> list[Path]:
    """The files of these images; of all by default."""
    wanted = index.image_ids if image_ids is None else image_ids
    return [Path(index.entry(int(image_id)).path) for image_id in wanted]


def same_pictures(first: Iterable[Path], second: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Each file of ``first`` that also stands in ``second``, with its twin, by content."""
    by_size = _by_size(second)
    suspects = [
        (path, by_size[size])
        for size, p in _by_size(first).items()
        if size in by_size
        for path in p
    ]
    digests: dict[Path, bytes] = {}
    found = []
    for path, others in suspects:
        twin = next((o for o in others if _digest(o, digests) == _digest(path, digests)), None)
        if twin is not None:
            found.append((path, twin))
    return sorted(found)


def _by_size(paths: Iterable[Path]) -> Mapping[int, list[Path]]:
    found: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.stat().st_size].append(path)
    return found


def _digest(path: Path, known: dict[Path, bytes]) -> bytes:
    if path not in known:
        whole = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_MEGABYTE):
                whole.update(block)
        known[path] = whole.digest()
    return known[path]
