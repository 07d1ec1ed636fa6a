"""What pictures are compared by: the SHA-256 of their files' bytes.

A picture that was saved again, turned or resized has another content.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rethink_ray.data.cache import SETTLED_SECONDS
from rethink_ray.spec.hashing import sha256_of_file

UNSETTLED = -1
"""Stands for the time stamp of a file that changed just before it was read: it is read again."""
_FILES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """One file as it was read."""

    num_bytes: int
    changed_ns: int
    """Its time stamp, or ``UNSETTLED``."""
    digest: bytes | None
    """32 bytes; ``None``: only its size was looked at."""


ContentReader = Callable[[Sequence[Path]], list[FileContent | None]]
"""``read_contents`` with some of its arguments set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Picture files to be compared with others. Length N throughout."""

    paths: Sequence[str]
    num_bytes: Sequence[int]
    digests: Sequence[bytes | None]
    """``None``: the file is read once another of the same size makes that necessary."""

    def digests_of_sizes(self, sizes: set[int]) -> Iterator[tuple[int, bytes]]:
        """Row and digest of every picture of one of these sizes."""
        for row, size in enumerate(self.num_bytes):
            if size in sizes:
                yield row, self.digests[row] or sha256_of_file(self.paths[row])


def pictures_at(paths: Iterable[Path]) -> Pictures:
    """The pictures in these files, none of which was read yet."""
    named = [str(path) for path in paths]
    return Pictures(
        paths=named,
        num_bytes=[os.stat(path).st_size for path in named],
        digests=[None] * len(named),
    )


def same_pictures(first: Pictures, second: Pictures) -> list[tuple[int, int]]:
    """Each row of ``first`` whose picture ``second`` holds too, with the first such row there.

    Files whose size no file of the other side has are not read.
    """
    shared = set(first.num_bytes) & set(second.num_bytes)
    row_of: dict[bytes, int] = {}
    for row, digest in second.digests_of_sizes(shared):
        row_of.setdefault(digest, row)
    return [
        (row, row_of[digest]) for row, digest in first.digests_of_sizes(shared) if digest in row_of
    ]


def repeated_pictures(pictures: Pictures) -> list[tuple[int, int]]:
    """Each row whose picture stands in an earlier row too, with the first such row."""
    return [(row, twin) for row, twin in same_pictures(pictures, pictures) if row != twin]


def read_contents(
    paths: Sequence[Path], *, hashed: bool = True, earlier: Mapping[str, FileContent] | None = None
) -> list[FileContent | None]:
    """The content of every file, eight at a time; ``None`` for one that cannot be read.

    Args:
        paths: the files.
        hashed: false to look at sizes and time stamps alone.
        known: path -> its content when it was last read; a file that has not changed since is not
            read again.
    """
    read = partial(_read_content, hashed=hashed, earlier=earlier or {})
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return list(pool.map(read, paths))


def are_unchanged(paths: Sequence[str], contents: Sequence[FileContent]) -> bool:
    """Whether every file has the size and the time stamp that it was read with."""
    recorded = [(content.num_bytes, content.changed_ns) for content in contents]
    parts = [paths[start::_FILES_AT_ONCE] for start in range(_FILES_AT_ONCE)]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        stamps = pool.map(lambda part: [_size_and_time(path) for path in part], parts)
        return all(stamp == recorded[start::_FILES_AT_ONCE] for start, stamp in enumerate(stamps))


def _read_content(
    path: Path, *, hashed: bool, earlier: Mapping[str, FileContent]
) -> FileContent | None:
    num_bytes, changed_ns = _size_and_time(str(path))
    before = earlier.get(str(path))
    if before is not None and (before.num_bytes, before.changed_ns) == (num_bytes, changed_ns):
        return before
    is_settled = abs(time.time() - changed_ns / 1e9) > SETTLED_SECONDS
    try:
        digest = sha256_of_file(str(path)) if hashed else None
    except OSError:
        return None
    return FileContent(
        num_bytes=num_bytes, changed_ns=changed_ns if is_settled else UNSETTLED, digest=digest
    )


def _size_and_time(path: str) -> tuple[int, int]:
    """What tells that a file changed; zeros for one that is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
