"""What a large study costs to go on with: time to its first job, views, Optuna journal, and memory.

Writes the records of a made-up study of 10,000 finished trials into a folder (no Ray, no torch;
decisions and files are real), opens it as ``resume`` would, prints the table of docs/benchmarks.md.

    python scripts/benchmark_records.py [--trials 10000] [--cells 10] [--out DIR]
"""

import argparse
import gc
import resource
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from large_study import facts_of, large_study

from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.retention import Retention
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.log import encode
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, JobStarted, RungDone
from rethink_ray.records.views import write_views
from rethink_ray.search.decide import Decider
from rethink_ray.search.optuna_journal import OptunaJournal
from rethink_ray.search.plan import pretend_metrics
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.session import extend_study, start_study
from rethink_ray.spec.metrics import SCORES
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study

KEEP = [32, 16, 8, 4]
LENGTHS = [2.0, 4.0, 6.0, 12.0]


def made_up_study(num_cells: int, trials: int) -> Study:
    """Rounds of 32, halved at every rung."""
    budget = {"trials": trials, "keep": KEEP, "replicates": 3, "audit": 1}
    return large_study(num_cells, LENGTHS, budget)


def all_metrics(config: TrialConfig, length: float) -> Mapping[str, float]:
    """Every number a real rung carries, around a made-up AP."""
    scores = pretend_metrics(config, length)
    told = {
        f"{name.partition('/')[0]}/{metric}": ap + 0.1 * i
        for name, ap in scores.items()
        for i, metric in enumerate(SCORES)
    }
    return told | {"train/loss": 1.0 / length}


def make_records(study: Study, root: Path) -> StudyDirectory:
    """A directory whose log holds the whole study, as a driver would have written it."""
    facts = facts_of(study)
    directory = start_study(root, study, "study: large\n", facts, {})
    cluster = SimulatedCluster(study, facts, all_metrics, slots=8)
    cluster.run()
    state = cluster.state
    events: list[Event] = [r for rounds in state.rounds.values() for r in rounds.values()]
    for job in cluster.started:
        events.append(JobStarted(job_id=job.job_id, trial_id=job.trial_id, asset=None, host="h"))
    events += [replace(rung, host="node-17", instruction_set="AVX512") for rung in _rungs(state)]
    lines = (encode(replace(e, at=1.7e9 + i)) + "\n" for i, e in enumerate(events))
    directory.log.path.write_text("".join(lines), encoding="ascii")
    return directory


def _rungs(state: StudyState) -> list[RungDone]:
    return list(state.rungs.values())


@contextmanager
def timed(name: str, rows: list[tuple[str, str]]) -> Iterator[None]:
    """One row of the table: how long the block took."""
    started = time.perf_counter()
    yield
    rows.append((name, f"{time.perf_counter() - started:.2f} s"))


def measure_times(root: Path, more: int, rows: list[tuple[str, str]]) -> None:
    """Everything between opening a directory and its first job, then views and journal."""
    began = time.perf_counter()
    processor = time.process_time()
    with timed("opening the directory and reading the log", rows):
        directory = StudyDirectory.open(root)
        state = directory.load_state()
    with timed("extending it by a round in every cell", rows):
        extend_study(directory, trials=directory.study.budget.trials + more)
    decider = Decider(directory.study, directory.facts)
    with timed("first decision: every cell proposes", rows):
        rounds = decider.next_jobs(state).rounds
    with timed("recording these rounds", rows):
        for proposed in rounds:
            directory.log.append(proposed)
            state.add(proposed)
    with timed("second decision: the first jobs", rows):
        decision = decider.next_jobs(state)
    wall, used = time.perf_counter() - began, time.process_time() - processor
    rows.append(("**until the first job**", f"**{wall:.2f} s** ({used:.2f} s of one CPU)"))
    assert decision.jobs, "a larger budget asks for jobs"
    journal = OptunaJournal(directory.optuna_journal_path, directory.study)
    with timed("views, written whole", rows):
        write_views(directory, state, build_tables)
    with timed("views, read", rows):
        read_tables(StudyDirectory.open(root))
    with timed("Optuna journal, written whole", rows):
        journal.update(state)
    state.add(_finished(decision.jobs[0]))
    with timed("Optuna journal, after one more rung", rows):
        journal.update(state)
    with timed("decision after one more rung", rows):
        decider.next_jobs(state)
    with timed("progress of all cells", rows):
        progress_of(directory.study, state)
    with timed("which checkpoints may go", rows):
        Retention(directory.study, root).files_to_drop(state, [])


def _finished(job: Any) -> RungDone:
    trial_id, config = job.trial
    return RungDone(
        trial_id=trial_id,
        length=job.lengths[0],
        steps=200,
        metrics=all_metrics(config, job.lengths[0]),
        seconds_train=1.0,
        seconds_score=1.0,
        steps_new=200,
    )


def measure_memory(root: Path, rows: list[tuple[str, str]]) -> None:
    """Bytes that a driver holds of each finished job, part by part, and its process's peak."""
    directory = StudyDirectory.open(root)
    jobs = sum(event_is_start(line) for line in directory.log.path.open("rb"))
    tracemalloc.start()
    state = _held("log and state", directory.load_state, jobs, rows)
    decider = Decider(directory.study, directory.facts)
    _held("decider", lambda: decider.next_jobs(state), jobs, rows)
    with tempfile.TemporaryDirectory(prefix="rethink-ray-") as scratch:
        journal = OptunaJournal(Path(scratch) / "optuna.journal", directory.study)
        _held("Optuna journal", lambda: journal.update(state), jobs, rows)
    total, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows.append(("**together, per finished job**", f"**{total / jobs / 1024:.1f} KB**"))
    rows.append(("jobs", f"{jobs:,}"))


def _held(name: str, call: Callable[[], Any], jobs: int, rows: list[tuple[str, str]]) -> Any:
    before, _ = tracemalloc.get_traced_memory()
    result = call()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    rows.append((f"memory of {name}, per finished job", f"{(after - before) / jobs / 1024:.1f} KB"))
    return result


def event_is_start(line: bytes) -> bool:
    """Whether a line of the log says that a job began."""
    return b'"event":"job_started"' in line


def main() -> None:
    """Make the study if it is not there, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--out", type=Path, help="kept; made only if it holds no study")
    asked = parser.parse_args()
    root = asked.out or Path(tempfile.mkdtemp(prefix="rethink-ray-")) / "large"
    if not StudyDirectory.holds_study(root):
        started = time.perf_counter()
        make_records(made_up_study(asked.cells, asked.trials // asked.cells), root)
        print(f"made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    rows: list[tuple[str, str]] = []
    size = (root / "records" / "log.jsonl").stat().st_size
    rows.append(("log", f"{size / 1e6:.1f} MB"))
    measure_memory(root, rows)
    with tempfile.TemporaryDirectory(prefix="rethink-ray-") as scratch:
        shutil.copytree(root, Path(scratch) / "large")
        measure_times(Path(scratch) / "large", KEEP[0], rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows.append(("peak memory of this process", f"{peak / 1e6:.2f} GB"))
    print("| what | number |\n|---|---|")
    for name, number in rows:
        print(f"| {name} | {number} |")


if __name__ == "__main__":
    main()
