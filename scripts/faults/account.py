"""What a fault cost, and the table of all of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.kinds import KINDS
from faults.study import same_numbers
from rethink_ray.records.types import RungDone

Rungs = Mapping[tuple[str, float], RungDone]


@dataclass(slots=True, kw_only=True)
class Wound:
    """One fault that struck, and what was found out about it once its study had ended."""

    kind: str
    told: str
    case: str
    """Which study it struck."""
    before: Rungs
    """Rungs recorded until then."""
    updates: int
    """Updates made until then, by all trials of the study."""
    trial: str | None = None
    """The trial whose files were damaged."""
    survived: bool = True
    hung: bool = False
    lost: int = 0
    redone: int = 0
    identical: bool = False
    problems: list[str] = field(default_factory=list)
    concluded: bool = False
    """Whether the end of the driver that it caused was looked at."""

    def blame(self, problem: str) -> None:
        """The study did not live through this as it should."""
        self.survived = False
        self.problems.append(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All faults of one kind."""

    kind: str
    injected: int
    survived: int
    rungs_lost: int
    steps_redone: int
    hangs: int
    identical: int

    @property
    def good(self) -> bool:
        """Nothing is lost, nothing hung, nothing differs."""
        whole = self.survived == self.identical == self.injected
        return whole and not self.rungs_lost and not self.hangs


def rows_of(wounds: Sequence[Wound]) -> list[Row]:
    """One row per kind, in the order of the list of kinds."""
    return [
        Row(
            kind=kind,
            injected=len(found),
            survived=sum(w.survived for w in found),
            rungs_lost=sum(w.lost for w in found),
            steps_redone=sum(w.redone for w in found),
            hangs=sum(w.hung for w in found),
            identical=sum(w.identical for w in found),
        )
        for kind in KINDS
        if (found := [w for w in wounds if w.kind == kind])
    ]


def count_lost(before: Rungs, after: Rungs) -> int:
    """Rungs that were recorded and are not any more, or with other numbers."""
    return sum(
        key not in after or not same_numbers(rung, after[key]) for key, rung in before.items()
    )


def read_updates(path: Path) -> list[str]:
    """One line per update: trial folder, step, rate."""
    return path.read_text().splitlines() if path.exists() else []


def book_redone(wounds: Sequence[Wound], updates: Sequence[str]) -> int:
    """Give every repeated update to the fault that caused it; how many no fault explains.

    That is the last one before it that struck processes or damaged files of the same trial.
    """
    seen: Counter[str] = Counter()
    unexplained = 0
    for number, line in enumerate(updates):
        seen[line] += 1
        if seen[line] > 1:
            culprit = _culprit(wounds, number, Path(line.partition("|")[0]).name)
            if culprit is None:
                unexplained += 1
            else:
                culprit.redone += 1
    return unexplained


def _culprit(wounds: Sequence[Wound], number: int, trial: str) -> Wound | None:
    earlier = [wound for wound in wounds if wound.updates <= number]
    likely = [w for w in earlier if w.trial == trial or KINDS[w.kind].phase != "at_rest"]
    found = likely or earlier
    return found[-1] if found else None


HEADS = ("fault", "injected", "survived", "rungs lost", "steps redone", "hangs", "identical")


def table_lines(rows: Iterable[Row], *, markdown: bool) -> Iterator[str]:
    """The table, for a terminal or for a document."""
    cells = [HEADS, *(_cells(row) for row in rows)]
    if markdown:
        yield "| " + " | ".join(HEADS) + " |"
        yield "|" + "---|" * len(HEADS)
        yield from ("| " + " | ".join(row) + " |" for row in cells[1:])
        return
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADS))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.injected, row.survived, row.rungs_lost, row.steps_redone, row.hangs)
    identical = "yes" if row.identical == row.injected else f"{row.identical} of {row.injected}"
    return (KINDS[row.kind].told, *map(str, numbers), identical)
