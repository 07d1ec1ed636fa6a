import pytest
import torch
from torch import nn, optim

from rethink_ray.spec.recipe import OptimizerSpec
from rethink_ray.training.optimizer import build_optimizer, set_rate


def parameter(value: float) -> nn.Parameter:
    weight = nn.Parameter(torch.tensor([value]))
    weight.grad = torch.tensor([1.0])
    return weight


def test_norms_decay_by_their_own_amount() -> None:
    weight, norm = parameter(2.0), parameter(2.0)
    spec = OptimizerSpec(lr=0.5, momentum=0.0, weight_decay=0.25, norm_weight_decay=0.0)
    build_optimizer([weight], [norm], spec).step()
    assert weight.item() == pytest.approx(2.0 - 0.5 * (1.0 + 0.25 * 2.0))
    assert norm.item() == pytest.approx(2.0 - 0.5)


def test_adamw_takes_momentum_as_its_first_beta() -> None:
    spec = OptimizerSpec(name="adamw", lr=0.01, momentum=0.8)
    optimizer = build_optimizer([parameter(1.0)], [parameter(1.0)], spec)
    assert isinstance(optimizer, optim.AdamW)
    assert [group["betas"][0] for group in optimizer.param_groups] == [0.8, 0.8]


def test_a_group_without_parameters_is_left_out() -> None:
    optimizer = build_optimizer([parameter(1.0)], [], OptimizerSpec())
    assert [group["part"] for group in optimizer.param_groups] == ["weights"]


def test_a_new_rate_reaches_every_group() -> None:
    optimizer = build_optimizer([parameter(1.0)], [parameter(1.0)], OptimizerSpec(lr=0.1))
    set_rate(optimizer, 0.025)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025]


def test_the_rate_falls_from_layer_to_layer_and_keeps_its_factors() -> None:
    """Depths 1 and 2 of the backbone, and a head; half of a quarter, and a quarter of that."""
    head, last, first, norm = (parameter(1.0) for _ in range(4))
    spec = OptimizerSpec(lr=1.0, momentum=0.0, backbone_rate=0.5, layer_decay=0.25)
    optimizer = build_optimizer([head, last, first], [norm], spec, {last: 1, first: 2, norm: 2})
    assert [g["part"] for g in optimizer.param_groups] == [
        *("weights", "backbone weights 1", "backbone weights 2", "backbone norms 2")
    ]
    for rate in (1.0, 2.0):
        set_rate(optimizer, rate)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [rate, rate / 8, rate / 32, rate / 32]


def test_one_rate_of_the_backbone_makes_one_group_of_its_weights() -> None:
    head, last, first = (parameter(1.0) for _ in range(3))
    spec = OptimizerSpec(lr=1.0, backbone_rate=0.1)
    optimizer = build_optimizer([head, last, first], [], spec, {last: 1, first: 2})
    assert [g["part"] for g in optimizer.param_groups] == ["weights", "backbone weights"]
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 2]


def test_without_factors_there_are_two_groups_whatever_the_depths() -> None:
    weight, norm = parameter(1.0), parameter(1.0)
    optimizer = build_optimizer([weight], [norm], OptimizerSpec(), {weight: 3, norm: 1})
    assert [g["part"] for g in optimizer.param_groups] == ["weights", "norms"]
