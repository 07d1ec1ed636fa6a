"""Compares pictures by content: the SHA-256 of their files' bytes.

A picture that was saved again, turned or resized counts as another picture.
"""

import errno
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.spec.hashing import sha256_of_file

UNSETTLED = -1
"""Replaces the time stamp of a file that changed just before it was read: it is read again."""
RETRIED = -2
"""Replaces the time stamp of a file whose reading failed for a reason that may pass."""
ABSENT_ERRORS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Numbers of errors of a path at which there is no file."""
LASTING_ERRORS = ABSENT_ERRORS | {
    *(errno.EINVAL, errno.ESPIPE, errno.ENXIO, errno.EFBIG, errno.EOVERFLOW),
}
"""Numbers of errors that stay until the file changes: it is absent, or damage in it leads a reader
to a position that no file has."""
FILES_AT_ONCE = 8
"""Files whose bytes are read at a time."""
FEW_FILES = 64
"""So many files are looked at without threads, whose start takes longer and asks for memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """Size, time stamp and digest of one file when it was read."""

    num_bytes: int
    changed_ns: int
    """Its time stamp, ``UNSETTLED`` or ``RETRIED``."""
    digest: bytes | None
    """32 bytes; ``None``: only the size was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Picture files that can be compared with others. All fields have length N."""

    paths: Sequence[str]
    num_bytes: Sequence[int]
    digests: Sequence[bytes | None]
    """``None``: the file is read only if it is compared with a file of the same size."""

    def digests_of_sizes(self, sizes: set[int]) -> Iterator[tuple[int, bytes]]:
        """Yields row and digest of every picture whose file has one of these sizes."""
        for row, size in enumerate(self.num_bytes):
            if size in sizes:
                yield row, self.digests[row] or sha256_of_file(self.paths[row])


def list_pictures(paths: Iterable[Path]) -> Pictures:
    """Returns the pictures in these files; no file is read yet."""
    named = [str(path) for path in paths]
    return Pictures(
        paths=named,
        num_bytes=[os.stat(path).st_size for path in named],
        digests=[None] * len(named),
    )


def find_same_pictures(first: Pictures, second: Pictures) -> list[tuple[int, int]]:
    """Pairs each row of ``first`` whose picture is in ``second`` with the first such row there.

    A file is read only if the other side has a file of the same size.
    """
    shared = set(first.num_bytes) & set(second.num_bytes)
    row_of: dict[bytes, int] = {}
    for row, digest in second.digests_of_sizes(shared):
        row_of.setdefault(digest, row)
    return [
        (row, row_of[digest]) for row, digest in first.digests_of_sizes(shared) if digest in row_of
    ]


def find_repeated_pictures(pictures: Pictures) -> list[tuple[int, int]]:
    """Pairs each row whose picture is in an earlier row too with the first such row."""
    return [(row, twin) for row, twin in find_same_pictures(pictures, pictures) if row != twin]


def are_unchanged(paths: Sequence[str], contents: Sequence[FileContent]) -> bool:
    """Returns whether every file still has its recorded size and time stamp."""
    recorded = [(content.num_bytes, content.changed_ns) for content in contents]
    return read_sizes_and_times(paths) == recorded


def read_sizes_and_times(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Returns ``read_size_and_time`` of each file, in order; of many files several at a time."""
    if len(paths) < FEW_FILES:
        return list(map(read_size_and_time, paths))
    length = math.ceil(len(paths) / FILES_AT_ONCE)
    parts = [paths[start : start + length] for start in range(0, len(paths), length)]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        stamps = pool.map(lambda part: list(map(read_size_and_time, part)), parts)
        return list(itertools.chain.from_iterable(stamps))


def read_size_and_time(path: str) -> tuple[int, int]:
    """Returns size and time stamp, which differ once a file changed; zeros for a missing file."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def may_pass(error: BaseException) -> bool:
    """Returns whether reading may succeed later though the file's size and time stay the same.

    So it is with a closed file (chmod), too many open files, and a network drive that is away.
    """
    number = error.errno if isinstance(error, OSError) else None
    return number is not None and number not in LASTING_ERRORS


def is_readable(path: str) -> bool:
    """Returns whether every byte of a file can be read now."""
    try:
        sha256_of_file(path)
    except OSError:
        return False
    return True
