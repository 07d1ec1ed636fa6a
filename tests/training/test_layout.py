"""GPUs may have channels last in memory; files have tensors in the order of their indices."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.layout import choose_layout
from rethink_ray.spec.recipe import EmaSpec, Family, InitSpec, Norm, Precision
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.live import Live
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe
from tests.detection.tiny_detectors import pictures, targets, tiny

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
LAST, FIRST = torch.channels_last, torch.contiguous_format


@pytest.mark.parametrize(
    ("family", "norm", "device", "precision", "layout"),
    [
        ("retinanet", "frozen_bn", GPU, "bf16", LAST),
        ("faster_rcnn", "bn", GPU, "tf32", LAST),
        ("faster_rcnn", "bn", GPU, "fp32", FIRST),
        ("retinanet", "gn", GPU, "bf16", FIRST),
        ("fcos", "frozen_bn", GPU, "bf16", FIRST),  # its heads have group norm
        ("faster_rcnn", "bn", CPU, "bf16", FIRST),
    ],
)
def test_tensor_cores_without_group_norm_read_channels_last(
    family: Family, norm: Norm, device: torch.device, precision: Precision, layout: Any
) -> None:
    detector = build_detector(tiny(family, norm), InitSpec(), 3, seed=0)
    assert choose_layout(detector, device, precision) == layout


def live_of(seed: int = 0) -> Live:
    ema = EmaSpec(half_life=0.5).model_dump()
    return Live(micro_recipe(optimizer__ema=ema), 3, seed, WorkerContext(device=CPU))


def has_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=LAST) and not x.is_contiguous()


def tensors_of(content: Any) -> list[Tensor]:
    match content:
        case Tensor():
            return [content]
        case dict():
            return [x for value in content.values() for x in tensors_of(value)]
        case list() | tuple():
            return [x for value in content for x in tensors_of(value)]
        case _:
            return []


def test_a_run_goes_on_in_the_order_of_its_weights_from_a_file_that_has_none(
    tmp_path: Path,
) -> None:
    """A network of channels last, as on a GPU: its weights and moments come back so."""
    first, second = live_of(), live_of(seed=1)
    second.detector.to(memory_format=LAST)  # type: ignore[call-overload]
    first.update(pictures(), targets(), rate=0.01, step=0)
    for live in (first, second):
        live.update(pictures(), targets(), rate=0.01, step=1)
    before = first.state()
    save_checkpoint(tmp_path / "first.pt", before)
    content = load_checkpoint(tmp_path / "first.pt")
    second.load(content)

    after = second.state()
    for ours, theirs in zip(tensors_of(after), tensors_of(before), strict=True):
        assert torch.equal(ours, theirs)
    moments = [s["momentum_buffer"] for s in second.optimizer.state.values()]
    assert sum(map(has_channels_last, moments)) == sum(map(has_channels_last, second.trainable)) > 0

    save_checkpoint(tmp_path / "second.pt", after)
    reread = load_checkpoint(tmp_path / "second.pt")
    assert all(x.is_contiguous() for x in tensors_of(reread))
    assert [*reread["model"]._metadata] == [*before["model"]._metadata]
