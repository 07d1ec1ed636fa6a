"""Files at a URI: a tree of objects in S3, GCS, Azure or any other store that pyarrow can open.

An object is written whole or not at all, and read whole; nothing is ever appended to one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.errors import RecordError, explain

OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""In these stores a file appears only when it is complete, and folders need not be created."""


def is_uri(where: object) -> bool:
    """Whether this names something outside the local file tree."""
    return "://" in str(where)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStamp:
    """Size and time of an object: they tell two versions of it apart."""

    size: int
    """Bytes."""
    changed: int
    """Nanoseconds since 1970 by the store's own clock."""


class Store:
    """Objects below one URI, by names like ``records/log/000000001-000000001.jsonl``."""

    def __init__(self, uri: str) -> None:
        """``uri`` as pyarrow's ``FileSystem.from_uri`` takes it.

        Raises:
            RecordError: no such kind of URI, or its options are wrong.
        """
        from pyarrow import fs

        self.uri = uri.rstrip("/")
        try:
            self._files, base = fs.FileSystem.from_uri(self.uri)
        except (ValueError, OSError, NotImplementedError, TypeError) as error:
            remedy = "Write s3://bucket/folder, gs://bucket/folder, or a local path."
            raise RecordError(
                explain(uri, "must be a URI that pyarrow can open", _first_line(error), remedy)
            ) from error
        self._base = base.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """The object's bytes; None if there is no such object."""
        with self._errors_named(name):
            try:
                with self._files.open_input_stream(self._path(name)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """The object holds all of ``content`` when this returns."""
        with self._errors_named(name):
            path = self._path(name)
            if self._files.type_name in OBJECT_STORES:
                self._put(path, content)
                return
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            self._put(f"{path}.part", content)
            self._files.move(f"{path}.part", path)

    def delete(self, name: str) -> None:
        """The object is gone; nothing happens if there was none."""
        with self._errors_named(name):
            try:
                self._files.delete_file(self._path(name))
            except FileNotFoundError:
                return

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        with self._errors_named(name):
            return self._is_file(self._files.get_file_info(self._path(name)))

    def list(self, folder: str) -> dict[str, ObjectStamp]:
        """Every object at or below ``folder``, in the order of names; empty if there is none."""
        from pyarrow import fs

        with self._errors_named(folder):
            itself = self._files.get_file_info(self._path(folder))
            selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
            below = [] if self._is_file(itself) else self._files.get_file_info(selector)
            objects = [info for info in [itself, *below] if self._is_file(info)]
        skip = len(self._base) + 1
        return {
            info.path[skip:]: ObjectStamp(size=info.size, changed=int(info.mtime_ns or 0))
            for info in sorted(objects, key=lambda info: str(info.path))
        }

    def _put(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(content)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    def _is_file(self, info: Any) -> bool:
        from pyarrow import fs

        return bool(info.type == fs.FileType.File)

    @contextmanager
    def _errors_named(self, name: str) -> Iterator[None]:
        """An error of the store's client becomes a ``RecordError`` that names the object."""
        try:
            yield
        except (OSError, ValueError) as error:
            remedy = "Check that the bucket exists, the credentials, and the network; then go on."
            where = f"{without_secrets(self.uri)}/{name}"
            raise RecordError(
                explain(where, "must be reachable", _first_line(error), remedy)
            ) from error


def without_secrets(uri: str) -> str:
    """The URI without ``user:password@`` and without options, so that it can be printed."""
    scheme, _, rest = uri.partition("://")
    host_and_path = rest.partition("?")[0]
    user, at, address = host_and_path.rpartition("@")
    return f"{scheme}://{address}" if at and "/" not in user else f"{scheme}://{host_and_path}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
