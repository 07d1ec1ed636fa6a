"""Which faults there are, and a seeded plan of when each one strikes.

When is said in records of the study's log, never in seconds, so that a plan repeats.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Phase = Literal["running", "ending", "at_rest", "inside"]
Setting = Literal["plain", "nodes", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sort of fault."""

    told: str
    phase: Phase
    """The driver goes on; or it ends; or files change between two runs; or the study has it."""
    weight: int = 0
    """Its share of 100 faults."""
    setting: Setting = "plain"


KINDS: dict[str, Kind] = {
    "driver": Kind(told="kill -9 of the driver", phase="ending", weight=8),
    "slot": Kind(told="kill -9 of a job's process", phase="running", weight=17),
    "worker": Kind(told="kill -9 of a Train worker", phase="running", weight=2, setting="train"),
    "raylet": Kind(told="kill -9 of a node's raylet", phase="running", weight=3, setting="nodes"),
    "head": Kind(told="the head node dies", phase="ending", weight=2, setting="nodes"),
    "sigint": Kind(told="SIGINT", phase="ending", weight=3),
    "sigterm": Kind(told="SIGTERM", phase="ending", weight=3),
    "group": Kind(told="a signal to the whole process group", phase="ending", weight=3),
    "disk": Kind(told="disk full", phase="ending", weight=2),
    "truncated": Kind(told="newest checkpoint truncated", phase="at_rest", weight=8),
    "flipped": Kind(told="newest checkpoint: one bit flipped", phase="at_rest", weight=8),
    "asset": Kind(told="an asset's weights: one bit flipped", phase="at_rest", weight=2),
    "torn": Kind(told="last record torn", phase="at_rest", weight=8),
    "unrecorded": Kind(told="crash between finished and recorded", phase="at_rest", weight=8),
    "views": Kind(told="Parquet view lost or corrupt", phase="at_rest", weight=6),
    "journal": Kind(told="optuna.journal lost or corrupt", phase="at_rest", weight=4),
    "clock": Kind(told="the clock jumps", phase="at_rest", weight=3),
    "loader": Kind(told="kill -9 of a loader worker", phase="running", weight=4),
    "incomplete": Kind(told="failures past the limit, run again", phase="ending", weight=2),
    "second": Kind(told="a second run on a live study", phase="running", weight=4),
    "nan": Kind(told="NaN loss", phase="inside"),
    "oom": Kind(told="out of memory", phase="inside"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One strike: after how many more records, and the luck it draws its target with."""

    kind: str
    after: int
    luck: int

    def rng(self) -> random.Random:
        """The same draws whenever this fault strikes."""
        return random.Random(self.luck)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of a driver: faults it lives through, the one that ends it, and those after."""

    setting: Setting
    joins: bool
    """Whether the driver joins a cluster that outlives it, or starts Ray of its own."""
    running: tuple[Fault, ...]
    ending: Fault | None
    at_rest: tuple[Fault, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """``--set`` options that its faults need; none of them determines a number."""
        kinds = {fault.kind for fault in (*self.running, self.ending) if fault is not None}
        loader = ("resources.loader_workers=1",) if "loader" in kinds else ()
        return loader + (("resources.retries=0",) if "incomplete" in kinds else ())


def share_out(num: int, only: tuple[str, ...]) -> dict[str, int]:
    """How often each kind strikes: ``num`` in all by weight, each wanted kind at least once.

    Kinds that are inside the study come with every run of it and are not counted.
    """
    wanted = {name: kind.weight for name, kind in KINDS.items() if name in only or not only}
    struck = {name: weight for name, weight in wanted.items() if weight}
    counts = dict.fromkeys(struck, 1)
    total = sum(struck.values())
    while sum(counts.values()) < num and struck:
        name = max(struck, key=lambda n: struck[n] / total * num - counts[n])
        counts[name] += 1
    return counts | dict.fromkeys(wanted.keys() - struck.keys(), 0)


def plan_sessions(counts: Mapping[str, int], seed: int) -> list[Session]:
    """Every fault in some session; the same for the same counts and seed."""
    rng = random.Random(seed)
    sessions = []
    settings: tuple[Setting, ...] = ("plain", "nodes", "train")
    for setting in settings:
        faults = {phase: _drawn(counts, setting, phase, rng) for phase in PHASES}
        ending, running, at_rest = (faults[phase] for phase in PHASES)
        num = max(len(ending), math.ceil(len(running) / 3), math.ceil(len(at_rest) / 3))
        endings: list[Fault | None] = [*ending, *[None] * (num - len(ending))]
        rng.shuffle(endings)
        alone = [e is not None and e.kind == "incomplete" for e in endings]
        hosts = [i for i in range(num) if not alone[i]] or list(range(num))
        for i, found in enumerate(endings):
            sessions.append(
                Session(
                    setting=setting,
                    joins=setting == "nodes" or (setting == "plain" and _joins(i, found)),
                    running=tuple(_dealt(running, hosts, i)),
                    ending=found,
                    at_rest=tuple(at_rest[i::num]),
                )
            )
    return sorted(sessions, key=lambda s: (settings.index(s.setting), s.joins))


def _joins(number: int, ending: Fault | None) -> bool:
    """Two of three sessions; a signal to a whole group must meet Ray's own processes in it."""
    return number % 3 > 0 and (ending is None or ending.kind != "group")


PHASES: tuple[Phase, ...] = ("ending", "running", "at_rest")
MOST_RECORDS = 5
"""A fault strikes this many records after the one before it, at the latest."""


def _drawn(
    counts: Mapping[str, int], setting: Setting, phase: Phase, rng: random.Random
) -> list[Fault]:
    names = [
        name
        for name, num in counts.items()
        if KINDS[name].phase == phase and KINDS[name].setting == setting
        for _ in range(num)
    ]
    rng.shuffle(names)
    return [
        Fault(kind=name, after=rng.randint(1, most), luck=rng.getrandbits(32))
        for name in names
        for most in [1 if name == "second" else MOST_RECORDS]  # it takes seconds to be refused
    ]


def _dealt(faults: list[Fault], hosts: list[int], number: int) -> list[Fault]:
    """This session's share, if it is one of those that may have any."""
    return faults[hosts.index(number) :: len(hosts)] if number in hosts else []
