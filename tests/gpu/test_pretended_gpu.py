"""The pretended GPU refuses what CUDA refuses, and counts where CUDA makes the host wait."""

import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.gpu.cuda_tensors import GPU, CudaTensor, MixedDevices, NotDeterministic
from tests.gpu.pretended_gpu import pretend_gpu


def test_a_tensor_says_that_it_is_on_the_gpu_and_keeps_its_numbers() -> None:
    with pretend_gpu():
        values = torch.arange(6.0).to(GPU).view(2, 3)
        assert (values.device, values.is_cuda) == (GPU, True)
        assert torch.zeros(2, device="cuda:0").device == GPU
        assert torch.zeros_like(values).device == GPU
        assert values.sum(0).tolist() == [3.0, 5.0, 7.0]
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            values.numpy()
        assert values.cpu().numpy().sum() == 15.0


def test_tensors_of_two_devices_meet_only_as_cuda_lets_them() -> None:
    with pretend_gpu():
        ours, theirs = torch.ones(3, device=GPU), torch.ones(3)
        mask = torch.ones(3, dtype=torch.bool, device=GPU)
        for mix in (
            lambda: ours + theirs,
            lambda: torch.cat([ours, theirs]),
            lambda: torch.stack([ours.sum(), theirs.sum()]),
            lambda: torch.where(mask, ours, theirs),
            lambda: functional.linear(ours, torch.ones(2, 3)),
            lambda: theirs[torch.tensor([0]).to(GPU)],
            lambda: theirs.add_(ours),
        ):
            with pytest.raises(MixedDevices):
                mix()
        assert (ours + theirs.sum()).tolist() == [4.0] * 3  # a number, as CUDA sees it
        assert torch.where(mask, ours, theirs.sum()).device == GPU
        assert ours[torch.tensor([0, 1])].device == GPU  # an index may lie on the CPU
        assert theirs.copy_(ours).device.type == "cpu"


def test_each_kind_of_wait_is_counted_and_no_other() -> None:
    with pretend_gpu() as waits:
        values = torch.arange(6.0).pin_memory().to(GPU, non_blocking=True)
        mask = values > 2
        values[mask] = 0.0
        torch.where(mask, values, 0.0)
        torch.nonzero_static(mask, size=3)
        values.new_zeros(3)
        assert not waits.all
        for wait in (
            lambda: values.sum().item(),
            lambda: float(values.sum()),
            lambda: bool(mask.any()),
            lambda: values.tolist(),
            lambda: values.cpu(),
            lambda: values.nonzero(),
            lambda: torch.where(mask),
            lambda: values[mask],
            lambda: values.masked_select(mask),
            lambda: values.unique(),
            lambda: values[torch.tensor([0, 1])],
            lambda: torch.arange(6.0).to(GPU),
            lambda: torch.arange(6.0).to(GPU, non_blocking=True),
            lambda: torch.arange(6.0).pin_memory().to(GPU),
            lambda: torch.tensor([1.0, 2.0], device=GPU),
            lambda: values.repeat_interleave(torch.ones(6, dtype=torch.int64, device=GPU)),
        ):
            waits.forget()
            wait()
            assert len(waits.all) == 1, waits.by_line()


def test_under_deterministic_algorithms_it_refuses_what_cuda_refuses() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with pretend_gpu():
            maps = torch.rand(1, 2, 4, 4).to(GPU).requires_grad_()
            maps.amax((2, 3)).sum().backward()
            with pytest.raises(NotDeterministic, match="adaptive_max_pool2d"):
                functional.adaptive_max_pool2d(maps, 1).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_autocast_chooses_types_as_on_a_gpu() -> None:
    with pretend_gpu(), torch.autocast("cuda", torch.bfloat16):
        maps = torch.rand(1, 4, 8, 8).to(GPU)
        weight = torch.rand(4, 4, 1, 1).to(GPU)
        convolved = functional.conv2d(maps, weight)
        assert convolved.dtype == torch.bfloat16
        assert functional.group_norm(convolved, 2).dtype == torch.float32
        assert convolved.sum().dtype == torch.float32


def test_gradients_of_a_network_are_the_cpus_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    for parameter in network.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator)
    images = torch.rand(2, 3, 8, 8, generator=generator)

    def gradients(device: torch.device) -> list[torch.Tensor]:
        network.to(device).zero_grad()
        maps = network(images.to(device))
        (maps.square().mean() + maps[:, :1].sum()).backward()
        return [p.grad.clone().cpu() for p in network.parameters() if p.grad is not None]

    expected = gradients(torch.device("cpu"))
    with pretend_gpu():
        computed = gradients(GPU)
        assert all(isinstance(p, CudaTensor) for p in network.parameters())
    assert len(computed) == 6
    assert all(torch.equal(a, b) for a, b in zip(computed, expected, strict=True))


def test_a_tensor_can_be_resized_and_can_take_anothers_numbers() -> None:
    with pretend_gpu():
        tensor = torch.ones(2, device=GPU)
        assert tensor.resize_(3).shape == (3,)
        assert tensor.tolist()[:2] == [1.0, 1.0]
        tensor.data = torch.zeros(3, device=GPU)
        assert (tensor + 1).tolist() == [1.0] * 3


def test_a_file_holds_plain_tensors() -> None:
    file = io.BytesIO()
    with pretend_gpu():
        torch.save({"weight": torch.ones(2, device=GPU)}, file)
    file.seek(0)
    loaded = torch.load(file, map_location="cpu", weights_only=True)["weight"]
    assert type(loaded) is torch.Tensor
    assert loaded.tolist() == [1.0, 1.0]
