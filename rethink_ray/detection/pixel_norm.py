"""Normalises pixels as a network's weights were trained on them. It is a part of the network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import TIMM
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec

CHANNEL_ORDERS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0)}
PIXEL_NORM = "pixel_norm"
"""The name of this part in a network: a state dict has its tensors under ``pixel_norm.``."""


class PixelNorm(nn.Module):
    """Turns RGB in 0..1 into a network's input. Its buffers travel with the network's weights.

    A state dict without these buffers leaves mean, deviation and order unchanged.
    """

    mean: Tensor
    std: Tensor
    channels: Tensor

    def __init__(self, input_spec: InputSpec = IMAGENET) -> None:
        super().__init__()
        # torchvision creates mean and deviation on the device for each image, and so waits for it
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("std", torch.empty(0))
        self.register_buffer("channels", torch.empty(0))
        self.set_input(input_spec)

    def set_input(self, input_spec: InputSpec) -> None:
        """Takes over mean, deviation and order of channels."""
        device = self.mean.device if self.mean.numel() else "cpu"
        mean, std = (
            [x / input_spec.scale for x in values] for values in (input_spec.mean, input_spec.std)
        )
        self.mean = torch.tensor(mean, device=device)[:, None, None]
        self.std = torch.tensor(std, device=device)[:, None, None]
        self.channels = torch.tensor(CHANNEL_ORDERS[input_spec.order], device=device)

    def read_input(self) -> InputSpec:
        """Returns mean, deviation and order from the buffers, for pixels in 0..1.

        Each number is the shortest decimal of its 32 bits, so that nothing is lost.
        """
        mean, std = (
            tuple(float(str(x)) for x in buffer.flatten().cpu().numpy())
            for buffer in (self.mean, self.std)
        )
        is_rgb = tuple(self.channels.tolist()) == CHANNEL_ORDERS["rgb"]
        return InputSpec.model_validate(
            {"mean": mean, "std": std, "order": "rgb" if is_rgb else "bgr"}
        )

    def is_set_to(self, input_spec: InputSpec) -> bool:
        """Returns whether the buffers hold ``input_spec``, up to rounding; units may differ."""
        return self.read_input().is_same(input_spec)

    def forward(self, images: Tensor) -> Tensor:
        """Normalises images ``[..., 3, H, W]``."""
        return (images.index_select(-3, self.channels) - self.mean) / self.std

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers():
            state.setdefault(f"{prefix}{name}", buffer)
        super()._load_from_state_dict(state, prefix, *rest)


def is_pixel_norm(name: str) -> bool:
    """Returns whether a tensor's name in a state dict is of a pixel norm."""
    return PIXEL_NORM in name.split(".")


def require_stated_input(known: InputSpec, stated: InputSpec | None, where: str) -> None:
    """Raises ``SpecError`` if the loaded weights have another input than a recipe states."""
    if stated is None or known.is_same(stated):
        return
    must = f"must be that of the weights it starts from ({known.in_words})"
    raise SpecError(explain(where, must, stated.in_words, "Leave it out: the weights carry it."))


def input_of_model(state: Mapping[str, Tensor]) -> InputSpec:
    """Returns the input that a model of ours carries; ImageNet's if it was saved before
    models carried their input."""
    norm = PixelNorm()
    names = [name for name in state if is_pixel_norm(name)]
    norm.load_state_dict({name.rsplit(".", 1)[1]: state[name] for name in names})
    return norm.read_input()


def input_of_torchvision(weights: WeightsEnum) -> InputSpec:
    """Returns the input of torchvision's weights, from the transforms that belong to them."""
    transforms: Any = weights.transforms()
    return InputSpec.model_validate({"mean": transforms.mean, "std": transforms.std})


def input_of_timm(backbone: str) -> InputSpec:
    """Returns the input of timm's weights; ``backbone`` is ``timm:<name>.<tag>``."""
    import timm  # an extra; the backbone has been built with it

    known: Any = timm.get_pretrained_cfg(backbone.removeprefix(TIMM))
    return InputSpec.model_validate({"mean": known.mean, "std": known.std})
