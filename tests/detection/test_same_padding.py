"""SAME padding with fixed amounts is timm's, wherever a map divides by its stride."""

import pytest
import torch
from torch import nn

from rethink_ray.detection.same_padding import EvenSameConv, fix_same_padding

layers = pytest.importorskip("timm.layers", reason="an extra: pip install 'rethink-ray[timm]'")


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 1), (1, 2, 1), (3, 1, 2)]
)
def test_a_fixed_convolution_gives_timms_maps(kernel: int, stride: int, dilation: int) -> None:
    conv = layers.Conv2dSame(4, 4, kernel, stride=stride, dilation=dilation, groups=2)
    fixed = fix_same_padding(nn.Sequential(conv))
    assert isinstance(fixed[0], EvenSameConv)
    for size in ((8, 12), (10, 6)):
        maps = torch.randn(2, 4, *size)
        torch.testing.assert_close(fixed(maps), conv(maps), rtol=0, atol=0)


def test_other_convolutions_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert type(fix_same_padding(network)[0]) is nn.Conv2d
