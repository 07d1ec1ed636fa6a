"""The order in which a network's maps lie in a GPU's memory.

Tensor cores read maps whose channels lie side by side (channels last). Maps follow the weights of
the convolution that made them. Not measured: we had no GPU.
"""

import torch
from torch import nn

from rethink_ray.spec.recipe import Precision


def choose_layout(
    network: nn.Module, device: torch.device, precision: Precision
) -> torch.memory_format:
    """Returns channels last for tensor cores, and contiguous for everything else.

    CPUs: group norm loses more by channels last than convolutions gain, and last bits change.
    float32: cuDNN's fastest convolutions without tensor cores (Winograd's) read contiguous maps.
    Group norm: CUDA's kernel reads contiguous maps, so every map would be turned twice.
    """
    has_tensor_cores = device.type == "cuda" and torch.backends.cudnn.enabled
    if not has_tensor_cores or precision == "fp32":
        return torch.contiguous_format
    has_group_norm = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    return torch.contiguous_format if has_group_norm else torch.channels_last


def put_on_device(network: nn.Module, device: torch.device, precision: Precision) -> None:
    """The network is on its device, with the weights of convolutions in the order for it."""
    network.to(device)
    layout = choose_layout(network, device, precision)
    if layout == torch.channels_last:
        network.to(memory_format=layout)
