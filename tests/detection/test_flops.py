"""What an update costs, held against a count by hand."""

from typing import get_args

import pytest
import torch

from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.spec.recipe import Family, Norm
from tests.detection.tiny_detectors import tiny

CPU = torch.device("cpu")


def conv(num_in: int, num_out: int, side: int, pixels: int) -> int:
    """A multiplication and an addition for each weight at each place."""
    return 2 * num_in * num_out * side**2 * pixels


def test_a_frozen_backbone_saves_its_whole_backward_pass() -> None:
    stem = conv(3, 8, 3, 32**2)
    blocks = sum(
        conv(i, o, 3, side**2) + conv(o, o, 3, side**2) + conv(i, o, 1, side**2)
        for i, o, side in ((8, 8, 16), (8, 16, 8), (16, 32, 4), (32, 32, 2))
    )
    laterals = conv(16, 16, 1, 8**2) + conv(32, 16, 1, 4**2) + conv(32, 16, 1, 2**2)

    free, frozen = (step_flops_per_image(tiny(width=32), f, 3, CPU) for f in ("none", "backbone"))

    # gradients by weight and by input for every convolution, but not by the pixels; and without
    # the backbone's gradient the pyramid's laterals need none by their input
    assert free - frozen == (stem + blocks) * 2 - stem + laterals


def test_each_part_that_is_frozen_saves_its_backward_pass_and_its_inputs_gradient() -> None:
    pixels = (8**2, 4**2, 2**2)  # of the maps P3 to P5
    laterals = sum(conv(i, 16, 1, n) for i, n in zip((16, 32, 32), pixels, strict=True))
    blocks = sum(conv(16, 16, 3, n) for n in pixels)
    tower = 2 * blocks  # one convolution in each of two towers
    last = sum(conv(16, 9 * 3, 3, n) + conv(16, 9 * 4, 3, n) for n in pixels)

    backbone, neck, heads = (
        step_flops_per_image(tiny(width=32), frozen, 3, CPU)
        for frozen in ("backbone", "neck", "heads")
    )

    # gradients by the weights of laterals and blocks, and by the blocks' input; the towers then
    # need no gradient by their input
    assert backbone - neck == laterals + 2 * blocks + tower
    # gradients by the towers' weights; the last layers then need none by their input
    assert neck - heads == tower + last


def test_only_what_is_multiplied_counts_so_norms_cost_nothing() -> None:
    norms: tuple[Norm, ...] = get_args(Norm)
    counts = {norm: step_flops_per_image(tiny(norm=norm), "none", 3, CPU) for norm in norms}

    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("family", get_args(Family))
def test_every_family_can_be_counted_and_global_generators_stay(family: Family) -> None:
    before = torch.get_rng_state()

    one_repeat, two = (
        step_flops_per_image(tiny(family=family, neck="nas_fpn", neck_repeats=n), "none", 3, CPU)
        for n in (1, 2)
    )

    assert 0 < one_repeat < two
    assert torch.equal(torch.get_rng_state(), before)


def test_four_times_the_pixels_cost_a_one_stage_family_four_times_as_much() -> None:
    small, large = (
        step_flops_per_image(tiny(min_side_px=s, max_side_px=s), "none", 3, CPU) for s in (64, 128)
    )

    assert large == 4 * small
