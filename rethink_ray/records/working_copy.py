"""A study at a URI as one machine works on it: a local folder, and what of it the store has.

Checkpoints and rungs are pure functions of their trial, so a file that two machines wrote is the
same file; that is why copies need no locks, and why a stale one costs time and never a number.
"""

from pathlib import Path

from rethink_ray.records.store import Stamp, Store, without_secrets
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.hashing import sha256_of


class WorkingCopy:
    """Names are relative to the study, with ``/``, and the same in the store and in ``root``."""

    def __init__(self, uri: str, root: Path | None = None) -> None:
        self.uri = uri
        self.root = root or working_folder(uri)
        self.store = Store(uri)
        self._synced: dict[str, tuple[int, int]] = {}
        """Size and time of each local file when it was last the same as in the store."""

    def pull(self, *names: str) -> None:
        """Files and folders of the store are here, unless what is here is newer."""
        for name in names:
            for inner, stamp in self.store.list(name).items():
                if self._is_older(inner, stamp):
                    self._take(inner, self.store.read(inner))

    def trust(self, *names: str) -> None:
        """What is as large here as in the store is taken to be the same, and not sent again.

        For what is written once, by whoever; call ``pull`` first.
        """
        for name in names:
            here = self._files(name)
            for inner, there in self.store.list(name).items():
                if inner in here and here[inner][0] == there.size:
                    self._synced[inner] = here[inner]

    def push(self, *names: str) -> None:
        """The store has these files and folders as they are here; what went here goes there."""
        for name in names:
            here = self._files(name)
            for inner, stamp in here.items():
                if self._synced.get(inner) != stamp:
                    self._give(inner, stamp)
            for inner in [n for n in self._synced if _lies_in(n, name) and n not in here]:
                self.store.delete(inner)
                del self._synced[inner]

    def drop(self, name: str) -> None:
        """The file is gone, here and in the store."""
        (self.root / name).unlink(missing_ok=True)
        self._synced.pop(name, None)
        self.store.delete(name)

    def _take(self, name: str, content: bytes | None) -> None:
        if content is None:  # dropped since it was listed
            return
        path = self.root / name
        write_atomically(path, content)
        self._synced[name] = _stamp_of(path)

    def _give(self, name: str, stamp: tuple[int, int]) -> None:
        try:
            content = (self.root / name).read_bytes()
        except FileNotFoundError:
            return
        self.store.write(name, content)
        self._synced[name] = stamp

    def _is_older(self, name: str, stamp: Stamp) -> bool:
        """Whether the file here is missing, or older than the one in the store."""
        path = self.root / name
        if not path.exists():
            return True
        return stamp.changed > _stamp_of(path)[1]

    def _files(self, name: str) -> dict[str, tuple[int, int]]:
        """Local files at or below ``name`` that are whole; temporary ones begin with a dot."""
        top = self.root / name
        paths = [top] if top.is_file() else sorted(top.rglob("*"))
        found = {}
        for path in paths:
            try:
                if path.is_file() and not path.name.startswith("."):
                    found[path.relative_to(self.root).as_posix()] = _stamp_of(path)
            except FileNotFoundError:  # pruned while we looked
                continue
        return found


def working_folder(uri: str) -> Path:
    """The folder of this machine for the study at ``uri``, the same for each process."""
    shown = without_secrets(uri).rstrip("/")
    digest = sha256_of(shown)[:10]
    return cache_folder() / "studies" / f"{Path(shown).name}-{digest}"


def _stamp_of(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _lies_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")
