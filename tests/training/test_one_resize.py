"""A network learns from the pixels that it is scored on, resized by the loader or by itself."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rethink_ray.data.augment import Augmentation, AugmentDraws, augment
from rethink_ray.data.objects import Objects
from rethink_ray.data.resizing import resize_picture as in_data
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.resize import Resize
from rethink_ray.detection.resize import resize_image as in_detection
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec, EvaluationSpec, InitSpec
from rethink_ray.spec.recipes import build_recipe

NOTHING = Objects(
    boxes_xyxy=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64), area=np.zeros(0)
)
SIZES = [(300, 200), (200, 300), (97, 160), (64, 64), (30, 40), (1, 77)]
"""Made smaller, not at all, and larger."""


def photo(height: int, width: int) -> Tensor:
    """Noise of eight bits, as a decoded file has it."""
    levels = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0))
    return levels.to(torch.uint8).float() / 255.0


def batched(image: Tensor, small: int, large: int) -> Tensor:
    """What the network gets, without its padding."""
    batch, _ = Resize(small, large)([image])
    height, width = batch.image_sizes[0]
    pixels: Tensor = batch.tensors[0, :, :height, :width]
    return pixels


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("size", [(20, 30), (64, 64), (123, 77)])
def test_both_rooms_resize_alike_to_the_last_bit(
    hw: tuple[int, int], size: tuple[int, int]
) -> None:
    image = photo(*hw)
    assert torch.equal(in_data(image, *size), in_detection(image, *size))


@pytest.mark.parametrize("hw", [(300, 200), (200, 300), (240, 160), (40, 60)])
@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        ({"short_side_px": (64, 64)}, (64, 96)),
        ({"copy_paste": 1.0}, (64, 96)),
        ({"canvas": "square"}, (96, 96)),
    ],
)
def test_a_size_that_augmentation_gives_has_the_pixels_of_scoring(
    hw: tuple[int, int], settings: dict[str, object], sides: tuple[int, int]
) -> None:
    """Three ways to 64 x 96: augmentation resizes, or scoring does; the network gets the same."""
    detector = DetectorSpec(min_side_px=sides[0], max_side_px=sides[1])
    spec = AugmentSpec.model_validate({"flip": 0.0, **settings})
    draws = AugmentDraws(
        flip=0.5, scale=0.0, left=0, top=0, brightness=0.5, contrast=0.5, saturation=0.5
    )
    image = photo(*hw)
    learned, _ = augment(image, NOTHING, Augmentation(spec=spec, detector=detector), draws)
    height, width = (96, 64) if hw[0] > hw[1] else (64, 96)
    scored = batched(image, *sides)
    assert scored.shape == (3, height, width)
    assert torch.equal(batched(learned, *sides)[:, :height, :width], scored)


def test_a_look_at_another_size_has_the_pixels_of_that_size() -> None:
    recipe = build_recipe("tiny_retinanet")
    detector = build_detector(recipe.detector, InitSpec(), 3, seed=0)
    looking = MultiViewDetector(detector, EvaluationSpec(scales=(0.5,)), recipe.detector)
    image = photo(200, 300)
    ((look,),) = looking.build_views([image])
    side = recipe.detector.min_side_px
    height, width = look.shape[-2:]
    assert min(height, width) <= side // 2
    assert torch.equal(look, in_data(image, height, width))


def test_pixels_do_not_depend_on_how_they_lie_in_memory() -> None:
    image = photo(120, 90)
    apart = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not apart.is_contiguous()
    assert torch.equal(in_data(image, 50, 40), in_data(apart, 50, 40))


def test_pixels_do_not_depend_on_the_number_of_threads() -> None:
    image, threads = photo(600, 800), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = in_data(image, 240, 320)
        torch.set_num_threads(2)
        together = in_data(image, 240, 320)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, together)
