"""The cache folder of built data: indexes, built-in images, content hashes.

A directory is built under a temporary name and appears complete, by one rename. If two processes
build the same directory, the later one discards its copy.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rethink_ray.spec.cache import CACHE_VARIABLE, cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_chunks, sha256_of_file

SETTLED_SECONDS = 2.0
"""A file younger than this is hashed again: a second change might leave its time stamp as it is."""

_log = logging.getLogger(__name__)


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Makes sure that ``target`` is complete; if it is absent, ``build`` fills a new folder."""
    if not target.exists():
        _build_into(target, build, replace=False)
    return target


def build_anew(target: Path, build: Callable[[Path], None]) -> Path:
    """Builds ``target`` again. Processes that have the old files mapped keep reading those."""
    _build_into(target, build, replace=True)
    return target


def content_hash(paths: Sequence[Path]) -> str:
    """Hashes the names and bytes of these files, in sorted order; absent files are skipped.

    The hash is cached under the files' sizes and time stamps, so a second call reads no file. The
    time of the last change of any kind counts too, because a program can set that of the content.
    """
    signs = sorted((str(path), *_read_size_and_times(path)) for path in paths)
    memo = cache_folder() / "content" / digest_of_parts(*(f"{sign}" for sign in signs))[:32]
    if memo.exists():
        return memo.read_text(encoding="ascii")
    try:
        digest = sha256_of_chunks(_contents_of(paths))
    except OSError as error:
        shown = f"{error.strerror}: {error.filename}"
        remedy = "Check data.root, and who may read them."
        raise DataError(explain("annotations", "must be readable files", shown, remedy)) from error
    newest = max((max(times) for _, _, *times in signs), default=0)
    if time.time() - newest / 1e9 > SETTLED_SECONDS:
        _store_hash(memo, digest)
    return digest


def _build_into(target: Path, build: Callable[[Path], None], *, replace: bool) -> None:
    fresh = target.parent / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    _make_folder(fresh)
    try:
        build(fresh)
        if replace and target.exists():
            _set_aside(target)
        try:
            os.rename(fresh, target)
        except OSError:
            if not target.is_dir():
                raise
            _log.info("%s was built by another process in the meantime", target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _set_aside(target: Path) -> None:
    old = target.parent / f".{target.name}.old.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        os.rename(target, old)
    except FileNotFoundError:
        return
    shutil.rmtree(old, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            explain(
                str(folder.parent),
                "must be a writable folder",
                error.strerror or str(error),
                f"Set {CACHE_VARIABLE} to a folder with space.",
            )
        ) from error


def _read_size_and_times(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:  # missing, or a link to itself: its reader says so
        return -1, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _contents_of(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in sorted(paths):
        yield f"{path.name}\x1f".encode()
        if path.is_file():
            yield sha256_of_file(path)


def _store_hash(memo: Path, digest: str) -> None:
    fresh = memo.with_name(f".{memo.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(digest, encoding="ascii")
        os.replace(fresh, memo)
    except OSError as error:
        _log.info("cannot store a content hash in %s: %s", memo.parent, error)
