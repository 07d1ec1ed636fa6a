"""Decodes every picture file once, and stores its digest, header, levels and faults.

The cache has one store per list of image folders. Facts of a file hold while its size and time
stamp stay the same, so a picture is decoded again only if its file changed.
"""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from rethink_ray.data.cache import SETTLED_SECONDS
from rethink_ray.data.contents import (
    FILES_AT_ONCE,
    RETRIED,
    UNSETTLED,
    FileContent,
    may_pass,
    read_size_and_time,
    read_sizes_and_times,
)
from rethink_ray.data.levels import LevelRange
from rethink_ray.data.orientation import PictureHeader
from rethink_ray.data.pictures import LevelFacts, ReadFault, name_fault, read_pixel_facts
from rethink_ray.data.sources.values import is_text, show_path
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_file

INSPECTION_VERSION = 2
NO_HEADER: Final = PictureHeader(stored_wh=(0, 0), orientation=0, decodes_turned=False)
MIN_FILES_TO_LOCK = 100
"""From this number of files on, one process of a machine decodes them while others wait for it."""
NUM_NAMED = 3
"""Damaged files that a message names; it counts the rest."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedPicture:
    """The facts that one reading of a picture file gave."""

    content: FileContent
    header: PictureHeader | ReadFault
    """The fault of the file takes its place if the file cannot be read as a picture."""
    facts: LevelFacts


Inspector = Callable[[Sequence[Path]], list[InspectedPicture]]
"""Returns the facts of each file, in the order of the files."""


def inspect_pictures(
    folders: str, paths: Sequence[Path], *, hashed: bool = True, anew: bool = False
) -> list[InspectedPicture]:
    """Returns the facts of every file, in order; decodes new and changed files, on all cores.

    A file that cannot be read raises nothing: its fault is the ``header``.

    Args:
        folders: the image folders, one path per line; each such text names another store.
        paths: the files; one may be listed twice.
        hashed: false to leave files unhashed, so that ``content.digest`` may be ``None``.
        anew: true to read every file again.
    """
    store = cache_folder() / "pictures" / f"{_key_of(folders)}.arrow"
    seen = _find_unchanged({} if anew else _read_store(store), paths, hashed)
    if seen.count(None) < MIN_FILES_TO_LOCK:
        return _inspect_missing(store, paths, seen, hashed)
    with hold_lock(store):  # another process may have inspected them in the meantime
        seen = _find_unchanged({} if anew else _read_store(store), paths, hashed)
        return _inspect_missing(store, paths, seen, hashed)


def inspect_headers(paths: Sequence[Path]) -> list[InspectedPicture]:
    """Returns header and size of each file, in order, without hashing it.

    A file is decoded only if it lacks its format's end mark: use this for pictures that were
    inspected before.
    """
    inspect = partial(inspect_picture, hashed=False, decode=False)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return list(pool.map(inspect, paths))


def inspect_picture(path: Path, *, hashed: bool, decode: bool = True) -> InspectedPicture:
    """Returns the facts of one picture file.

    A path that is no text cannot be named, and its picture counts as unreadable. A file whose
    reading fails for a reason that may pass is read again next time.

    Args:
        path: the file.
        hashed: false to leave the file unhashed.
        decode: false to read the header and the end of the file alone.
    """
    num_bytes, changed_ns = read_size_and_time(str(path))
    if abs(time.time() - changed_ns / 1e9) <= SETTLED_SECONDS:
        changed_ns = UNSETTLED
    digest: bytes | None = None
    read: tuple[PictureHeader, LevelFacts] | ReadFault = "unreadable_image"
    try:
        if is_text(str(path)):
            digest = sha256_of_file(str(path)) if hashed else None
            read = read_pixel_facts(path, decode=decode)
    except (OSError, MemoryError) as error:
        read = name_fault(error)
        if isinstance(error, MemoryError):
            changed_ns = UNSETTLED  # its bytes can be read: only a refresh tries again
        elif may_pass(error):
            changed_ns = RETRIED
    content = FileContent(num_bytes=num_bytes, changed_ns=changed_ns, digest=digest)
    if isinstance(read, str):
        return InspectedPicture(content=content, header=read, facts=LevelFacts())
    return InspectedPicture(content=content, header=read[0], facts=read[1])


def name_files(paths: Sequence[Path | str]) -> str:
    """Returns the first three paths as text, and how many more there are."""
    named = ", ".join(show_path(path) for path in paths[:NUM_NAMED])
    rest = len(paths) - NUM_NAMED
    return f"{named} and {rest} more" if rest > 0 else named


def _key_of(folders: str) -> str:
    return digest_of_parts("pictures", INSPECTION_VERSION, folders)[:24]


def _find_unchanged(
    known: Mapping[str, InspectedPicture], paths: Sequence[Path], hashed: bool
) -> list[InspectedPicture | None]:
    """Returns the known facts of each file; ``None`` if it changed or lacks a digest it needs."""
    names = list(map(str, paths))
    stamps = zip(names, read_sizes_and_times(names), strict=True)
    pairs = [(known.get(name), stamp) for name, stamp in stamps]
    return [
        seen if seen and _is_known(seen.content, stamp, hashed) else None for seen, stamp in pairs
    ]


def _is_known(content: FileContent, stamp: tuple[int, int], hashed: bool) -> bool:
    is_unchanged = (content.num_bytes, content.changed_ns) == stamp
    return is_unchanged and not (hashed and content.digest is None)


def _inspect_missing(
    store: Path, paths: Sequence[Path], seen: Sequence[InspectedPicture | None], hashed: bool
) -> list[InspectedPicture]:
    """Returns ``seen`` with the gaps filled by reading those files, which the store then holds."""
    gaps = dict.fromkeys(
        path for path, known in zip(paths, seen, strict=True) if known is None
    )  # a file may be listed twice
    if gaps:
        with ThreadPoolExecutor(max(FILES_AT_ONCE, os.cpu_count() or 1)) as pool:
            read = pool.map(partial(inspect_picture, hashed=hashed), gaps)
            new = dict(zip(map(str, gaps), read, strict=True))
        lasting = {
            path: picture
            for path, picture in new.items()
            if picture.content.changed_ns != RETRIED and is_text(path)
        }
        _write_store(store, {**_read_store(store), **lasting})
    return [known or new[str(path)] for path, known in zip(paths, seen, strict=True)]


@contextmanager
def hold_lock(store: Path) -> Iterator[None]:
    """Holds the lock of a store, which one process of a machine can hold at a time.

    On a file system without locks every process goes on at once.
    """
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        file = store.with_suffix(".lock").open("w")
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


_TYPES: Final[dict[str, Any]] = {
    **{"path": pa.string(), "num_bytes": pa.int64(), "changed_ns": pa.int64()},
    **{"digest": pa.binary(), "fault": pa.string(), "width": pa.int32(), "height": pa.int32()},
    **{"orientation": pa.uint8(), "decodes_turned": pa.bool_(), "kind": pa.string()},
    **{"lowest": pa.float64(), "highest": pa.float64(), "is_finite": pa.bool_()},
}
"""Column of a store -> its type."""


def _write_store(store: Path, seen: Mapping[str, InspectedPicture]) -> None:
    """Replaces the store. If it cannot be written, the next command decodes the files again."""
    rows = [_row_of(path, picture) for path, picture in seen.items()]
    columns = [pa.array([row[name] for row in rows], kind) for name, kind in _TYPES.items()]
    batch = pa.record_batch(columns, names=list(_TYPES))
    fresh = store.with_name(f".{store.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(fresh), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        os.replace(fresh, store)
    except OSError as error:
        _log.info("cannot store the facts of pictures in %s: %s", store.parent, error)


def _row_of(path: str, seen: InspectedPicture) -> dict[str, Any]:
    facts, fault = seen.facts, seen.header if isinstance(seen.header, str) else ""
    header = NO_HEADER if isinstance(seen.header, str) else seen.header
    return {
        "path": path,
        "num_bytes": seen.content.num_bytes,
        "changed_ns": seen.content.changed_ns,
        "digest": seen.content.digest,
        "fault": fault,
        "width": header.stored_wh[0],
        "height": header.stored_wh[1],
        "orientation": header.orientation,
        "decodes_turned": header.decodes_turned,
        "kind": header.kind,
        "lowest": facts.levels.lowest if facts.levels else None,
        "highest": facts.levels.highest if facts.levels else None,
        "is_finite": facts.is_finite,
    }


def _read_store(store: Path) -> Mapping[str, InspectedPicture]:
    """Returns path -> facts of the file; empty if there is no store, or a damaged one."""
    try:
        status = os.stat(store)
        return _parse_store(store, (status.st_ino, status.st_mtime_ns, status.st_size))
    except (OSError, KeyError, pa.ArrowInvalid):
        return {}


@lru_cache(maxsize=2)
def _parse_store(store: Path, _: tuple[int, int, int]) -> Mapping[str, InspectedPicture]:
    """Reads a store, once as long as it has this inode, time stamp and size: 100,000 pictures take
    a second."""
    batch = pa.ipc.open_file(pa.memory_map(str(store))).get_batch(0)
    columns = [batch.column(name).to_pylist() for name in _TYPES]
    rows = (dict(zip(_TYPES, values, strict=True)) for values in zip(*columns, strict=True))
    return {row["path"]: _picture_of(row) for row in rows}


def _picture_of(row: Mapping[str, Any]) -> InspectedPicture:
    has_levels = row["lowest"] is not None
    levels = LevelRange(lowest=row["lowest"], highest=row["highest"]) if has_levels else None
    return InspectedPicture(
        content=FileContent(
            num_bytes=row["num_bytes"], changed_ns=row["changed_ns"], digest=row["digest"]
        ),
        header=row["fault"]
        or PictureHeader(
            stored_wh=(row["width"], row["height"]),
            orientation=row["orientation"],
            decodes_turned=row["decodes_turned"],
            kind=row["kind"],
        ),
        facts=LevelFacts(levels=levels, is_finite=row["is_finite"]),
    )
