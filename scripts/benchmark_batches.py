"""What it costs that scores and gradients do not depend on how images are put together.

python scripts/benchmark_batches.py scoring    # each image alone against eight of one size together
python scripts/benchmark_batches.py steps      # updates in micro-batches against whole batches
python scripts/benchmark_batches.py padding PICTURES   # pixels per own pixel, by way of padding

Times are taken in turns A B B A with one thread; each row prints the median of both and the median
of their ratios.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rethink_ray.data.order import RunOrder, epoch_order
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.padding import padded_sizes
from rethink_ray.detection.resize import HeightWidth, Resize
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.training.live import Live
from rethink_ray.training.worker_context import WorkerContext

IMAGES = 8
R18 = {"detector.backbone": "resnet18", "detector.min_side_px": 320, "detector.max_side_px": 480}
TINY = (
    *("tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn", "tiny_mask_rcnn"),
    *("tiny_cascade_mask_rcnn", "tiny_keypoint_rcnn"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["scoring", "steps", "padding"])
    parser.add_argument("pictures", nargs="?", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    match asked.what:
        case "scoring":
            scoring(asked.turns)
        case "steps":
            steps(asked.turns)
        case _:
            padding(asked.pictures)


def scoring(turns: int) -> None:
    print("| recipe | together (ms an image) | alone (ms an image) | ratio |\n|---|---|---|---|")
    recipes = {name: build_recipe(name) for name in TINY}
    for name in ("retinanet_r50", "faster_rcnn_r50"):
        recipes[f"{name} with resnet18 at 320 px"] = with_settings(build_recipe(name), R18, "R18")
    for name, recipe in recipes.items():
        side = recipe.detector.min_side_px
        images = pictures(IMAGES, (side, side))
        detector = build_detector(recipe.detector, InitSpec(), 6, seed=0)
        together, alone, ratio = in_turns(
            lambda d=detector, i=images: batched(d, i),  # type: ignore[misc]
            lambda d=detector, i=images: d.detect(i),  # type: ignore[misc]
            turns,
        )
        print(f"| {name} | {together / IMAGES:.1f} | {alone / IMAGES:.1f} | {ratio:.2f} |")


@torch.no_grad()
def batched(detector: Detector, images: Sequence[Tensor]) -> None:
    detector.eval()
    detector.network(list(images))
    detector.train()


def steps(turns: int) -> None:
    print("| recipe | images a step | whole (ms) | in steps (ms) | ratio |\n|---|---|---|---|---|")
    tiny = {"detector.norm": "gn", "batch_size": IMAGES}
    recipes = {name: with_settings(build_recipe(name), tiny, "tiny") for name in TINY}
    few = {"detector.box_batch": 64, "detector.rpn_pre_nms_train": 500}
    few["detector.rpn_post_nms_train"] = 200
    for name, counts in (("retinanet_r50", {}), ("faster_rcnn_r50", few)):
        settings = R18 | counts | {"batch_size": IMAGES}
        recipes[f"{name} with resnet18"] = with_settings(build_recipe(name), settings, "R18")
    for name, recipe in recipes.items():
        for images_per_step in (4, 2):
            whole, parts = (live_of(recipe, number) for number in (None, images_per_step))
            one, two, ratio = in_turns(update_of(whole), update_of(parts), turns)
            print(f"| {name} | {images_per_step} | {one:.0f} | {two:.0f} | {ratio:.2f} |")


def live_of(recipe: Recipe, images_per_step: int | None) -> Live:
    ctx = WorkerContext(device=torch.device("cpu"))
    return Live(recipe, 6, 0, ctx, images_per_step=images_per_step)


def update_of(live: Live) -> Callable[[], object]:
    side = live.recipe.detector.min_side_px
    images = pictures(IMAGES, (side, side))
    targets = [objects(number, side, live.recipe) for number in range(IMAGES)]
    return lambda: live.update(images, targets, rate=1e-4, step=0)


def objects(number: int, side: int, recipe: Recipe) -> dict[str, Tensor]:
    """Two objects of an image, one in each half."""
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9]]) * side
    masks = torch.zeros(2, side, side, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    points = torch.full((2, recipe.detector.num_keypoints, 3), 2.0)
    points[..., :2] = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    labels, image_id = torch.tensor([1, 2]), torch.tensor(number)
    found = {"boxes": boxes, "labels": labels, "image_id": image_id}
    return found | {"masks": masks, "keypoints": points}


def padding(folder: Path) -> None:
    """At 800 x 1333 and batch 16, 4,096 images drawn from those in a folder."""
    resize = Resize(800, 1333)
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".png")]
    sizes = [resize.resized_hw(*Image.open(path).size[::-1]) for path in files]
    drawn = np.random.default_rng(0).integers(0, len(sizes), 4096)
    own = [sizes[number] for number in drawn]
    mixed = np.random.default_rng(1).permutation(len(own))
    is_portrait = np.array([height > width for height, width in own])
    grouped = epoch_order(RunOrder(seed=0, batch_size=16), 0, is_portrait)
    print(f"{len(sizes)} pictures, {is_portrait.mean():.0%} portrait")
    print("| order | images padded alike | pixels / own pixels | passes a batch |")
    print("|---|---|---|---|")
    for name, order in (("as drawn", mixed), ("by orientation", grouped)):
        for group in (16, 2, 1):
            ratio, passes = padded_share([own[row] for row in order], group)
            print(f"| {name} | {group} | {ratio:.2f} | {passes:.1f} |")


def padded_share(own: Sequence[HeightWidth], group: int) -> tuple[float, float]:
    """Padded over own pixels, and sizes in a batch, of batches of 16."""
    pixels, passes = 0, 0
    for first in range(0, len(own), 16):
        rounded = [(-(-h // 32) * 32, -(-w // 32) * 32) for h, w in own[first : first + 16]]
        padded = padded_sizes(rounded, group)
        pixels += sum(height * width for height, width in padded)
        passes += len(set(padded))
    return pixels / sum(h * w for h, w in own), passes / (len(own) / 16)


def pictures(num: int, size_hw: HeightWidth) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size_hw, generator=generator) for _ in range(num)]


def in_turns(
    one: Callable[[], object], two: Callable[[], object], turns: int
) -> tuple[float, float, float]:
    """Median milliseconds of both, and of two over one, each turn A B B A after a warm-up."""
    one(), two()
    rows = []
    for _ in range(turns):
        first, second, third, fourth = (milliseconds(call) for call in (one, two, two, one))
        rows.append((first + fourth, second + third))
    ratio = statistics.median(b / a for a, b in rows)
    return *(statistics.median(row[n] for row in rows) / 2 for n in (0, 1)), ratio  # type: ignore[return-value]


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
