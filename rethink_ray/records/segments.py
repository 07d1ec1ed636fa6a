"""The log of a study at a URI: numbered segments that are never changed, and a local copy of them.

A segment ``<first>-<last>.jsonl`` holds the lines with these numbers. Each event is first a segment
of its own; opening a log with many of them joins them into one.
"""

from pathlib import Path

from rethink_ray.records.log import RecordLog, encode
from rethink_ray.records.store import Store
from rethink_ray.records.types import Event
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain

JOIN_AT = 200
"""Opening a log to write joins its segments if there are this many."""
Span = tuple[int, int]


class SegmentLog(RecordLog):
    """An event log in a store; the file at ``path`` is a copy of it."""

    def __init__(self, path: Path, store: Store, folder: str, *, join_at: int = JOIN_AT) -> None:
        super().__init__(path)
        self._store = store
        self._folder = folder
        self._join_at = join_at
        self._next = 0
        """Number of the next line; 0 if this process has written none."""

    def read(self) -> list[Event]:
        """Every event, oldest first.

        Raises:
            RecordError: the store does not answer, a segment is missing or is no event.
        """
        if not self._next:
            self._fetch()
        return super().read()

    def size(self) -> int:
        """Bytes of all lines."""
        if not self._next:
            self._fetch()
        return super().size()

    def append(self, event: Event) -> None:
        """``event`` is in the store when this returns.

        Raises:
            RecordError: the store refused, or another process has written in the meantime.
        """
        if not self._next:
            self._next = self._fetch(join=True) + 1
        name = self._name((self._next, self._next))
        if self._store.exists(name):
            remedy = "Stop one of the two; the other goes on where both agree."
            raise RecordError(explain(name, "must be new", "another writer's event", remedy))
        self._store.write(name, encode(event).encode("ascii") + b"\n")
        self._next += 1
        super().append(event)

    def _fetch(self, *, join: bool = False) -> int:
        """The local copy equals the store's log; returns the number of its last line."""
        spans = self._spans()
        used = _chain(spans, self._folder)
        content = b"".join(self._segment(span) for span in used)
        if not self.path.exists() or self.path.read_bytes() != content:
            write_atomically(self.path, content)
        last = used[-1][1] if used else 0
        if join and len(spans) >= self._join_at:
            self._store.write(self._name((1, last)), content)
            for span in spans:
                if span != (1, last):
                    self._store.delete(self._name(span))
        return last

    def _spans(self) -> list[Span]:
        names = (Path(name).stem for name in self._store.list(self._folder))
        return sorted(_span_of(stem) for stem in names)

    def _segment(self, span: Span) -> bytes:
        name = self._name(span)
        content = self._store.read(name)
        lines = content.count(b"\n") if content is not None else 0
        if content is None or lines != span[1] - span[0] + 1 or not content.endswith(b"\n"):
            raise RecordError(
                explain(name, f"must hold {span[1] - span[0] + 1} lines", f"{lines} lines")
            )
        return content

    def _name(self, span: Span) -> str:
        return f"{self._folder}/{span[0]:09d}-{span[1]:09d}.jsonl"


def _span_of(stem: str) -> Span:
    first, _, last = stem.partition("-")
    try:
        return int(first), int(last)
    except ValueError:
        raise RecordError(explain(stem, "must be named first-last", stem)) from None


def _chain(spans: list[Span], folder: str) -> list[Span]:
    """Segments that follow each other from line 1; of two with one first line, the longer."""
    by_first = dict(spans)
    used: list[Span] = []
    line = 1
    while line in by_first:
        used.append((line, by_first[line]))
        line = by_first[line] + 1
    beyond = [span for span in spans if span[0] >= line]
    if beyond:
        remedy = "Restore the missing segment from a copy, or delete those after it."
        got = f"one that begins with line {beyond[0][0]}"
        raise RecordError(explain(folder, f"must have a segment of line {line}", got, remedy))
    return used
