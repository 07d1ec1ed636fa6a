import itertools

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.resize import Resize

SIDES = (1, 2, 3, 31, 32, 33, 47, 64, 97, 333, 500, 640)


def image(height: int, width: int) -> Tensor:
    return torch.zeros(3, height, width)


@pytest.mark.parametrize(("small", "large"), [(64, 64), (48, 80), (96, 160), (75, 133)])
def test_the_size_that_is_foretold_is_the_size_that_comes(small: int, large: int) -> None:
    resize = Resize(small, large, [0.5] * 3, [0.25] * 3)
    for height, width in itertools.product(SIDES, SIDES):
        batch, _ = resize([image(height, width)])
        assert batch.image_sizes == [resize.resized_hw(height, width)], (height, width)
        assert tuple(batch.tensors.shape[-2:]) == resize.padded_hw_of([image(height, width)])


def test_a_batch_is_as_large_as_its_largest_sides() -> None:
    resize = Resize(64, 128, [0.5] * 3, [0.25] * 3)
    assert resize.padded_hw_of([image(64, 100), image(120, 64)]) == (128, 128)
    assert resize.padded_hw_of([]) == (0, 0)


def test_a_part_of_a_batch_is_padded_like_the_whole() -> None:
    resize = Resize(64, 128, [0.5] * 3, [0.25] * 3)
    images = [torch.rand(3, 64, 100, generator=torch.Generator().manual_seed(0)), image(120, 64)]
    whole, _ = resize(images)
    resize.padded_hw = resize.padded_hw_of(images)
    part, _ = resize(images[:1])
    assert torch.equal(part.tensors[0], whole.tensors[0])
    assert part.image_sizes == whole.image_sizes[:1]


def test_a_line_of_pixels_keeps_one_of_them_and_its_boxes_follow() -> None:
    resize = Resize(64, 64, [0.5] * 3, [0.25] * 3).train()
    target = {"boxes": torch.tensor([[0.0, 0.0, 320.0, 2.0]]), "labels": torch.tensor([1])}
    batch, targets = resize([image(2, 640)], [target])
    assert batch.image_sizes == [(1, 64)]
    assert targets[0]["boxes"].tolist() == [[0.0, 0.0, 32.0, 1.0]]
    assert target["boxes"].tolist() == [[0.0, 0.0, 320.0, 2.0]]
