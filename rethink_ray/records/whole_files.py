"""Files that are written whole: after a crash they hold either the old content or the new."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, *parts: str | bytes | memoryview) -> None:
    """``path`` holds ``parts`` one after another, on the disk and not only in its cache.

    Raises:
        OSError: the disk refused. ``path`` is as it was, and nothing lies beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as handle:
            for part in parts:
                handle.write(part.encode() if isinstance(part, str) else part)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Files created or renamed in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
