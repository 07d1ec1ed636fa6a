"""Operations counted as they run, held against arithmetic on paper."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import roi_align

from rethink_ray.detection.operations import count_operations


def passes(layer: nn.Module, *shape: int, leaf: bool = True) -> tuple[int, int]:
    """(operations forward, operations backward) of a layer on an input of this shape."""
    x = torch.rand(shape, requires_grad=leaf)
    with count_operations() as forward:
        y = layer(x)
    with count_operations() as backward:
        y.sum().backward()
    return forward.total, backward.total


CONVOLUTIONS = {
    # 2 operations x (out x in / groups x kernel) weights x places
    "plain": (nn.Conv2d(4, 6, 3, padding=1), 2 * (6 * 4 * 9) * (8 * 8)),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1), 2 * (6 * 4 * 9) * (4 * 4)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), 2 * (6 * 4 * 9) * (4 * 4)),
    "grouped": (nn.Conv2d(4, 6, 3, padding=1, groups=2), 2 * (6 * 2 * 9) * (8 * 8)),
    "depthwise": (nn.Conv2d(4, 4, 5, padding=2, groups=4), 2 * (4 * 1 * 25) * (8 * 8)),
    "depthwise, twice as wide": (nn.Conv2d(4, 8, 3, groups=4), 2 * (8 * 1 * 9) * (6 * 6)),
    # each weight meets each place of the *input*
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), 2 * (4 * 6 * 4) * (8 * 8)),
    "transposed, grouped": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        2 * (4 * 3 * 9) * (8 * 8),
    ),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_costs_two_operations_a_weight_and_place_and_twice_that_backward(
    kind: str,
) -> None:
    layer, once = CONVOLUTIONS[kind]

    assert passes(layer, 3, 4, 8, 8) == (3 * once, 2 * 3 * once)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_the_first_trainable_layer_needs_no_gradient_by_its_input(kind: str) -> None:
    layer, once = CONVOLUTIONS[kind]

    assert passes(layer, 3, 4, 8, 8, leaf=False) == (3 * once, 3 * once)


def test_a_frozen_layer_behind_a_trainable_one_still_hands_its_gradient_on() -> None:
    first, frozen = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
    frozen.requires_grad_(False)

    forward, backward = passes(nn.Sequential(first, frozen), 1, 3, 8, 8, leaf=False)

    assert forward == 2 * (3 * 4 + 4 * 5) * 64
    assert backward == 2 * (3 * 4 + 4 * 5) * 64  # by the first's weight, by the second's input


def test_nothing_runs_backward_through_a_frozen_prefix() -> None:
    frozen, last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
    frozen.requires_grad_(False)

    _, backward = passes(nn.Sequential(frozen, last), 1, 3, 8, 8, leaf=False)

    assert backward == 2 * (4 * 5) * 64


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3), (2, 4, 7, 3)])
def test_a_linear_layer_costs_two_operations_a_weight_and_row(
    bias: bool, shape: tuple[int, ...]
) -> None:
    rows = torch.Size(shape[:-1]).numel()

    assert passes(nn.Linear(3, 5, bias=bias), *shape) == (2 * 15 * rows, 4 * 15 * rows)


def test_what_runs_without_gradients_costs_the_same_forward() -> None:
    layer, x = nn.Linear(3, 5), torch.rand(2, 7, 3)

    with count_operations() as free, torch.no_grad():
        layer(x)
    with count_operations() as inferred, torch.inference_mode():
        layer(x)

    assert free.total == inferred.total == 2 * 15 * 14


def _written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)
    return weights @ value


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_costs_the_same_fused_with_dropout_and_written_out(dropout: float) -> None:
    """2 images, 3 heads, 5 queries, 7 keys, 4 channels: two products of 2 x 5 x 7 x 4."""
    query = torch.rand(2, 3, 5, 4, requires_grad=True)
    key, value = (torch.rand(2, 3, 7, 4, requires_grad=True) for _ in range(2))
    by_hand = 2 * 3 * 2 * (2 * 5 * 7 * 4)

    for attend in (_written_out, lambda *qkv: F.scaled_dot_product_attention(*qkv, None, dropout)):
        with count_operations() as forward:
            y = attend(query, key, value)
        with count_operations() as backward:
            y.sum().backward()
        assert (forward.total, backward.total) == (by_hand, 2 * by_hand)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_of_attention_costs_its_four_projections_and_two_products(frozen: bool) -> None:
    """One image, 6 tokens of 8 channels, 2 heads of 4, also where evaluation would be fused."""
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.rand(1, 6, 8)
    layer.train(not frozen)
    projections, products = 4 * 2 * (8 * 8) * 6, 2 * 2 * (2 * 6 * 6 * 4)

    with count_operations() as counter, torch.set_grad_enabled(not frozen):
        layer(x, x, x, need_weights=False)

    assert counter.total == projections + products


def test_each_sample_of_roi_align_weighs_four_neighbours() -> None:
    """2 boxes of 3 x 3 cells, 4 samples a cell, 5 channels, 4 multiplications and additions."""
    maps = torch.rand(1, 5, 16, 16, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 0.0, 12.0, 12.0], [0.0, 2.0, 2.0, 8.0, 14.0]])

    with count_operations() as forward:
        y = roi_align(maps, boxes, 3, 1.0, sampling_ratio=2)
    with count_operations() as backward:
        y.sum().backward()

    assert forward.total == backward.total == 2 * (3 * 3) * 4 * 5 * 8


@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_without_a_ratio_samples_each_pixel_of_the_map_once(aligned: bool) -> None:
    """A box of 12 x 6 pixels on a map of half the size: 3 x 3 cells of 2 x 1 pixels."""
    boxes = torch.tensor([[0.0, 0.0, 0.0, 12.0, 6.0]])

    with count_operations() as counter:
        roi_align(torch.rand(1, 5, 16, 16), boxes, 3, 0.5, -1, aligned)

    assert counter.total == (3 * 3) * (2 * 1) * 5 * 8


def test_what_works_element_by_element_costs_nothing() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.GroupNorm(1, 3), nn.MaxPool2d(2))

    assert passes(layers, 2, 3, 8, 8) == (0, 0)


def test_counting_leaves_pytorchs_settings_as_they_were() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with count_operations():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_counts_are_kept_kernel_by_kernel() -> None:
    with count_operations() as counter:
        torch.ones(2, 3) @ torch.ones(3, 5)
        F.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2))

    assert counter.by_kernel == {"mm": 60, "convolution": 2 * 4 * 9}


def _by_layer(network: nn.Module, x: Tensor) -> tuple[int, int]:
    """(operations of a forward pass, those of the first layer), on paper, layer by layer."""
    costs: list[int] = []

    def convolve(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        costs.append(2 * layer.weight.numel() * len(out) * out.shape[2] * out.shape[3])

    def multiply(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        costs.append(2 * out.numel() * layer.in_features)

    def attend(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        """Windows of 7 x 7 tokens: queries, keys, values, output, and two products of 49 by 49."""
        num, height, width, channels = out.shape
        tokens = num * 7 * math.ceil(height / 7) * 7 * math.ceil(width / 7)
        costs.append(2 * tokens * channels * 4 * channels + 2 * 2 * tokens * 49 * channels)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(convolve)
        elif isinstance(layer, nn.Linear):
            layer.register_forward_hook(multiply)
        elif isinstance(layer, ShiftedWindowAttention):
            layer.register_forward_hook(attend)
    network(x)
    return sum(costs), costs[0]


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "convnext_tiny", "swin_t"])
def test_a_whole_backbone_costs_the_sum_of_its_layers(name: str) -> None:
    """Backward twice of it, less the gradient of the first layer by the picture."""
    network, x = torchvision.models.get_model(name, weights=None), torch.rand(2, 3, 64, 64)
    layers, first = _by_layer(network, x)

    with count_operations() as forward:
        y = network(x)
    with count_operations() as backward:
        y.sum().backward()

    assert forward.total == layers
    assert backward.total == 2 * layers - first


def test_a_frozen_backbone_of_depthwise_convolutions_saves_all_but_its_forward_pass() -> None:
    """Of a picture of 64 x 64 the head sees 2 x 2 places of 1280 channels, and makes 4."""
    network = torchvision.models.efficientnet_b0(weights=None).features
    head, x = nn.Conv2d(1280, 4, 1), torch.rand(2, 3, 64, 64)
    layers, first = _by_layer(network, x)
    head_once = 2 * (4 * 1280) * 2 * (2 * 2)

    counts = {}
    for frozen in (False, True):
        network.requires_grad_(not frozen)
        with count_operations() as counter:
            head(network(x)).sum().backward()
        counts[frozen] = counter.total

    assert counts[False] == 3 * layers - first + 3 * head_once
    assert counts[True] == layers + 2 * head_once
