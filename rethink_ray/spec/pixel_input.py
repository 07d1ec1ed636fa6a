"""How pixels enter a network: the mean, the deviation and the order of channels of its weights."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rethink_ray.spec.model import Spec
from rethink_ray.spec.rules.rule import Rule, refuse_value

ByChannel = tuple[float, float, float]
NAMED: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
}
"""The input of nearly all classifiers by one word. Source: torchvision,
torchvision/transforms/_presets.py."""


class InputSpec(Spec):
    """A network's input: (pixel - ``mean``) / ``std`` in each channel, copied as it was published.

    The word ``imagenet`` stands for torchvision's numbers, which nearly all classifiers have. A
    Caffe2 file of Detectron subtracts a mean from BGR pixels of 0 to 255: ``{mean: [102.9801,
    115.9465, 122.7717], std: [1, 1, 1], order: bgr, scale: 255}``.
    """

    mean: Annotated[ByChannel, Field(strict=False)]
    """The mean of each channel, in the order ``order`` and in the units of ``scale``."""
    std: Annotated[ByChannel, Field(strict=False)]
    """The deviation of each channel, likewise. [1, 1, 1] if the first layer's weights already
    contain the division."""
    order: Literal["rgb", "bgr"] = "rgb"
    """The order in which the network takes the channels, and of ``mean`` and ``std``. Source:
    Detectron, detectron/core/config.py (``bgr``)."""
    scale: Literal[1, 255] = 1
    """The value of white in the units of ``mean`` and ``std``."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_word(cls, tree: Any) -> Any:
        if not isinstance(tree, str):
            return tree
        if tree not in NAMED:
            must = f"must be {' or '.join(NAMED)}, or a group with mean and std"
            raise refuse_value(must, tree)
        return NAMED[tree]

    @property
    def in_words(self) -> str:
        """Its numbers as messages show them."""
        words = f"mean {[*self.mean]}, std {[*self.std]}, {self.order}"
        return words if self.scale == 1 else f"{words}, scale {self.scale}"

    def is_same(self, other: "InputSpec") -> bool:
        """Whether both normalise alike, up to rounding; their units may differ."""
        pairs = zip((*self.mean, *self.std), (*other.mean, *other.std), strict=True)
        return self.order == other.order and all(
            math.isclose(mine / self.scale, theirs / other.scale, rel_tol=1e-5, abs_tol=1e-7)
            for mine, theirs in pairs
        )

    rules = (
        Rule(
            key="mean",
            reads=("scale",),
            broken=lambda pixels: min(pixels.mean) < 0 or max(pixels.mean) > pixels.scale,
            must="must lie between 0 and scale = {scale}, the value of white",
            remedy="Write scale: 255 for the mean of pixels from 0 to 255.",
        ),
        Rule(
            key="mean",
            reads=("scale",),
            broken=lambda pixels: pixels.scale == 255 and 0 < max(pixels.mean) <= 1,
            must="must be the mean of pixels from 0 to 255 where scale is 255",
            remedy="Leave scale out for the mean of pixels from 0 to 1.",
        ),
        Rule(
            key="std",
            reads=("scale",),
            broken=lambda pixels: min(pixels.std) <= 0 or max(pixels.std) > pixels.scale,
            must="must be above 0 and at most scale = {scale}, the value of white",
            remedy="Write [1, 1, 1] where weights contain it, scale: 255 for pixels from 0 to 255.",
        ),
    )


IMAGENET = InputSpec(**NAMED["imagenet"])
"""The input of every network that is trained here from random weights."""
