"""Carries out a plan: runs studies through the command line, strikes, resumes, and compares."""

import logging
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from faults import processes
from faults.account import Wound, book_redone, count_lost, read_updates
from faults.at_rest import AT_REST
from faults.command import Command, Seen, num_records
from faults.disk import Disk
from faults.inside import bad_arms, spoilt_files
from faults.kinds import KINDS, Fault, Session, Setting
from faults.nodes import Nodes
from faults.strikes import Field, require_end, strike
from faults.study import Tables, finished_rungs, results, write_studies
from faults.turns import Turns
from rethink_ray.records.directory import StudyDirectory

GONE_SECONDS = 90.0
"""Ray's processes end by themselves within this time after their driver's end."""
REST_SECONDS = 5.0
"""So long a killed driver's processes may go on before files are damaged; then they are killed."""
MOST_ATTEMPTS = 4
"""So often a study is continued after an end nobody planned, then it is given up."""
SLOTS = {"plain": 2, "train": 1}
NO_START = "Ray: must start on this machine"
"""Ray gives its own processes half a minute, which a busy machine may need; no fault of ours."""
MOST_NO_STARTS = 10
MOST_MISSES = 4
"""Studies that may end before a fault has struck."""
MOST_PAUSES = 12
PAUSE = 8
"""Records after which a study that only waits for damage is stopped."""

_log = logging.getLogger("chaos")


@dataclass(slots=True, kw_only=True)
class Case:
    """One study that is being disturbed."""

    name: str
    setting: Setting
    root: Path
    wounds: list[Wound] = field(default_factory=list)
    attempts: int = 0
    """Ends that nobody planned."""
    has_options: bool = False
    """Whether the last start had options that the next one must take back."""


