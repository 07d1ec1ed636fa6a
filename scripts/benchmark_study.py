"""What a finished study cost, read from its own log: time, busy slots, overhead of a job, memory.

    python scripts/benchmark_study.py studies/quickstart

The overhead of a job is the time from its start to its last rung, less the seconds its rungs say
they trained and scored; the first job of each process pays for importing torch.
"""

import statistics
import sys
from pathlib import Path

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.incumbents import report_metric
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import AssetDone, Event, JobStarted, RungDone
from rethink_ray.spec.resolve import cells_of, lengths_of


def main(root: Path) -> None:
    directory = StudyDirectory.open(root)
    events = directory.log.read()
    rungs = [e for e in events if isinstance(e, RungDone)]
    times = [e.at for e in events if e.at]
    wall = max(times) - min(times)
    worked = sum(r.seconds_train + r.seconds_score for r in rungs)
    assets = sum(e.seconds for e in events if isinstance(e, AssetDone))
    steps = sum(r.steps_new for r in rungs)
    overheads = sorted(job_overheads(events))
    disk = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    print(f"## {directory.study.study}\n")
    print("| what | number |\n|---|---|")
    print(f"| wall time, first to last record | {wall / 60:.1f} min |")
    print(f"| rungs, updates | {len(rungs)}, {steps:,} |")
    print(f"| seconds of training and scoring, all slots | {worked:.0f} |")
    print(f"| seconds of assets | {assets:.0f} |")
    print(f"| slots' worth of work per second of wall | {(worked + assets) / wall:.2f} |")
    print(f"| milliseconds an update, median over rungs | {median_update(rungs):.0f} |")
    if overheads:
        print(f"| overhead of a job, median of {len(overheads)} | {middle(overheads):.2f} s |")
        print(
            f"| overhead of a job, 90th percentile | {overheads[len(overheads) * 9 // 10]:.2f} s |"
        )
    peak = max((r.peak_memory_bytes for r in rungs), default=0)
    print(f"| peak memory of a job's process | {peak / 1e9:.2f} GB |")
    print(f"| study directory | {disk / 1e6:.0f} MB |")
    print("\nSeed sd over an incumbent's replicates, AP on the report split:\n")
    print_seed_spread(directory)


def print_seed_spread(directory: StudyDirectory) -> None:
    """One row per cell: the sd over new seeds of the configuration that is best at each length."""
    study, state = directory.study, directory.load_state()
    ladder = lengths_of(study, cells_of(study)[0])
    print("| cell | " + " | ".join(f"{x:g}x" for x in ladder) + " |")
    print("|---" * (len(ladder) + 1) + "|")
    for cell in cells_of(study):
        told = []
        for length, best in StudyView(study, state).cell(cell).incumbents.items():
            repeats = [m for _, m in state.members(cell, "replicate") if m.of == best.trial_id]
            found = [state.metric(m.trial_id, length, report_metric(study)) for m in repeats]
            values = [v for v in found if v is not None]
            told.append(f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-")
        print(f"| {cell.name} | " + " | ".join(told) + " |")


def job_overheads(events: list[Event]) -> list[float]:
    """Seconds each finished training job took beyond what its rungs trained and scored."""
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}
    ended: dict[str, float] = {}
    for event in events:
        if isinstance(event, JobStarted) and event.trial_id:
            started[event.trial_id] = event.at
            seconds[event.trial_id] = 0.0
        elif isinstance(event, RungDone) and event.trial_id in started:
            seconds[event.trial_id] += event.seconds_train + event.seconds_score
            ended[event.trial_id] = event.at
    return [ended[t] - started[t] - seconds[t] for t in ended]


def median_update(rungs: list[RungDone]) -> float:
    """Milliseconds of one update."""
    return statistics.median(1e3 * r.seconds_train / r.steps_new for r in rungs)


def middle(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
