"""What this program does on one GPU, in seven minutes: right, fast, and against torchvision.

    python scripts/benchmark_gpu.py --json gpu.json
    python scripts/benchmark_gpu.py --device cpu --small --json cpu.json    # does it run at all?
    python scripts/benchmark_gpu.py --rows machine training --minutes 3

It needs this folder, torch and torchvision, and (as wheels on a machine without a network) numpy,
pillow, pydantic, pyyaml, pyarrow, hotcoco, pycocotools and safetensors; no Ray. A row that fails
says why and the others go on. The file is written anew after each row, so a run that is killed
keeps what it has. Rows that begin after ``--minutes`` are left out.

Asked: bf16 at least 1.0 times torchvision's bf16 loop and 1.5 times its fp32 loop on equal images;
busy share 0.9; 10 % of the measured bf16 peak for Mask R-CNN at batch 16.
"""

import argparse
import json
import math
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # no installation is needed

from gpu_rows import ROWS, Bench, Measure, Numbers, group, run_one_process

ORDER = ("machine", "parity", "ladder", "training", "scoring", "saving", "loader", "sharing")
"""Groups of rows, the most wanted first: the time may be over before the last."""


@group
def training(bench: Bench) -> Iterator[tuple[str, Measure]]:
    """In turns A B B A against torchvision's classes, images of one size; the last rows: of two."""
    batches = (2,) if bench.small else (16, 2)
    height, width = (64, 96) if bench.small else (800, 1333)
    for family in ("mask_rcnn", "retinanet", "faster_rcnn"):
        for precision in ("bf16", "fp32"):
            for num in batches:
                sizes = [(height, width)] * num
                name = f"{family} {precision} batch {num}"
                yield name, lambda f=family, p=precision, s=sizes: compare_loops(bench, f, p, s)  # type: ignore[misc]
    mixed = [(height, width), (width, height)] * (batches[0] // 2)
    yield (
        "mask_rcnn bf16, two orientations",
        lambda: compare_loops(bench, "mask_rcnn", "bf16", sorted(mixed)),
    )


def compare_loops(
    bench: Bench, family: str, precision: str, sizes: list[tuple[int, int]]
) -> Numbers:
    from gpu_twins import build_batch, build_ours, build_twin, recipe_of

    recipe = recipe_of(family, precision, bench.small)
    batch = build_batch(sizes, with_masks=family == "mask_rcnn")
    live, ours = build_ours(recipe, batch, bench.device)
    _, theirs = build_twin(recipe, batch, bench.device)
    updates = {"ours": ours, "torchvision": theirs}
    numbers: Numbers = {}
    for name, update in updates.items():
        numbers[f"{name}_peak_gib"] = measure_peak_gib(bench, update)
    seconds: dict[str, list[float]] = {"ours": [], "torchvision": []}
    ratios = []
    for _ in range(bench.turns):
        turn: dict[str, list[float]] = {"ours": [], "torchvision": []}
        for name in ("ours", "torchvision", "torchvision", "ours"):
            turn[name] += [bench.seconds(updates[name]) for _ in range(1 if bench.small else 3)]
        ratios.append(statistics.median(turn["torchvision"]) / statistics.median(turn["ours"]))
        for name, values in turn.items():
            seconds[name] += values
    for name, values in seconds.items():
        median = statistics.median(values)
        numbers[f"{name}_images_s"] = len(sizes) / median
        numbers[f"{name}_step_ms"] = 1e3 * median
        numbers[f"{name}_step_p90_ms"] = 1e3 * sorted(values)[math.ceil(0.9 * len(values)) - 1]
    numbers["times_torchvision"] = statistics.median(ratios)
    numbers |= measure_update(bench, live, ours, batch, statistics.median(seconds["ours"]))
    return numbers


def measure_peak_gib(bench: Bench, update: Callable[[], Any]) -> float | None:
    """Of two updates, which are not timed."""
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
    update()
    update()
    bench.wait()
    if bench.device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(bench.device) / 2**30


def measure_update(
    bench: Bench, live: Any, update: Callable[[], Any], batch: Any, seconds: float
) -> Numbers:
    """Share of the measured bf16 peak, host waits, and share of the time in which kernels ran."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        update()
    numbers: Numbers = {"tflop": counter.get_total_flops() / 1e12}
    if bench.peak_flops is not None:
        numbers["share_of_bf16_peak"] = counter.get_total_flops() / seconds / bench.peak_flops
    if bench.device.type == "cuda":
        numbers |= {"waits": count_waits(update), "busy_share": measure_busy_share(bench, update)}
    return numbers


def count_waits(update: Callable[[], Any]) -> int:
    """How often the host waits for the GPU in one update, as torch sees it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            update()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in met)


def measure_busy_share(bench: Bench, update: Callable[[], Any]) -> float:
    """Kernel seconds over wall seconds of three updates."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        wall = 3 * bench.seconds(update, 3)
    kernels = sum(float(one.self_device_time_total) for one in profiler.key_averages()) / 1e6
    return kernels / wall


def run_rows(bench: Bench, groups: Sequence[str], path: Path | None) -> list[Numbers]:
    """Measure row after row; an error that a row raises becomes its result."""
    rows: list[Numbers] = []
    for name in groups:
        for row, measure in ROWS[name](bench):
            began = time.monotonic()
            numbers: Numbers
            if began > bench.ends_at:
                numbers = {"left_out": "the time was over"}
            else:
                try:
                    numbers = measure()
                except Exception as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    where = f"{Path(last.filename).name}:{last.lineno}"
                    numbers = {"error": f"{type(error).__name__}: {error} ({where})"}
            seconds = round(time.monotonic() - began, 2)
            rows.append({"group": name, "row": row, "row_seconds": seconds} | numbers)
            print(json.dumps(_round(rows[-1])), flush=True)
            if path is not None:
                path.write_text(json.dumps(_round(rows), indent=1) + "\n")
            if bench.device.type == "cuda":
                torch.cuda.empty_cache()
    return rows


def _round(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _round(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_round(value) for value in tree]
    return float(f"{tree:.4g}") if isinstance(tree, float) else tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="sizes that a CPU can do")
    parser.add_argument("--rows", nargs="+", choices=ORDER, default=ORDER)
    parser.add_argument("--turns", type=int, default=5, help="turns A B B A of a training row")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    bench = Bench(
        device=torch.device(options.device),
        small=options.small,
        turns=1 if options.small else options.turns,
        ends_at=time.monotonic() + 60.0 * options.minutes,
    )
    if options.one_process:
        print(run_one_process(bench))
        return
    rows = run_rows(bench, options.rows, options.json)
    failed = [f"{row['group']} {row['row']}" for row in rows if "error" in row]
    print(f"{len(rows)} rows, failed: {', '.join(failed) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()
