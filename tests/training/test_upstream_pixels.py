"""Crops of classification images, held against torchvision's own draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from rethink_ray.training.upstream_pixels import augment_batch, draw_crops, resize_crops

CPU = torch.device("cpu")
REFERENCE = (0.08, 1.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_have_the_areas_and_aspects_that_torchvision_draws() -> None:
    """Area shares of 4,000 crops each: mean and quartiles agree within three standard errors."""
    boxes = draw_crops(4000, 224, REFERENCE, seeded(0))
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = widths * heights / 224**2, widths / heights

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        picture = torch.zeros(3, 224, 224)
        drawn = [
            RandomResizedCrop.get_params(picture, [*REFERENCE], [3 / 4, 4 / 3]) for _ in range(4000)
        ]
    _, _, theirs_h, theirs_w = torch.tensor(drawn, dtype=torch.float32).unbind(dim=1)

    assert (float(boxes.min()), float(boxes.max())) == (0, 224)
    assert (float(areas.min()), float(areas.max())) == pytest.approx((0.08, 1.0), abs=0.02)
    assert (float(ratios.min()), float(ratios.max())) == pytest.approx((0.75, 1.33), abs=0.02)
    at = torch.tensor([0.25, 0.5, 0.75])
    theirs = theirs_w * theirs_h / 224**2
    assert torch.allclose(areas.quantile(at), theirs.quantile(at), atol=0.03)
    assert float(areas.mean()) == pytest.approx(float(theirs.mean()), abs=0.02)
    assert float(ratios.log().mean()) == pytest.approx(0.0, abs=0.02)


def test_a_crop_that_fits_nowhere_is_the_whole_image() -> None:
    """An area of one fits at an aspect of one alone."""
    whole = torch.tensor([0.0, 0.0, 24.0, 24.0]).expand(50, 4)
    boxes = draw_crops(50, 24, (1.0, 1.0), seeded(0))
    assert float((boxes - whole).abs().max()) <= 1


def test_the_right_half_is_spread_over_the_image_and_mirrored() -> None:
    """Columns 0 to 7; the right half is 4 to 7, and each of its columns becomes two."""
    image = torch.arange(8.0).expand(1, 3, 8, 8)
    half = torch.tensor([[4.0, 0.0, 8.0, 8.0]])

    spread = resize_crops(image, half, torch.tensor([False]))[0, 0, 0]
    mirrored = resize_crops(image, half, torch.tensor([True]))[0, 0, 0]

    expected = torch.tensor([3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.0])
    assert torch.allclose(spread, expected, atol=1e-5)
    assert torch.allclose(mirrored, expected.flip(0), atol=1e-5)


def test_the_whole_image_stays_as_it_is() -> None:
    image = torch.rand(2, 3, 8, 8, generator=seeded(0))
    whole = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(2, 4)

    assert torch.allclose(resize_crops(image, whole, torch.tensor([False, False])), image)


@pytest.mark.parametrize("crop", [None, REFERENCE])
def test_a_worker_gets_its_part_of_the_batch_that_one_worker_gets(
    crop: tuple[float, float] | None,
) -> None:
    pixels = np.arange(4 * 3 * 8 * 8, dtype=np.uint8).reshape(4, 3, 8, 8)

    batch = augment_batch(pixels, crop, seeded(0), CPU)

    part = augment_batch(pixels, crop, seeded(0), CPU, slice(2, 4))
    assert torch.equal(part, batch[2:4])
    assert batch.shape == (4, 3, 8, 8)
    assert batch.dtype == torch.float32
    assert float(batch.max()) <= 1
    assert not torch.equal(batch, augment_batch(pixels, crop, seeded(1), CPU))
