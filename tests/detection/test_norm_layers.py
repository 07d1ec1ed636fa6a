"""Norms under autocast: the input's type comes out, float32 statistics inside, on every device."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.norm_layers import (
    FrozenBatchNorm2d,
    GroupNorm,
    LayerNorm,
    LayerNorm2d,
    keep_input_types,
)
from rethink_ray.detection.norms import LevelNorm
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from tests.detection.fake_devices import operations, saved_bytes
from tests.detection.tiny_detectors import tiny

BF16 = torch.bfloat16
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "group": (lambda: GroupNorm(2, 6), lambda: nn.GroupNorm(2, 6)),
    "layer": (lambda: LayerNorm([5]), lambda: nn.LayerNorm([5])),
    "layer of channels": (
        lambda: LayerNorm2d(6, eps=1e-6),
        lambda: torchvision.models.convnext.LayerNorm2d(6, eps=1e-6),
    ),
    "frozen": (
        lambda: FrozenBatchNorm2d(6, eps=1e-5),
        lambda: torchvision.ops.FrozenBatchNorm2d(6, eps=1e-5),
    ),
}


def both(name: str) -> tuple[nn.Module, nn.Module]:
    """Our layer and the library's, with the same numbers in them."""
    ours, theirs = (build() for build in LAYERS[name])
    generator = torch.Generator().manual_seed(3)
    state = {k: torch.rand(v.shape, generator=generator) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    return ours, theirs


def a_map() -> Tensor:
    return torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.mark.parametrize("name", LAYERS)
def test_a_float32_map_is_normalised_as_the_library_does_to_the_last_bit(name: str) -> None:
    ours, theirs = both(name)
    assert torch.equal(ours(a_map()), theirs(a_map()))


@pytest.mark.parametrize("name", LAYERS)
def test_a_bfloat16_map_and_its_gradients_differ_by_the_last_rounding_alone(name: str) -> None:
    ours, theirs = both(name)
    narrow = a_map().to(BF16).requires_grad_()
    exact = narrow.detach().float().requires_grad_()

    with torch.autocast("cpu", BF16):
        found = ours(narrow)
    wanted = theirs(exact)
    found.backward(torch.ones_like(found) * narrow.detach())
    wanted.backward(torch.ones_like(wanted) * exact.detach())

    assert found.dtype == BF16
    assert torch.equal(found, wanted.to(BF16))
    assert narrow.grad is not None
    assert exact.grad is not None
    assert torch.equal(narrow.grad, exact.grad.to(BF16))
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert its.grad is not None
        assert torch.equal(mine.grad, its.grad)


def test_statistics_of_a_bfloat16_map_are_not_rounded_to_bfloat16() -> None:
    # 256 and 258 are neighbours in bfloat16: their mean, 257, is not a number there
    x = torch.tensor([256.0, 258.0]).repeat(2).reshape(1, 2, 2).to(BF16)

    with torch.autocast("cpu", BF16):
        assert GroupNorm(1, 2)(x).tolist() == [[[-1.0, 1.0], [-1.0, 1.0]]]
        assert LayerNorm([2])(x).tolist() == [[[-1.0, 1.0], [-1.0, 1.0]]]


def test_a_map_of_no_images_is_normalised_to_none() -> None:
    x = torch.zeros(0, 6, 4, 4, dtype=BF16, requires_grad=True)
    found = GroupNorm(2, 6)(x)
    found.sum().backward()
    assert found.shape == (0, 6, 4, 4)
    assert found.dtype == BF16


@pytest.mark.parametrize("layer", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_a_norm_per_level_hands_on_the_type_it_is_given(layer: Any) -> None:
    norm = LevelNorm(layer, 2, 6).eval()
    assert norm(a_map().to(BF16)).dtype == BF16
    assert norm(a_map()).dtype == torch.float32


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t"])
def test_networks_of_torchvision_keep_their_names_and_numbers(name: str) -> None:
    theirs = torchvision.models.get_model(name, weights=None).eval()
    ours = deepcopy(theirs)
    keep_input_types(ours)

    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert torch.equal(ours(x), theirs(x))
    library = [m for m in ours.modules() if type(m).__module__.startswith("torch")]
    assert not any(isinstance(m, nn.LayerNorm | nn.GroupNorm) for m in library)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:convnext_atto"])
def test_no_norm_of_timms_networks_is_left_behind(name: str) -> None:
    pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    with torch.device("meta"):
        backbone = build_backbone(DetectorSpec(backbone=name))
    norms = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
    kinds = {type(m) for m in backbone.modules() if isinstance(m, norms)}
    assert kinds == {GroupNorm if "resnet" in name else LayerNorm2d}


SPECS = {
    "gn": tiny("retinanet"),
    "frozen_bn": tiny("fcos", "frozen_bn"),
    "nas_fpn": tiny(neck="nas_fpn", neck_repeats=2),
    "bifpn": tiny(neck="bifpn", neck_repeats=2),
    "masks": tiny("cascade_mask_rcnn", cascade_from=0),
    "keypoints": tiny("keypoint_rcnn"),
    "adapters": tiny(adapters=0.25),
    "swin_t": tiny(backbone="swin_t"),
    "convnext_t": tiny(backbone="convnext_t"),
    "efficientnet_b0": tiny(backbone="efficientnet_b0"),
}


@pytest.mark.parametrize("name", SPECS)
def test_cpus_and_gpus_run_the_same_operations_in_the_same_types_under_bf16(name: str) -> None:
    detector = build_detector(SPECS[name], InitSpec(), 3, seed=0)
    on_cpu, on_gpu = (Counter(operations(detector, d, 64)) for d in ("cpu", "cuda"))
    assert on_cpu == on_gpu
    assert on_cpu["convolution", BF16] > 0
    assert on_cpu["convolution", torch.float32] == 0


def test_bfloat16_keeps_half_of_what_float32_does_for_the_backward_pass() -> None:
    # RetinaNet on ResNet-50, 16 images of 1088 x 1344: 46.6 GiB and 23.9
    def build() -> Detector:
        return build_detector(DetectorSpec(), InitSpec(), 80, seed=0)

    images = (16, 3, 1088, 1344)
    narrow, exact = (saved_bytes(build, images, bf16=on) for on in (True, False))
    assert 0.5 < narrow / exact < 0.52, "weights are kept in both types"
