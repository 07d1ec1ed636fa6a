"""What an update costs on this CPU: beside a bare loop, beside another commit, and in bf16.

    python scripts/benchmark_step.py                    # overhead, parts, precision
    python scripts/benchmark_step.py --against FOLDER   # also another checkout of this program
    python scripts/benchmark_step.py --small            # does it run at all?

The bare loop has the same network, losses, optimizer and batches; what a ladder adds is its
overhead. Turns are A B B A; each row has the median of both and the median of their ratios, with
the smallest and the largest. Times are CPU times, so that other programs disturb little.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rethink_ray.data.facts import gather_facts
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.settings import with_settings
from rethink_ray.training.live import Live, combine_losses
from rethink_ray.training.machinery import Machinery
from rethink_ray.training.precision import use_precision
from rethink_ray.training.schedule import schedule_of
from rethink_ray.training.stopping import Watch
from rethink_ray.training.trial_files import RunFolders
from rethink_ray.training.worker_context import WorkerContext

TINY = ("tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn")
LARGE = "retinanet_r50"
LARGE_SETTINGS = {"detector.min_side_px": 320, "detector.max_side_px": 480, "batch_size": 4}
SMALL_SETTINGS = {"detector.min_side_px": 64, "detector.max_side_px": 64, "batch_size": 2}
MOST_OVERHEAD, LEAST_SPEEDUP, LEAST_BF16 = 1.05, 1.15, 1.7
"""Asked: ours over the bare loop; the other checkout over ours; fp32 over bf16 with AMX."""
KEPT_BATCHES = 8
RATE = 1e-4

Run = Callable[[int], float]
"""Makes this many updates, or scores this many images, and returns the CPU seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """How often is measured."""

    num: int
    updates: int
    """Of a tiny recipe in one measurement; a large one makes one."""
    small: bool
    recipes: tuple[str, ...]

    def compare(self, first: Run, second: Run, repeats: int) -> "Ratio":
        """Both in turns A B B A, after a warm-up."""
        for run in (first, second):
            run(repeats)
        rows = []
        for _ in range(self.num):
            seconds = [run(repeats) for run in (first, second, second, first)]
            rows.append((seconds[0] + seconds[3], seconds[1] + seconds[2]))
        scale = 1e3 / (2 * repeats)
        return Ratio(
            first_ms=scale * statistics.median(a for a, _ in rows),
            second_ms=scale * statistics.median(b for _, b in rows),
            ratios=tuple(sorted(a / b for a, b in rows)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Milliseconds of two ways, and the first over the second in each turn, rising."""

    first_ms: float
    second_ms: float
    ratios: tuple[float, ...]

    def row(self, name: str, asked: str) -> str:
        middle, low, high = statistics.median(self.ratios), self.ratios[0], self.ratios[-1]
        return (
            f"| {name} | {self.first_ms:.1f} | {self.second_ms:.1f} | "
            f"{middle:.3f} [{low:.3f}, {high:.3f}] | {asked} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--serve", metavar="KIND RECIPE", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--parts", nargs="*", default=["overhead", "commits", "precision"])
    parser.add_argument("--recipes", nargs="*", default=[*TINY, LARGE])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.serve:
        serve(*options.serve, small=options.small)
        return
    turns = Turns(num=1, updates=2, small=True, recipes=(TINY[0], LARGE))
    if not options.small:
        recipes = tuple(options.recipes)
        turns = Turns(num=options.turns, updates=20, small=False, recipes=recipes)
    print(f"{describe_machine()}, one thread, {turns.num} turns A B B A\n")
    if "overhead" in options.parts:
        show_overhead(turns)
    if "commits" in options.parts and options.against is not None:
        show_commits(turns, options.against)
    if "precision" in options.parts:
        show_precision(turns)


def show_overhead(turns: Turns) -> None:
    """The ladder's update beside a bare loop, and where the time goes."""
    rows, parts = [], []
    for name in turns.recipes:
        recipe = recipe_of(name, turns.small)
        repeats = turns.updates if name in TINY else 1
        ladder, bare = LadderLoop(recipe), BareLoop(recipe)
        bare.batches = ladder.kept
        ratio = turns.compare(ladder.run, bare.run, repeats)
        rows.append(ratio.row(name, f"at most {MOST_OVERHEAD}"))
        parts.append(part_row(name, ratio, ladder.measure_data(repeats), bare.measure_parts()))
    print("| update on kept batches | ladder (ms) | bare loop (ms) | ratio | asked |")
    print("|---|---|---|---|---|", *rows, "", sep="\n")
    print("| parts of an update, ms | data | forward | backward | optimizer | the rest |")
    print("|---|---|---|---|---|---|", *parts, "", sep="\n")


def part_row(name: str, ratio: Ratio, data_ms: float, parts: Sequence[float]) -> str:
    """``parts``: the times of forward, backward and optimizer; they share the bare loop's time.

    The rest is what the ladder takes beyond the bare loop.
    """
    shares = [ratio.second_ms * part / sum(parts) for part in parts]
    rest = ratio.first_ms - ratio.second_ms
    return f"| {name} | " + " | ".join(f"{x:.2f}" for x in (data_ms, *shares, rest)) + " |"


def show_commits(turns: Turns, folder: Path) -> None:
    """This checkout beside another one, each in a separate process."""
    print(f"| this checkout and {name_commit(folder)} | other (ms) | this (ms) | ratio | asked |")
    print("|---|---|---|---|---|")
    here = Path(__file__).resolve().parent.parent
    tiny = [name for name in turns.recipes if name in TINY]
    for kind, name in itertools.product(("update", "score"), tiny):
        with Served(folder, kind, name, turns) as other, Served(here, kind, name, turns) as this:
            ratio = turns.compare(other.run, this.run, turns.updates)
        what = "update and its data" if kind == "update" else "scored image"
        is_asked = kind == "update" and name == TINY[0]
        print(ratio.row(f"{name}, {what}", f"at least {LEAST_SPEEDUP}" if is_asked else ""))
    print()


def show_precision(turns: Turns) -> None:
    """fp32 beside bf16, on kept batches."""
    print("| precision | fp32 (ms) | bf16 (ms) | ratio | asked |\n|---|---|---|---|---|")
    for name in turns.recipes:
        recipe = recipe_of(name, turns.small)
        loops = [
            LadderLoop(with_settings(recipe, {"precision": precision}, "precision"))
            for precision in ("fp32", "bf16")
        ]
        ratio = turns.compare(loops[0].run, loops[1].run, turns.updates if name in TINY else 1)
        print(ratio.row(name, f"at least {LEAST_BF16} with AMX" if name == LARGE else ""))
    print()


def recipe_of(name: str, small: bool) -> Recipe:
    settings: dict[str, Any] = dict(LARGE_SETTINGS) if name == LARGE else {}
    if small:
        settings |= SMALL_SETTINGS
        settings |= {"detector.backbone": "resnet18"} if name == LARGE else {}
    return with_settings(build_recipe(name), settings, "benchmark")


def build_config(recipe: Recipe) -> TrialConfig:
    """One run of a recipe on the built-in pictures."""
    shapes = {"train": 64, "val": 8, "test": 8, "image_px": 96}
    data = DataSpec.model_validate({"dataset": "shapes", "shapes": shapes})
    facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    return TrialConfig(
        study="benchmark",
        regime="full",
        arm="scratch",
        images="all",
        data=data,
        recipe=recipe,
        seed=0,
        data_fingerprint=facts.fingerprint,
        regime_digest=facts.regime_digests["full"],
        upstream_fingerprint=facts.upstream_fingerprint,
        num_categories=len(facts.categories),
        num_images=facts.regime_sizes["full"],
    )


class KeptBatches(Iterator[Any]):
    """The first few batches of a run, again and again; everything else is the loader's."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.kept = [next(batches) for _ in range(KEPT_BATCHES)]
        self._again = itertools.cycle(self.kept)

    def __next__(self) -> Any:
        return next(self._again)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class LadderLoop:
    """Updates as a ladder makes them, without the progress it shows."""

    def __init__(self, recipe: Recipe, *, keeps_batches: bool = True) -> None:
        config = build_config(recipe)
        ctx = WorkerContext.local(config)
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        self.machinery = Machinery(config, RunFolders(trial=folder, assets=folder), ctx)
        self.batches: Any = self.machinery.data.batches(0, ctx)
        self.kept: list[Any] = []
        if keeps_batches:
            self.batches = KeptBatches(self.batches)
            self.kept = self.batches.kept
        self.schedule = schedule_of(recipe.schedule, recipe.schedule.lengths[-1])
        self.watch = Watch(ctx=ctx)
        self.step = 0
        _ = self.machinery.price  # counted before the first update, as in a ladder

    def run(self, num: int) -> float:
        started = time.process_time()
        for _ in range(num):
            self.watch.check()
            self.machinery.update(self.step, self.schedule, self.batches)
            self.step += 1
        return time.process_time() - started

    def measure_data(self, num: int) -> float:
        """Milliseconds of a batch from the built-in pictures, once they are decoded."""
        batches = self.machinery.data.batches(0, self.machinery.ctx)
        for _ in range(2 * KEPT_BATCHES):
            next(batches)
        started = time.process_time()
        for _ in range(num):
            next(batches)
        return 1e3 * (time.process_time() - started) / num


class BareLoop:
    """What anybody would write around the same network: forward, backward, optimizer."""

    def __init__(self, recipe: Recipe) -> None:
        self.config = build_config(recipe)
        self.ctx = WorkerContext.local(self.config)
        num = self.config.num_categories
        self.live = Live(recipe, num, self.config.seed, self.ctx)
        self.batches: Sequence[Any] = ()
        self.step = 0

    def run(self, num: int) -> float:
        started = time.process_time()
        for _ in range(num):
            loss = self._forward()
            loss.backward()  # type: ignore[no-untyped-call]
            self._step()
            loss.item()
        return time.process_time() - started

    def _forward(self) -> Tensor:
        live = self.live
        for group in live.optimizer.param_groups:
            group["lr"] = RATE
        live.optimizer.zero_grad(set_to_none=True)
        images, targets = self.batches[self.step % len(self.batches)]
        with use_precision(live.recipe, self.ctx.device):
            losses: Mapping[str, Tensor] = live.detector(images, targets, seed=0, step=self.step)
            return combine_losses(losses, {})

    def _step(self) -> None:
        if self.live.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.live.trainable, self.live.clip_norm)
        self.live.optimizer.step()
        self.step += 1

    def measure_parts(self) -> tuple[float, ...]:
        """Median milliseconds of forward, backward and optimizer over some updates."""
        rows = []
        for _ in range(KEPT_BATCHES):
            times = [time.process_time()]
            loss = self._forward()
            times.append(time.process_time())
            loss.backward()  # type: ignore[no-untyped-call]
            times.append(time.process_time())
            self._step()
            times.append(time.process_time())
            rows.append([1e3 * (b - a) for a, b in itertools.pairwise(times)])
        return tuple(statistics.median(row[k] for row in rows) for k in range(3))


class Served:
    """This script in a separate process, with the program of any checkout."""

    def __init__(self, folder: Path, kind: str, recipe: str, turns: Turns) -> None:
        words = [sys.executable, __file__, "--serve", kind, recipe]
        words += ["--small"] * turns.small
        environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        answer = self._ask("")
        assert Path(answer).is_relative_to(folder.resolve()), f"it runs {answer}, not {folder}"

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, num: int) -> float:
        return float(self._ask(str(num)))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None, "it has pipes"
        assert self._process.stdout is not None, "it has pipes"
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def serve(kind: str, name: str, *, small: bool) -> None:
    """Run what is asked line by line, and answer each line; the first one asks for the program."""
    import rethink_ray

    loop = LadderLoop(recipe_of(name, small), keeps_batches=False)
    for line in sys.stdin:
        if not line.strip():
            print(json.dumps(rethink_ray.__file__), flush=True)
            continue
        started = time.process_time()
        if kind == "update":
            loop.run(int(line))
        else:
            images, _ = next(loop.batches)
            for number in range(int(line)):
                loop.machinery.live.detector.detect([images[number % len(images)]])
        print(json.dumps(time.process_time() - started), flush=True)


def name_commit(folder: Path) -> str:
    words = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    finished = subprocess.run(words, capture_output=True, text=True)
    return finished.stdout.strip() or folder.name


def describe_machine() -> str:
    """The CPU, how many of them, and PyTorch with the instructions it uses."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    instructions = torch.backends.cpu.get_cpu_capability()
    return (
        f"{len(models)} x {models[0] if models else platform.machine()}, "
        f"torch {torch.__version__} ({instructions})"
    )


if __name__ == "__main__":
    main()
