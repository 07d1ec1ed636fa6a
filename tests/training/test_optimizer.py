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
