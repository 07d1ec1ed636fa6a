"""A machine's local folder of a study at a URI, kept in sync with the store.

Checkpoints and rungs are pure functions of their trial, so two machines write equal files. Copies
therefore need no locks, and a stale copy costs time and never changes a number.
"""

from pathlib import Path

from rethink_ray.records.store import ObjectStamp, Store, without_secrets
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
        """Files and folders of the store are in ``root``, except where the local file is newer."""
        for name in names:
            for inner, stamp in self.store.list(name).items():
                if self._is_older(inner, stamp):
                    self._download(inner, self.store.read(inner))

    def trust(self, *names: str) -> None:
        """Local files of the store's size count as equal to it and are not uploaded again.

        For files that are written once; call ``pull`` first.
        """
        for name in names:
            local = self._files(name)
            for inner, remote in self.store.list(name).items():
                if inner in local and local[inner][0] == remote.size:
                    self._synced[inner] = local[inner]

    def push(self, *names: str) -> None:
        """The store equals these local files and folders; files deleted here are deleted there."""
        for name in names:
            local = self._files(name)
            for inner, stamp in local.items():
                if self._synced.get(inner) != stamp:
                    self._upload(inner, stamp)
            for inner in [n for n in self._synced if _lies_in(n, name) and n not in local]:
                self.store.delete(inner)
                del self._synced[inner]

    def drop(self, name: str) -> None:
        """The file is deleted, here and in the store."""
        (self.root / name).unlink(missing_ok=True)
        self._synced.pop(name, None)
        self.store.delete(name)

    def _download(self, name: str, content: bytes | None) -> None:
        if content is None:  # deleted since it was listed
            return
        path = self.root / name
        write_atomically(path, content)
        self._synced[name] = _stamp_of(path)

    def _upload(self, name: str, stamp: tuple[int, int]) -> None:
        try:
            content = (self.root / name).read_bytes()
        except FileNotFoundError:
            return
        self.store.write(name, content)
        self._synced[name] = stamp

    def _is_older(self, name: str, stamp: ObjectStamp) -> bool:
        """Whether the file here is missing, or older than the one in the store."""
        path = self.root / name
        if not path.exists():
            return True
        return stamp.changed > _stamp_of(path)[1]

    def _files(self, name: str) -> dict[str, tuple[int, int]]:
        """Local files at or below ``name``; files whose name begins with a dot are temporary."""
        top = self.root / name
        paths = [top] if top.is_file() else sorted(top.rglob("*"))
        stamps = {}
        for path in paths:
            try:
                if path.is_file() and not path.name.startswith("."):
                    stamps[path.relative_to(self.root).as_posix()] = _stamp_of(path)
            except FileNotFoundError:  # deleted meanwhile
                continue
        return stamps


def working_folder(uri: str) -> Path:
    """The folder of this machine for the study at ``uri``, the same for each process."""
    address = without_secrets(uri).rstrip("/")
    digest = sha256_of(address)[:10]
    return cache_folder() / "studies" / f"{Path(address).name}-{digest}"


def _stamp_of(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _lies_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")
