"""Which process holds a study, and whether it is alive, as far as this machine can see.

A pid identifies a process only within one boot and one namespace of process ids. Host names do not
help: containers on different machines often share theirs.
"""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

BEAT_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, as a lock file names it."""

    pid: int
    host: str
    machine: str | None
    """Boot and namespace of process ids; None where the system does not say."""
    started: str | None
    """Start in clock ticks since boot: another process may have the same pid later."""
    since: float
    """Unix time, for people."""

    @classmethod
    def this_process(cls) -> "Owner":
        """The calling process."""
        pid = os.getpid()
        return cls(
            pid=pid,
            host=platform.node(),
            machine=_machine(),
            started=read_start_ticks(pid),
            since=_since(pid),
        )

    @property
    def is_here(self) -> bool:
        """Whether its pid can be looked up on this machine."""
        return self.machine is not None and self.machine == _machine()

    @property
    def runs(self) -> bool:
        """Whether it is alive; meaningful only if ``is_here``."""
        return self.started is not None and read_start_ticks(self.pid) == self.started

    def is_same(self, other: "Owner | None") -> bool:
        """Whether both are one process."""
        identity = (self.pid, self.host, self.machine, self.started)
        return other is not None and identity == (
            other.pid,
            other.host,
            other.machine,
            other.started,
        )

    def __str__(self) -> str:
        minutes = max(0.0, time.time() - self.since) / 60
        return f"process {self.pid} on {self.host}, for {minutes:.0f} min"


def encode_owner(owner: Owner, num_beats: int) -> bytes:
    """The content of a lock file; its length does not depend on the number of beats."""
    return json.dumps({**asdict(owner), "beat": f"{num_beats:0{BEAT_DIGITS}d}"}).encode()


def decode_owner(content: bytes) -> Owner | None:
    """The process that a lock file names; None if the content is no owner."""
    try:
        values = json.loads(content)
        return Owner(
            pid=int(values["pid"]),
            host=str(values["host"]),
            machine=values.get("machine"),
            started=values["started"],
            since=float(values.get("since", values.get("beat", 0.0))),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read_start_ticks(pid: int) -> str | None:
    """Start time of a process; None if there is no such process, a zombie included."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else after_name[19]


@cache
def _machine() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


@cache
def _since(pid: int) -> float:
    return round(time.time(), 1)
