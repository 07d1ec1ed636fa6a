import itertools

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.resize import Resize, is_beyond_cuda, resize_image

SIDES = (1, 2, 3, 31, 32, 33, 47, 64, 97, 333, 500, 640)


def image(height: int, width: int) -> Tensor:
    return torch.zeros(3, height, width)


@pytest.mark.parametrize(("small", "large"), [(64, 64), (48, 80), (96, 160), (75, 133)])
def test_the_size_that_is_foretold_is_the_size_that_comes(small: int, large: int) -> None:
    resize = Resize(small, large)
    for height, width in itertools.product(SIDES, SIDES):
        batch, _ = resize([image(height, width)])
        assert batch.image_sizes == [resize.resized_hw(height, width)], (height, width)
        assert tuple(batch.tensors.shape[-2:]) == resize.padded_hw_of([image(height, width)])


def test_a_batch_is_as_large_as_its_largest_sides() -> None:
    resize = Resize(64, 128)
    assert resize.padded_hw_of([image(64, 100), image(120, 64)]) == (128, 128)
    assert resize.padded_hw_of([]) == (0, 0)


def test_a_part_of_a_batch_is_padded_like_the_whole() -> None:
    resize = Resize(64, 128)
    images = [torch.rand(3, 64, 100, generator=torch.Generator().manual_seed(0)), image(120, 64)]
    whole, _ = resize(images)
    resize.padded_hw = resize.padded_hw_of(images)
    part, _ = resize(images[:1])
    assert torch.equal(part.tensors[0], whole.tensors[0])
    assert part.image_sizes == whole.image_sizes[:1]


def test_a_line_of_pixels_keeps_one_of_them_and_its_boxes_follow() -> None:
    resize = Resize(64, 64).train()
    target = {"boxes": torch.tensor([[0.0, 0.0, 320.0, 2.0]]), "labels": torch.tensor([1])}
    batch, targets = resize([image(2, 640)], [target])
    assert batch.image_sizes == [(1, 64)]
    assert targets[0]["boxes"].tolist() == [[0.0, 0.0, 32.0, 1.0]]
    assert target["boxes"].tolist() == [[0.0, 0.0, 320.0, 2.0]]


def checkerboard(height: int, width: int) -> Tensor:
    """Black and white pixels in turn: nothing finer exists."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return ((rows + columns) % 2).float().expand(3, -1, -1)


def test_what_is_finer_than_a_new_pixel_becomes_its_mean() -> None:
    resized = resize_image(checkerboard(96, 96), 32, 32)
    assert resized.shape == (3, 32, 32)
    assert float((resized[:, 1:-1, 1:-1] - 0.5).abs().max()) < 0.01  # unfiltered it stays 0 or 1


def test_a_pixel_is_weighed_by_how_near_it_is() -> None:
    """Three to one: weights 1 2 3 2 1 over the five nearest, those beyond the edge left out."""
    line = torch.tensor([0.0, 0, 0, 9, 0, 0, 0, 0, 0]).expand(3, 1, -1)
    left, middle, right = resize_image(line, 1, 3)[0, 0].tolist()
    assert left == pytest.approx(9 * 1 / 8)
    assert middle == pytest.approx(9 * 2 / 9)
    assert right == 0.0


def test_an_image_of_its_size_is_the_same_tensor() -> None:
    given = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert resize_image(given, 5, 7) is given


def test_bytes_are_refused() -> None:
    with pytest.raises(AssertionError, match="floats in 0..1 first"):
        resize_image(torch.zeros(3, 4, 4, dtype=torch.uint8), 2, 2)


@pytest.mark.parametrize("x0", range(4))
def test_masks_stay_inside_their_boxes(x0: int) -> None:
    """Three to one, six pixels wide: the two columns whose centres are in the box."""
    masks = torch.zeros(1, 12, 12, dtype=torch.uint8)
    masks[:, 3:9, x0 : x0 + 6] = 1
    boxes = torch.tensor([[x0, 3.0, x0 + 6, 9.0]])
    resize = Resize(4, 4)
    _, targets = resize([image(12, 12)], [{"boxes": boxes, "masks": masks}])
    assert targets is not None
    resized = targets[0]["masks"]
    assert resized.dtype == torch.uint8
    ys, xs = torch.nonzero(resized[0], as_tuple=True)
    found = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert float((found - targets[0]["boxes"][0]).abs().max()) < 0.5


def test_an_image_without_objects_has_no_masks_at_any_size() -> None:
    target = {"boxes": torch.zeros(0, 4), "masks": torch.zeros(0, 12, 12, dtype=torch.uint8)}
    _, targets = Resize(4, 4)([image(12, 12)], [target])
    assert targets is not None
    assert targets[0]["masks"].shape == (0, 4, 4)


def test_only_extreme_factors_are_beyond_cuda() -> None:
    assert not is_beyond_cuda((3000, 4000), (48, 64))  # 62.5 on both sides
    assert is_beyond_cuda((128, 128), (1, 1))  # torch: too much shared memory required
    assert is_beyond_cuda((2, 20000), (1, 64))


def test_images_that_need_no_padding_have_the_same_pixels_as_padded_ones() -> None:
    """A batch of one size is normalised in one call, and a batch of two sizes image by image."""
    resize = Resize(64, 64)
    resize.as_given = True
    generator = torch.Generator().manual_seed(0)
    even, odd = (torch.rand(3, height, 64, generator=generator) for height in (32, 31))
    together, _ = resize([even, even])
    mixed, _ = resize([even, odd])
    assert together.image_sizes == [(32, 64)] * 2
    assert torch.equal(together.tensors[0], mixed.tensors[0])
    assert torch.equal(mixed.tensors[1, :, :31], resize.normalize(odd))
    assert not mixed.tensors[1, :, 31].any()