class Campaign:
    """Everything between a plan and its wounds."""

    def __init__(
        self, work: Path, updates: Path, turns: Turns, *, seed: int, size: str = "full"
    ) -> None:
        self.wounds: list[Wound] = []
        self.problems: list[str] = []
        """What went wrong and is no single fault's."""
        self._work, self._updates, self._turns = work, updates, turns
        self._files = write_studies(work / "files", size)
        self._disk = Disk(work / "disk")
        self._rng = random.Random(seed)
        self._expected: dict[str, Tables] = {}
        self._case: Case | None = None
        self._num_cases = 0
        self._no_starts = 0
        self._nodes: Nodes | None = None
        self._waiting: list[Fault] = []
        """Damage that found nothing to damage yet."""

    def undisturbed(self, setting: Setting) -> Tables:
        """The tables of a study that nobody disturbs; run when they are first asked for."""
        file = _file_of(setting)
        if file not in self._expected:
            case = self._new_case("train" if file == "train" else "plain")
            command = self._start(case)
            began = time.monotonic()
            command.wait_for_end()
            self._rest()
            if command.code != 0:
                raise SystemExit(f"undisturbed, it ended with {command.code}: {command.said()}")
            updates = self._updates_of(case)
            if not updates or len(updates) != len(set(updates)):
                raise SystemExit(f"{len(updates)} updates, only {len(set(updates))} different")
            num, seconds = len(updates), time.monotonic() - began
            _log.info("undisturbed, %s: %.0f s, %d updates", file, seconds, num)
            self._expected[file] = results(case.root)
            self._close_case(case)
        return self._expected[file]

    def carry_out(self, session: Session) -> None:
        """All faults of a session strike: one study, or the next one if that ends before."""
        if self._case is not None and self._case.setting != session.setting:
            self._finish_case()
        self.undisturbed(session.setting)
        todo = [*session.running, *([session.ending] if session.ending else [])]
        misses = 0
        while True:
            case = self._case or self._new_case(session.setting)
            self._case = case
            command = self._start(case, session)
            while todo and self._strike(case, command, todo[0]):
                todo.pop(0)
                misses = 0
            paused = bool(not todo and session.ending is None and session.at_rest) and self._pause(
                case, command, 1 if session.running else PAUSE
            )
            self._conclude(case, command, paused=paused)
            misses += 1
            if todo and misses > MOST_MISSES:
                self.problems.append(f"{todo.pop(0).kind} could not be inflicted")
            if not todo:
                break
        self._waiting += session.at_rest
        self._damage()
        if session.setting != "plain":
            self._finish_case()

    def finish(self) -> None:
        """The study under way runs to its end, and damage that still waits finds a study."""
        for _ in range(MOST_PAUSES):
            if not self._waiting:
                break
            case = self._case = self._case or self._new_case("plain")
            command = self._start(case)
            self._conclude(case, command, paused=self._pause(case, command, PAUSE))
            self._damage()
        self.problems += [f"nothing was found for {fault.kind}" for fault in self._waiting]
        self._finish_case()

    def give_up(self, problem: str) -> None:
        """The study under way is left, with everything that belongs to it."""
        _log.info("given up: %s", problem)
        self.problems.append(problem)
        self._case = None
        self._stop_nodes()
        processes.kill(processes.below_us())
        self._rest()

    def close(self) -> None:
        """Nothing that was started is left."""
        if self._nodes is not None:
            self._nodes.stop()
        processes.kill(processes.below_us())
        processes.wait_until_gone(0.0)
        self._turns.give()
        self._disk.close()

    def _finish_case(self) -> None:
        while self._case is not None:
            command = self._start(self._case)
            self._conclude(self._case, command)
        self._rest()

    def _new_case(self, setting: Setting) -> Case:
        name = f"{setting}-{self._num_cases}"
        self._num_cases += 1
        return Case(name=name, setting=setting, root=self._disk.folder / name)

    def _start(self, case: Case, session: Session | None = None) -> Command:
        """A driver for this study: ``run``, or ``resume`` where that says the same."""
        self._turns.take()
        joins = session.joins if session else self._nodes is not None or case.setting == "nodes"
        options = session.options if session else ()
        sets = [word for option in options for word in ("--set", option)]
        names_file = not StudyDirectory.holds_study(case.root) or options or case.has_options
        if names_file or self._rng.random() < 0.5:
            file = str(self._files[_file_of(case.setting)])
            words = ["run", file, "--out", str(case.root), *sets]
        else:
            words = ["resume", str(case.root)]
        case.has_options = bool(options)
        where = self._where(case.setting, joins=joins)
        return Command([*words, *where], case.root, self._work / f"{case.name}.txt")

    def _where(self, setting: Setting, *, joins: bool) -> list[str]:
        """The cluster that a driver joins, or how many slots it starts itself."""
        if not joins:
            self._stop_nodes()
            return ["--slots", str(SLOTS[setting])]
        if self._nodes is None:
            self._nodes = Nodes(1, others=1) if setting == "nodes" else Nodes(2, others=0)
        return ["--address", self._nodes.address]

    def _strike(self, case: Case, command: Command, fault: Fault) -> bool:
        """The fault's moment came, and it struck; else the driver has ended or hangs."""
        rng = fault.rng()
        if num_records(case.root) == 0 and fault.kind == "driver" and fault.after == 1:
            time.sleep(4 * rng.random())  # before there is anything
        elif command.wait_for_records(num_records(case.root) + fault.after) is not Seen.REACHED:
            return False
        else:
            time.sleep(rng.random())  # somewhere inside a job: they take about a second
        wound = Wound(
            kind=fault.kind,
            told="",
            case=case.name,
            before=finished_rungs(case.root),
            updates=len(self._updates_of(case)),
        )
        told = strike(fault.kind, Field(command, rng, self._nodes, self._disk), wound)
        if told is None:
            return False
        wound.told = told
        _log.info("%s, %d records: %s: %s", case.name, num_records(case.root), fault.kind, told)
        self.wounds.append(wound)
        case.wounds.append(wound)
        return True

    def _pause(self, case: Case, command: Command, after: int) -> bool:
        """The driver is asked to stop after so many records, and that is no fault."""
        reached = command.wait_for_records(num_records(case.root) + after) is Seen.REACHED
        if reached:
            command.tell(signal.SIGTERM, group=False)
        return reached

    def _conclude(self, case: Case, command: Command, *, paused: bool = False) -> None:
        """The driver has ended, and whether that was as it should is written down."""
        seen = command.wait_for_end()
        if command.code not in (0, None) and NO_START in command.said():
            _log.info("%s: Ray did not start; the machine is busy", case.name)
            self._no_starts += 1
            if self._no_starts > MOST_NO_STARTS:
                raise SystemExit("Ray does not start on this machine")
            return
        last = case.wounds[-1] if case.wounds else None
        if seen is Seen.HUNG:
            self._hang(case, command, last)
        self._disk.free()
        ended_it = last is not None and KINDS[last.kind].phase == "ending" and not last.concluded
        if last is not None and ended_it:
            last.concluded = True
            if seen is Seen.ENDED and (command.code != 0 or last.kind == "incomplete"):
                require_end(last, command)
            if last.kind == "head":
                self._stop_nodes()
        elif command.code != 0 and not (paused and command.code == 143) and seen is Seen.ENDED:
            self._blame(case, f"the driver ended with {command.code}: {command.last_words()}")
        _log.info("%s: exit %s: %s", case.name, command.code, command.last_words())
        if command.code == 0:
            self._close_case(case)
            self._rest()
        elif case.attempts > MOST_ATTEMPTS:
            self._blame(case, f"given up after {MOST_ATTEMPTS} attempts")
            self._case = None

    def _hang(self, case: Case, command: Command, last: Wound | None) -> None:
        _log.info("%s: nothing moves: %s", case.name, command.last_words())
        if last is not None:
            last.hung = True
        self._blame(case, f"hung; its last words: {command.last_words()}")
        processes.kill(processes.family_of(command.pid))
        command.wait_for_end()

    def _blame(self, case: Case, problem: str) -> None:
        case.attempts += 1
        if case.wounds:
            case.wounds[-1].blame(problem)
        else:
            self.problems.append(f"{case.name}: {problem}")

    def _damage(self) -> None:
        """Everything has ended; then files change."""
        if self._case is None or not self._waiting:
            return
        if self._nodes is None:
            self._quiet(REST_SECONDS)
        else:
            self._clear_slots()
        case = self._case
        for fault in self._waiting[:]:
            wound = Wound(
                kind=fault.kind,
                told="",
                case=case.name,
                before=finished_rungs(case.root),
                updates=len(self._updates_of(case)),
            )
            damage = AT_REST[fault.kind](case.root, fault.rng())
            if damage is None:
                continue
            wound.told, wound.trial = damage.told, damage.trial
            _log.info("%s: %s: %s", case.name, fault.kind, damage.told)
            for problem in spoilt_files(case.root):
                wound.blame(problem)
            self.wounds.append(wound)
            case.wounds.append(wound)
            self._waiting.remove(fault)

    def _close_case(self, case: Case) -> None:
        """The study is done: what each fault cost, and whether the tables are the same."""
        self._case = None
        after = finished_rungs(case.root)
        identical = results(case.root) == self._expected[_file_of(case.setting)]
        problems = spoilt_files(case.root, done=True)
        inside = bad_arms(case.name, case.root) if _file_of(case.setting) == "plain" else []
        for wound in case.wounds:
            wound.lost = count_lost(wound.before, after)
        unexplained = book_redone(case.wounds, self._updates_of(case))
        if unexplained:
            problems.append(f"{unexplained} updates were made twice without any fault")
        self.problems += [f"{case.name}: {problem}" for problem in problems]
        self.wounds += inside
        for wound in [*case.wounds, *inside]:
            wound.identical = identical
        _log.info("%s is done, tables %s", case.name, "identical" if identical else "DIFFER")

    def _updates_of(self, case: Case) -> list[str]:
        return [line for line in read_updates(self._updates) if line.startswith(f"{case.root}/")]

    def _clear_slots(self) -> None:
        """No job of an ended driver runs any more in a cluster that outlives it."""
        until = time.monotonic() + GONE_SECONDS
        while processes.slots() and time.monotonic() < until:
            time.sleep(0.1)
        if left := processes.slots():
            self.problems.append(f"{len(left)} slots outlived their driver")
            processes.kill(left)

    def _rest(self) -> None:
        """Nothing runs any more; others may use the machine."""
        self._quiet(GONE_SECONDS)
        self._turns.give()

    def _quiet(self, seconds: float) -> None:
        """Every process is gone; after so long, by force."""
        self._stop_nodes()
        left = processes.wait_until_gone(seconds)
        if left:
            _log.info("killed after %.0f s: %s", seconds, ", ".join(left))
        if left and seconds == GONE_SECONDS:
            self.problems.append(f"{len(left)} processes had to be killed")

    def _stop_nodes(self) -> None:
        if self._nodes is not None:
            self._nodes.stop()
            self._nodes = None


def _file_of(setting: Setting) -> str:
    return "train" if setting == "train" else "plain"
