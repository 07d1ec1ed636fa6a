"""What each depth of freezing costs: trainable share, operations, memory and time of an update.

python scripts/benchmark_freezing.py [--recipes tiny_retinanet ...] [--processes 5] [--updates 8]

Every depth of every recipe runs in separate processes, in turns, each with one thread. Memory is
how much the process grows by its updates. Each row prints medians over the processes and, in
brackets, the median of their ratios to ``none`` in the same turn.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector, parameter_counts
from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.training.optimizer import build_optimizer

DEPTHS = ("none", "backbone", "neck", "heads")
RECIPES = (
    *("tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn", "tiny_mask_rcnn"),
    *("tiny_cascade_mask_rcnn", "tiny_keypoint_rcnn"),
)
NUM_CATEGORIES = 6
WARM_UP = 2
"""Updates before the clock starts: the first ones allocate and choose kernels."""
COLUMNS = ("trained_share", "gigaflops", "grown_mb", "step_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "DEPTH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, depth = arguments.one
        print(json.dumps(measure(name, depth, arguments.updates)))
        return
    print("| recipe | frozen | trained | GFLOP an update | memory (MB) | step (ms) |")
    print("|---|---|---|---|---|---|")
    for name in arguments.recipes:
        turns = [
            {depth: measure_in_process(name, depth, arguments.updates) for depth in DEPTHS}
            for _ in range(arguments.processes)
        ]
        for depth in DEPTHS:
            cells = (show_column(turns, depth, column) for column in COLUMNS)
            print(f"| {name} | {depth} | {' | '.join(cells)} |", flush=True)


def show_column(turns: Sequence[Mapping[str, Mapping[str, float]]], depth: str, column: str) -> str:
    median = statistics.median(turn[depth][column] for turn in turns)
    ratio = statistics.median(turn[depth][column] / turn["none"][column] for turn in turns)
    return f"{median:.3g} ({ratio:.2f})"


def measure_in_process(name: str, depth: str, updates: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", name, depth, "--updates", str(updates)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers


def measure(name: str, depth: str, updates: int) -> dict[str, float]:
    """The costs of one depth in this process; weights are random, which costs the same."""
    torch.set_num_threads(1)
    recipe = build_recipe(name)
    init = InitSpec.model_validate({"frozen": depth})
    detector = build_detector(recipe.detector, init, NUM_CATEGORIES, seed=0)
    num_trained, num_parameters = parameter_counts(detector)
    before = peak_bytes()
    seconds = time_updates(detector, recipe, updates)
    grown = peak_bytes() - before
    flops = step_flops_per_image(recipe.detector, init.frozen, NUM_CATEGORIES, torch.device("cpu"))
    return {
        "trained_share": num_trained / num_parameters,
        "gigaflops": flops * recipe.batch_size / 1e9,
        "grown_mb": grown / 1e6,
        "step_ms": 1000 * statistics.median(seconds),
    }


def time_updates(detector: Detector, recipe: Recipe, updates: int) -> list[float]:
    """Wall seconds of each update after the warm-up."""
    groups = detector.decayed_and_norm_parameters()
    optimizer = build_optimizer(*groups, recipe.optimizer, detector.depths())
    images, targets = build_batch(recipe)
    seconds = []
    for step in range(WARM_UP + updates):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        losses = detector.losses(images, targets, seed=0, step=step)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.trainable_parameters(), 10.0)
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def build_batch(recipe: Recipe) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Noise with two objects in each image."""
    side = recipe.detector.min_side_px
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, side, side, generator=generator) for _ in range(recipe.batch_size)]
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9]]) * side
    masks = torch.zeros(2, side, side, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    points = torch.full((2, recipe.detector.num_keypoints, 3), 2.0)
    points[..., :2] = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    target = {"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks, "keypoints": points}
    return images, [target | {"image_id": torch.tensor(n)} for n in range(recipe.batch_size)]


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
