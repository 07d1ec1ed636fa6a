"""What one image costs a GPU's memory in a pass, and what a pass costs its host.

    python scripts/estimate_pass.py he_2018 four_systems

For each arm of a study with a network of its own: GiB per image that the forward pass keeps for the
backward pass, and the operations that a forward and a backward pass issue. Both are counted on a
CPU, at the study's image size and precision, with weights that are drawn. A GPU also holds the
weights, their gradients and the optimizer's state (0.5 GB of a ResNet-50 detector), and the working
memory of its libraries. It launches about one kernel for each operation.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, InitSpec, Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.spec.study import Study
from rethink_ray.training.precision import use_precision

CPU = torch.device("cpu")
NUM_IMAGES = 2
NUM_CATEGORIES = 80
BOXES_PER_IMAGE = 7
"""As many as an image of COCO shows on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCost:
    gib_per_image: float
    operations: int
    """Of the forward and the backward pass of all images together."""


class OperationCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations on tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.num += 1
        return func(*args, **(kwargs or {}))


def estimate_pass(recipe: Recipe) -> PassCost:
    """The cost of one pass of ``NUM_IMAGES`` landscape images of the recipe's size."""
    detector = build_detector(
        recipe.detector, InitSpec(frozen=recipe.init.frozen), NUM_CATEGORIES, seed=0
    )
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in detector.state_dict().values()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, targets = _draw_batch(recipe)
    with OperationCount() as operations:
        with saved_tensors_hooks(note, lambda tensor: tensor), use_precision(recipe, CPU):
            losses = detector.losses(images, targets, seed=0, step=0)
        num_bytes = sum(kept.values())
        torch.stack([*losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    return PassCost(
        gib_per_image=num_bytes / 2**30 / NUM_IMAGES,
        operations=operations.num,
    )


def _draw_batch(recipe: Recipe) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    detector = recipe.detector
    height, width = detector.min_side_px, detector.max_side_px
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(BOXES_PER_IMAGE, 2, generator=generator) * 0.7
    boxes = torch.cat([corners, corners + 0.2], dim=1)
    boxes *= torch.tensor([width, height, width, height])
    images = [torch.rand(3, height, width, generator=generator) for _ in range(NUM_IMAGES)]
    return images, [_build_target(recipe, number, boxes) for number in range(NUM_IMAGES)]


def _build_target(recipe: Recipe, number: int, boxes: Tensor) -> dict[str, Tensor]:
    num, family = len(boxes), recipe.detector.family
    target = {
        "boxes": boxes,
        "labels": torch.arange(1, num + 1),
        "image_id": torch.tensor(number),
        "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        "iscrowd": torch.zeros(num, dtype=torch.int64),
    }
    if family in WITH_MASKS:
        size = (recipe.detector.min_side_px, recipe.detector.max_side_px)
        target["masks"] = torch.ones(num, *size, dtype=torch.uint8)
    if family in WITH_KEYPOINTS:
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        points = torch.cat([centers, torch.full((num, 1), 2.0)], dim=1)
        target["keypoints"] = points[:, None].repeat(1, 17, 1)
    return target


def list_recipes(study: Study) -> Iterator[tuple[str, Recipe]]:
    """(Name, recipe) of each arm whose network, frozen part or precision is its own."""
    seen: list[tuple[object, ...]] = []
    for cell in cells_of(study):
        recipe = base_recipe(study, cell)
        key = (recipe.detector, recipe.init.frozen, recipe.precision)
        if key not in seen:
            seen.append(key)
            yield cell.arm, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("studies", nargs="+", help="names or files of studies")
    parser.add_argument("--set", action="append", default=[], help="path=value, as of plan")
    options = parser.parse_args()
    print(f"| study | arm | size | GiB per image | operations, {NUM_IMAGES} images |")
    print("|---|---|---|---|---|")
    for name in options.studies:
        study, _ = load_study(find_study(name), options.set)
        for arm, recipe in list_recipes(study):
            cost = estimate_pass(recipe)
            detector = recipe.detector
            size = f"{detector.min_side_px}x{detector.max_side_px} {recipe.precision}"
            print(
                f"| {name} | {arm} | {size} | {cost.gib_per_image:.2f} | {cost.operations:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
