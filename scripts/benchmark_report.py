"""What findings and report cost for a large study: 10,000 made-up trials, all of them on six rungs.

    python scripts/benchmark_report.py [--trials 10000] [--cells 10] [--out DIR]

Writes the records a driver would have left (no Ray, no torch), then times the commands as a reader
waits for them: median of three, and the peak memory of the process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from large_study import facts_of, large_study
from numpy.random import Generator

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.log import encode
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, Member, RoundProposed, RungDone
from rethink_ray.records.views import write_views
from rethink_ray.session import start_study
from rethink_ray.spec.metrics import SCORES
from rethink_ray.spec.resolve import Cell, cells_of
from rethink_ray.spec.study import Study

LENGTHS = [2.0, 4.0, 6.0, 9.0, 12.0, 24.0]
ROUND = 50
REPLICATES = 5
RUNS = 3


@dataclass(frozen=True)
class Cost:
    """One command: how long it took, and the most memory it held."""

    seconds: float
    megabytes: float


def made_up_study(num_cells: int, trials: int) -> Study:
    """Nobody is halved away; four arms differ in colour, so that no two are twins."""
    budget = {"trials": trials, "keep": [ROUND] * len(LENGTHS), "replicates": REPLICATES}
    arms = {f"arm{i}": {"set": {"augment.color": 0.1 * i}} for i in range(1, 5)}
    return large_study(num_cells, LENGTHS, budget, arms)


def make_records(study: Study, root: Path) -> None:
    """The whole study in a log, and its views."""
    rng = np.random.default_rng(0)
    directory = start_study(root, study, "study: large\n", facts_of(study), {})
    state = StudyState()
    for cell in cells_of(study):
        for event in searched(study, cell, rng):
            state.add(event)
        for event in replicated(study, state, cell, rng):
            state.add(event)
    events: list[Event] = [r for rounds in state.rounds.values() for r in rounds.values()]
    events += list(state.rungs.values())
    lines = (encode(replace(e, at=1.7e9 + i)) + "\n" for i, e in enumerate(events))
    directory.log.path.write_text("".join(lines), encoding="ascii")
    write_views(directory, directory.load_state(), build_tables)


def searched(study: Study, cell: Cell, rng: Generator) -> Iterator[Event]:
    """Search trials of one cell in rounds, every rung of each."""
    for number in range(study.budget.trials // ROUND):
        members = tuple(sampled(cell, "search", number, i, rng) for i in range(ROUND))
        yield round_of(cell, "search", number, members)
        yield from (rung for member in members for rung in rungs_of(member, rng))


def replicated(study: Study, state: StudyState, cell: Cell, rng: Generator) -> Iterator[Event]:
    """Replicates of the cell's incumbents."""
    best = {m.trial_id: m for m in StudyView(study, state).cell(cell).incumbents.values()}
    members = tuple(
        replace(m, trial_id=f"{rng.integers(2**62):016x}", seed=i, of=m.trial_id)
        for m in best.values()
        for i in range(REPLICATES)
    )
    yield round_of(cell, "replicate", 0, members)
    yield from (rung for member in members for rung in rungs_of(member, rng))


def round_of(cell: Cell, purpose: Any, number: int, members: tuple[Member, ...]) -> RoundProposed:
    return RoundProposed(
        regime=cell.regime, arm=cell.arm, number=number, purpose=purpose, members=members
    )


def sampled(cell: Cell, purpose: str, number: int, index: int, rng: Generator) -> Member:
    params: dict[str, Any] = {
        "optimizer.lr": float(f"{10 ** rng.uniform(-2.3, -0.7):.6g}"),
        "optimizer.weight_decay": float(f"{10 ** rng.uniform(-5, -2):.6g}"),
        "optimizer.momentum": float(f"{rng.uniform(0.8, 0.95):.6g}"),
        "detector.norm": str(rng.choice(["gn", "bn"])),
    }
    return Member(trial_id=f"{rng.integers(2**62):016x}", params=params, seed=number)


def rungs_of(member: Member, rng: Generator) -> Iterator[RungDone]:
    """AP that depends on the rate and the length, with the columns of a real rung."""
    lr = float(member.params["optimizer.lr"] or 0.0)
    quality = -((np.log10(lr) + 1.5) ** 2) + 0.3 * rng.normal()
    for length in LENGTHS:
        ap = float(25.0 + 3.0 * np.log2(length) + 4.0 * quality + 0.3 * rng.normal())
        yield RungDone(
            trial_id=member.trial_id,
            length=length,
            steps=int(100 * length),
            metrics={f"{s}/{m}": ap + i for s in ("val", "test") for i, m in enumerate(SCORES)}
            | {"train/loss": 1.0 / length, "train/backbone_drift": 0.1 * float(np.sqrt(length))},
            seconds_train=10.0 * length,
            seconds_score=1.0,
            steps_new=int(100 * length),
            peak_memory_bytes=10**9,
            peak_memory_of="gpu",
            trained_share=1.0,
            step_flops=1.06e9,
            host="node-17",
            instruction_set="AVX512",
        )


def cost_of(words: list[str]) -> Cost:
    """Of one run; its output is thrown away."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rethink_ray.cli", *words], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{words} failed"
    return Cost(seconds=time.perf_counter() - started, megabytes=usage.ru_maxrss / 1000.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--out", type=Path, help="kept; made only if it holds no study")
    parser.add_argument("--make", action="store_true", help="only make the records")
    asked = parser.parse_args()
    root = asked.out or Path(tempfile.mkdtemp(prefix="rethink-ray-")) / "large"
    if asked.make:
        make_records(made_up_study(asked.cells, asked.trials // asked.cells), root)
        return
    if not StudyDirectory.holds_study(root):
        # in a process of its own: a command's peak memory counts what its parent held
        again = [sys.executable, *sys.argv, "--out", str(root), "--make"]
        subprocess.run(again, check=True)
    print("| command | median of 3 (s) | peak memory (MB) |\n|---|---|---|")
    for words in (["findings"], ["report"]):
        runs = [cost_of([words[0], str(root), *words[1:]]) for _ in range(RUNS)]
        seconds = statistics.median(run.seconds for run in runs)
        print(f"| {' '.join(words)} | {seconds:.1f} | {max(r.megabytes for r in runs):.0f} |")
    page = root / "report" / "report.html"
    print(f"\nreport.html: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
