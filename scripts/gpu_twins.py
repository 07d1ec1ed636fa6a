"""What ``benchmark_gpu.py`` compares: this program's update, and torchvision's in a plain loop.

Both networks have ResNet-FPN, GroupNorm everywhere and the same heads, start at random, and see the
same images.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection import backbone_utils as backbones
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.training.live import Live
from rethink_ray.training.worker_context import WorkerContext

NUM_CATEGORIES = 80
OBJECTS = 7
"""Objects of an image; COCO has 7.3."""
RATE = 1e-4
SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "min_side_px": 64,
    "max_side_px": 96,
    "rpn_pre_nms_train": 50,
    "rpn_post_nms_train": 20,
    "rpn_pre_nms_test": 50,
    "rpn_post_nms_test": 20,
    "rpn_batch": 16,
    "box_batch": 8,
}

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]
Update = Callable[[], Any]


def recipe_of(family: str, precision: str, small: bool, **settings: Any) -> Recipe:
    """The full-size recipe, or the same with ResNet-18, small images and few regions."""
    tree = {f"detector.{key}": value for key, value in SMALL.items()} if small else {}
    return with_settings(
        build_recipe(f"{family}_r50"), tree | {"precision": precision} | settings, "benchmark"
    )


def build_batch(sizes: Sequence[tuple[int, int]], with_masks: bool) -> Batch:
    """Noise of these heights and widths, with objects in it; masks are ellipses."""
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    for number, (height, width) in enumerate(sizes):
        images.append(torch.rand(3, height, width, generator=generator))
        corner = torch.rand(OBJECTS, 2, generator=generator) * 0.6
        side = 0.1 + 0.3 * torch.rand(OBJECTS, 2, generator=generator)
        scale = torch.tensor([width, height] * 2)
        boxes = torch.cat([corner, corner + side], dim=1) * scale
        labels = torch.randint(1, NUM_CATEGORIES + 1, (OBJECTS,), generator=generator)
        target = {"boxes": boxes, "labels": labels, "image_id": torch.tensor(number)}
        if with_masks:
            target["masks"] = _draw_ellipses(boxes, height, width)
        targets.append(target)
    return images, targets


def _draw_ellipses(boxes: Tensor, height: int, width: int) -> Tensor:
    ys = torch.arange(height)[None, :, None]
    xs = torch.arange(width)[None, None, :]
    x0, y0, x1, y1 = (boxes[:, k, None, None] for k in range(4))
    across = ((xs - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2
    down = ((ys - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2
    return (across + down <= 1).to(torch.uint8)


def build_ours(recipe: Recipe, batch: Batch, device: torch.device) -> tuple[Live, Update]:
    """This program's model, and one update of it; images come from the host each time."""
    live = Live(recipe, NUM_CATEGORIES, 0, WorkerContext(device=device))
    images, targets = batch
    return live, lambda: live.update(images, targets, rate=RATE, step=0)


def build_twin(recipe: Recipe, batch: Batch, device: torch.device) -> tuple[nn.Module, Update]:
    """torchvision's class, and one update in a plain loop; images come from the host each time."""
    model = _build_model(recipe).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, weight_decay=recipe.optimizer.weight_decay
    )
    images, targets = batch

    def update() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            losses = model(
                [image.to(device, non_blocking=True) for image in images],
                [{k: v.to(device, non_blocking=True) for k, v in t.items()} for t in targets],
            )
            loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return model, update


def _build_model(recipe: Recipe) -> nn.Module:
    spec = recipe.detector
    norm = partial(nn.GroupNorm, 32)
    body = getattr(resnet, spec.backbone)(weights=None, norm_layer=norm)
    is_retinanet = spec.family == "retinanet"
    backbone = backbones._resnet_fpn_extractor(
        body,
        5,
        returned_layers=[2, 3, 4] if is_retinanet else None,
        extra_blocks=LastLevelP6P7(256, 256) if is_retinanet else None,
        norm_layer=norm,
    )
    sizes = {"min_size": spec.min_side_px, "max_size": spec.max_side_px}
    num_outputs = NUM_CATEGORIES + 1
    if is_retinanet:
        scales = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in _anchors(5))
        anchors = AnchorGenerator(scales, ((0.5, 1.0, 2.0),) * 5)
        head = RetinaNetHead(256, 9, num_outputs, norm_layer=norm)
        built: nn.Module = RetinaNet(
            backbone, num_outputs, anchor_generator=anchors, head=head, **sizes
        )
        return built
    counts = {
        "rpn_pre_nms_top_n_train": spec.rpn_pre_nms_train,
        "rpn_post_nms_top_n_train": spec.rpn_post_nms_train,
        "rpn_batch_size_per_image": spec.rpn_batch,
        "box_batch_size_per_image": spec.box_batch,
        "box_head": FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=norm),
    }
    if spec.family == "faster_rcnn":
        built = FasterRCNN(backbone, num_outputs, **counts, **sizes)
        return built
    masks = MaskRCNNHeads(256, [256] * 4, 1, norm_layer=norm)
    built = MaskRCNN(backbone, num_outputs, mask_head=masks, **counts, **sizes)
    return built


def _anchors(num: int) -> list[int]:
    return [32 * 2**level for level in range(num)]
