"""The folder of things built once: indexes, the built-in images, content hashes.

A directory appears there whole, by one rename, or not at all; who loses a race discards its work.
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
"""A file changed more recently than this is hashed again: its time stamp may not move next time."""

_log = logging.getLogger(__name__)


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """``target`` exists and is complete; ``build`` fills a temporary folder if it was absent."""
    if not target.exists():
        _swap_in(target, build, replace=False)
    return target


def build_anew(target: Path, build: Callable[[Path], None]) -> Path:
    """``target`` is freshly built. A process that has the old files mapped keeps its view."""
    _swap_in(target, build, replace=True)
    return target


def content_hash(paths: Sequence[Path]) -> str:
    """Hash of the names and bytes of these files, in sorted order; absent files are skipped.

    Remembered under the files' sizes and time stamps, so that a second call reads none of them.
    """
    signs = sorted((str(path), *_size_and_time(path)) for path in paths)
    memo = cache_folder() / "content" / digest_of_parts(*(f"{sign}" for sign in signs))[:32]
    if memo.exists():
        return memo.read_text(encoding="ascii")
    digest = sha256_of_chunks(_contents_of(paths))
    newest = max((changed for _, _, changed in signs), default=0)
    if time.time() - newest / 1e9 > SETTLED_SECONDS:
        _remember(memo, digest)
    return digest


def _swap_in(target: Path, build: Callable[[Path], None], *, replace: bool) -> None:
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
                "must be a folder one can write to",
                error.strerror or str(error),
                f"Set {CACHE_VARIABLE} to a folder with space.",
            )
        ) from error


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _contents_of(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in sorted(paths):
        yield f"{path.name}\x1f".encode()
        if path.is_file():
            yield sha256_of_file(path)


def _remember(memo: Path, digest: str) -> None:
    fresh = memo.with_name(f".{memo.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(digest, encoding="ascii")
        os.replace(fresh, memo)
    except OSError as error:
        _log.info("cannot remember a content hash in %s: %s", memo.parent, error)
