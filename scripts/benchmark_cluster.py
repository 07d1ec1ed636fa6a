"""What Ray costs a study: busy slots, the driver's memory, and whether halving ever deadlocks.

    python scripts/benchmark_cluster.py busy       # 40 jobs of about 8 s on two slots
    python scripts/benchmark_cluster.py memory     # 2,000 jobs that do nothing: driver's KB a job
    python scripts/benchmark_cluster.py workers    # 24 two-worker trials, halved, 8 logical CPUs

``busy`` and ``workers`` train for real; only the slot of ``memory`` answers without training.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rethink_ray.cluster.run import Observers, StudyOutcome, run_study
from rethink_ray.cluster.slot import Slot
from rethink_ray.cluster.work import StopFile
from rethink_ray.data.facts import gather_facts
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import Event, JobFailed, JobStarted, RungDone
from rethink_ray.search.jobs import Job
from rethink_ray.session import start_study
from rethink_ray.spec.check import check_study
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.study import Study

JOB_SECONDS = 8.0
METRICS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar1", "ar10", "ar100", "ar_s", "ar_m")


def main(which: str) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-cluster-") as folder:
        print(f"## {which}\n\n| what | number |\n|---|---|")
        {"busy": busy, "memory": memory, "workers": workers}[which](Path(folder))


def busy(folder: Path) -> None:
    """How much of two slots' time goes into jobs, with everything that Ray needs beside them."""
    updates = updates_in(folder / "trial", JOB_SECONDS)
    directory = start(folder / "study", trials=40, keep=[40], unit=updates)
    outcome, wall = timed(directory, slots=2)
    events = directory.log.read()
    rungs = [e for e in events if isinstance(e, RungDone)]
    seconds = sorted(r.seconds_train + r.seconds_score for r in rungs)
    first = min(e.at for e in events if isinstance(e, JobStarted))
    inside = max(r.at for r in rungs) - first
    row("jobs, ended", f"{len(rungs)}, {outcome.status}")
    row("seconds of a job, median", f"{seconds[len(seconds) // 2]:.1f}")
    row("busy share of two slots, Ray's start and end included", f"{sum(seconds) / 2 / wall:.2f}")
    row("busy share, first start to last result", f"{sum(seconds) / 2 / inside:.2f}")
    row("wall seconds, with Ray's start", f"{wall:.0f}")


def memory(folder: Path) -> None:
    """The driver's resident memory over 2,000 jobs that tell a rung and train nothing."""
    directory = start(folder / "study", trials=2000, keep=[2000], sampler="quasi_random")
    seen: list[tuple[int, int]] = []

    def look(event: Event) -> None:
        if isinstance(event, RungDone):
            seen.append((len(seen) + 1, resident_bytes()))

    outcome, wall = timed(
        directory, slots=2, observers=Observers(listeners=(look,)), slot=Answering
    )
    (early, before), (late, after) = seen[200], seen[-1]
    row("jobs, ended", f"{len(seen)}, {outcome.status}")
    row("driver, after 200 jobs", f"{before / 1e6:.0f} MB")
    row("driver, after the last", f"{after / 1e6:.0f} MB")
    row("driver's growth per job", f"{(after - before) / (late - early) / 1e3:.1f} KB")
    row("milliseconds a job", f"{1e3 * wall / len(seen):.0f}")


def workers(folder: Path) -> None:
    """A study that halves often, every trial by two Ray Train workers, four at a time."""
    directory = start(
        folder / "study",
        trials=24,
        keep=[8, 4, 2],
        lengths=[2.0, 3.0, 4.0],
        resources={"workers": 2},
    )
    outcome, wall = timed(directory, slots=4)
    events = directory.log.read()
    row("trials, ended", f"24, {outcome.status}")
    row("Ray Train runs", f"{sum(isinstance(e, JobStarted) for e in events)}")
    row("rungs", f"{sum(isinstance(e, RungDone) for e in events)}")
    row("jobs lost to the machine", f"{sum(isinstance(e, JobFailed) for e in events)}")
    row("wall minutes", f"{wall / 60:.1f}")


class Answering(Slot):
    """Tells the rungs it is asked for at once, with made-up numbers."""

    def events(self, job: Job, data: DataSpec, root: Path, stop: StopFile) -> Iterator[Event]:
        trial_id, _ = job.trial
        for length in job.lengths:
            yield RungDone(
                trial_id=trial_id,
                length=length,
                steps=100,
                metrics={f"{s}/{m}": 10.0 + length for s in job.splits for m in METRICS},
                seconds_train=1.0,
                seconds_score=0.1,
                steps_new=100,
            )


def start(
    root: Path,
    *,
    trials: int,
    keep: Sequence[int],
    lengths: Sequence[float] = (2.0,),
    unit: int = 8,
    **changes: Any,
) -> StudyDirectory:
    """One cell of a tiny RetinaNet on drawn shapes, nothing run yet."""
    tree = {
        "study": "benchmark",
        "data": {
            "dataset": "shapes",
            "shapes": {"train": 64, "val": 16, "test": 16, "image_px": 64},
        },
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "settings": {"detector.min_side_px": 64, "detector.max_side_px": 64},
        "arms": {"scratch": {}},
        "search": {"optimizer.lr": {"log_uniform": [0.002, 0.05]}},
        "schedule": {
            "unit": unit,
            "lengths": list(lengths),
            "warmup": 2,
            "decay": {"kind": "step", "before_end": [0.5, 0.2]},
        },
        "budget": {"trials": trials, "keep": list(keep), "replicates": 0},
        **changes,
    }
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "benchmark")
    facts = gather_facts(study.data, study.regimes)
    return start_study(root, study, json.dumps(tree), facts, {})


def updates_in(folder: Path, seconds: float) -> int:
    """Updates in 1x such that a trial of 2x takes about ``seconds`` on this machine."""
    unit = 50
    directory = start(folder, trials=2, keep=[2], unit=unit)
    timed(directory, slots=2)
    rungs = [e for e in directory.log.read() if isinstance(e, RungDone)]
    one = sum(r.seconds_train for r in rungs) / sum(r.steps_new for r in rungs)
    return round(seconds / one / 2)


def timed(directory: StudyDirectory, **how: Any) -> tuple[StudyOutcome, float]:
    """A run from the first import of Ray to its end."""
    began = time.monotonic()
    outcome = run_study(directory, **how)
    return outcome, time.monotonic() - began


def resident_bytes() -> int:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def row(what: str, number: str) -> None:
    print(f"| {what} | {number} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
