"""What the cache of frozen maps saves: one study with it and without, in turns A B B A.

    python scripts/benchmark_frozen.py [STUDY.yaml] [--turns 1] [--megabytes 256]

Without a file it is a study of one arm on the built-in shapes, whose backbone is frozen as it was
drawn: that takes as long as good weights. Each run is a process of its own that starts the study in
a new folder and trains job after job without Ray, so its seconds are those of a slot: assets,
training, scoring, checkpoints and records. CPU seconds count on a machine with other work beside.
The rungs of all runs must have the same scores and losses, to the last bit.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.work import run_job
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.feature_cache import DEFAULT_FEATURES_MB, FEATURES_VARIABLE
from rethink_ray.records.types import RungDone
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.session import load_study_input, start_study
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.training.stopping import never_stop

FROZEN_SHAPES = """\
study: frozen_shapes
question: How much time does a study of frozen backbones take?
data:
  dataset: shapes
  shapes: {train: 400, val: 80, test: 200, image_px: 96}
  select_on: val
  report_on: test
regimes: {full: {images: all}}
recipe: tiny_retinanet
settings:
  init: {source: file, weights: WEIGHTS, weights_norm: gn, input: imagenet, frozen: backbone}
arms: {frozen: {}}
search: {optimizer.lr: {log_uniform: [0.01, 0.2]}}
schedule:
  {unit: 60, lengths: [2, 4, 6], warmup: 20, decay: {kind: step, before_end: [0.4], factor: 0.1}}
budget: {trials: 4, keep: [4, 2, 1], replicates: 2}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the study."""

    numbers: Mapping[str, float]
    digest: str
    """Of every rung's scores and loss."""


def main() -> None:
    """Runs the turns and prints one row for each column."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=DEFAULT_FEATURES_MB)
    parser.add_argument("--one", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run = run_study(arguments.study, arguments.one)
        print(json.dumps([run.numbers, run.digest]))
        return
    with tempfile.TemporaryDirectory() as folder:
        study = arguments.study or Path(folder) / "frozen_shapes.yaml"
        if arguments.study is None:
            study.write_text(FROZEN_SHAPES.replace("WEIGHTS", str(draw_weights(Path(folder)))))
        cached: list[Run] = []
        computed: list[Run] = []
        for turn in range(arguments.turns):
            for megabytes in (arguments.megabytes, 0, 0, arguments.megabytes):
                out = Path(folder) / f"{turn}-{megabytes}-{len(cached)}-{len(computed)}"
                run = run_in_process(study, out, megabytes)
                (cached if megabytes else computed).append(run)
                print(f"{megabytes} MB: {run}", file=sys.stderr, flush=True)
    print_table(cached, computed)


def draw_weights(folder: Path) -> Path:
    """A file with the weights of a backbone that has learned nothing."""
    detector = build_detector(build_recipe("tiny_retinanet").detector, InitSpec(), 6, seed=0)
    path = folder / "drawn.pth"
    torch.save(detector.backbone.state_dict(), path)
    return path


def run_in_process(study: Path, out: Path, megabytes: int) -> Run:
    """One run of the study with a cache of this size; 0: with none."""
    command = [sys.executable, __file__, str(study), "--one", str(out)]
    environment = {**os.environ, FEATURES_VARIABLE: str(megabytes)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    numbers, digest = json.loads(done.stdout.splitlines()[-1])
    return Run(numbers=numbers, digest=digest)


def run_study(study: Path, out: Path) -> Run:
    """Runs every job of the study in this process, and sums up its rungs."""
    given = load_study_input(str(study))
    directory = start_study(out, given.study, given.yaml_text, given.facts)
    started, worked = time.perf_counter(), time.process_time()
    recorder = Recorder(directory)
    decider = Decider(directory.study, directory.facts)
    dispatcher = Dispatcher(
        recorder=recorder,
        decider=decider,
        has_room=lambda running, job: not running,
        is_stopping=never_stop,
    )
    while isinstance(job := dispatcher.next_job(), Job):
        for event in run_job(job, directory.study.data, directory.root, never_stop):
            dispatcher.record(event)
        dispatcher.end_job(job.job_id)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    rungs = [event for event in directory.log.read() if isinstance(event, RungDone)]
    scores = sorted((one.trial_id, one.length, sorted(one.metrics.items())) for one in rungs)
    numbers = {
        "seconds": seconds,
        "CPU seconds": cpu_seconds,
        "updates a second": sum(r.steps_new for r in rungs) / sum(r.seconds_train for r in rungs),
        "seconds of scoring": sum(one.seconds_score for one in rungs),
        "peak memory (MB)": max(one.peak_memory_bytes for one in rungs) / 1e6,
    }
    return Run(numbers=numbers, digest=hashlib.sha256(repr(scores).encode()).hexdigest())


def print_table(cached: Sequence[Run], computed: Sequence[Run]) -> None:
    """Prints medians of both, and the median of the ratios of each half of a turn."""
    print("| what | with the cache | without | with / without |\n|---|---|---|---|")
    for column in cached[0].numbers:
        pairs = [
            (one.numbers[column], other.numbers[column])
            for one, other in zip(cached, computed, strict=True)
        ]
        ratio = statistics.median(one / other for one, other in pairs)
        medians = (statistics.median(numbers) for numbers in zip(*pairs, strict=True))
        print(f"| {column} | {' | '.join(f'{x:.4g}' for x in medians)} | {ratio:.2f} |")
    is_same = len({one.digest for one in (*cached, *computed)}) == 1
    print(f"\nThe scores and losses of all runs are {'equal' if is_same else 'NOT EQUAL'}.")


if __name__ == "__main__":
    main()
