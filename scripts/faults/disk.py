"""A disk that can be full: a small file system in memory, or a limit on the size of files.

Mounting needs root. Without it processes get RLIMIT_FSIZE, whose error (EFBIG, "File too large")
comes at the same places as a full disk's.
"""

import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

SIZE_MIB = 768
CHUNK = 2**20


class Disk:
    """Where plain studies live."""

    def __init__(self, folder: Path, size_mib: int = SIZE_MIB) -> None:
        self.folder = folder
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "chaos", str(folder)]
        self._is_mounted = subprocess.run(words, capture_output=True).returncode == 0

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, pids: Iterable[int]) -> str:
        """Not one more byte fits, at least for these processes."""
        if not self._is_mounted:
            for pid in pids:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, 1))
            return "files may not grow (RLIMIT_FSIZE)"
        for size in (CHUNK, 4096, 1):
            with self._ballast.open("ab", buffering=0) as file:
                _fill(file.write, bytes(size))
        return "file system full"

    def free(self) -> None:
        """There is room again."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """The file system is gone, and everything on it."""
        if self._is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def _fill(write: object, chunk: bytes) -> None:
    assert callable(write)
    try:
        while write(chunk) == len(chunk):
            pass
    except OSError:
        return
