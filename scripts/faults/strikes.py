"""Faults that strike while a study runs; each says what it did, or None if its target is gone."""

import platform
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from faults import processes
from faults.account import Wound
from faults.command import Command, Seen
from faults.disk import Disk
from faults.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Field:
    """What a strike can aim at."""

    command: Command
    rng: random.Random
    nodes: Nodes | None
    disk: Disk


def strike(kind: str, field: Field, wound: Wound) -> str | None:
    """Inflict one fault on a running study; None if it could not be."""
    match kind:
        case "slot" | "incomplete":
            return _kill_one(field, processes.slots)
        case "loader":
            return _kill_one(field, processes.loader_workers)
        case "worker":
            return _kill_one(field, processes.train_workers)
        case "second":
            return _run_a_second(field, wound)
        case "driver":
            field.command.kill()
            return "killed"
        case "sigint" | "sigterm":
            number = signal.SIGINT if kind == "sigint" else signal.SIGTERM
            field.command.tell(number, group=False)
            return number.name
        case "group":
            number = field.rng.choice((signal.SIGINT, signal.SIGTERM))
            field.command.tell(number, group=True)
            return f"{number.name} to all"
        case "disk":
            return field.disk.fill([field.command.pid, *processes.slots()])
        case "raylet":
            assert field.nodes is not None, "raylets die in a cluster of nodes"
            return field.nodes.kill_raylet(field.rng)
        case "head":
            assert field.nodes is not None, "heads die in a cluster of nodes"
            return field.nodes.kill_head()
    raise AssertionError(kind)


def require_end(wound: Wound, command: Command) -> None:
    """The driver that this fault ended left as it should: exit code and last words."""
    match wound.kind:
        case "driver":
            codes: tuple[int, ...] = (-signal.SIGKILL,)
        case "incomplete":
            codes = (3,)
            if not re.search(r"incomplete: \S+: \S", command.said()):
                wound.blame("it did not say which job was lost and why")
        case "disk":
            codes = (2, 3)
            if "o space left" not in command.said() and "too large" not in command.said():
                wound.blame(f"it did not say that the disk is full: {command.last_words()}")
        case "head":
            codes = (3,)
        case _:
            codes = (130,) if "SIGINT" in wound.told else (143,)
    if command.code not in codes:
        wound.blame(f"the driver ended with {command.code}: {command.last_words()}")
    if "Traceback (most recent call last)" in command.said():
        wound.blame(f"it ended with a traceback: {command.last_words()}")


def _kill_one(field: Field, look: Callable[[], list[int]]) -> str | None:
    found: list[int] = []

    def is_there() -> bool:
        found[:] = look()
        return bool(found)

    if field.command.wait_until(is_there) is not Seen.REACHED:
        return None
    processes.kill([field.rng.choice(found)])
    return "one killed"


def _run_a_second(field: Field, wound: Wound) -> str | None:
    """``resume`` on the live study is refused with exit 2, and names who runs it."""
    words = [sys.executable, "-m", "rethink_ray.cli", "resume", str(field.command.root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as second:
        processes.OURS.add(second.pid)
        said = second.communicate()[0].decode(errors="replace")
    if field.command.code is not None:
        return None
    if second.returncode != 2:
        wound.blame(f"a second run ended with {second.returncode}: {said[-200:]}")
    if str(field.command.pid) not in said or platform.node() not in said:
        wound.blame(f"the refusal does not name host and process: {said[-200:]}")
    return "refused" if wound.survived else "not refused"
