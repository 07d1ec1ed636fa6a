"""One contract for every neck: levels, sizes, norms, and that all of it learns."""

import itertools
from typing import Literal, get_args

import pytest
import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.fusing import add_coarser_levels, resample
from rethink_ray.detection.nas_fpn import CELL, NasFpn
from rethink_ray.detection.necks import build_pyramid, count_repeats, pyramid_levels
from rethink_ray.detection.norms import group_norm
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec, Neck, Norm
from tests.builders import micro_recipe
from tests.detection.tiny_detectors import snapshot, tiny, total, update

NECKS = tuple(neck for neck in get_args(Neck) if neck != "simple")
"""``simple`` is the neck of plain ViTs alone: ``test_plain_vits``."""


@pytest.mark.parametrize(
    ("neck", "norm", "family"),
    [
        *itertools.product(["nas_fpn", "bifpn"], ["gn", "bn", "sync_bn"], ["retinanet"]),
        *itertools.product(["nas_fpn", "bifpn"], ["gn"], ["fcos", "faster_rcnn"]),
    ],
)
def test_every_number_of_a_neck_learns(neck: Neck, norm: Norm, family: Family) -> None:
    """Nodes that no level of the detector reads are not there at all."""
    spec = tiny(neck=neck, norm=norm, family=family, neck_repeats=2)
    detector = build_detector(spec, InitSpec(), 3, seed=0)
    before = snapshot(detector)

    update(detector, 2)

    still = {n for n, v in detector.state_dict().items() if torch.equal(v, before[n])}
    assert still == {n for n in before if ".pixel_norm." in n}


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_a_state_dict_restores_a_neck_bit_for_bit(neck: Neck, family: Family) -> None:
    spec = tiny(neck=neck, norm="bn", family=family, neck_repeats=2)
    trained = build_detector(spec, InitSpec(), 3, seed=0)
    total(trained)
    restored = build_detector(spec, InitSpec(), 3, seed=1)

    restored.load_state_dict(trained.state_dict())

    assert torch.equal(total(trained), total(restored))


@pytest.mark.parametrize(
    ("neck", "family", "first_stride", "names"),
    [
        ("fpn", "retinanet", 8, ("layer2", "layer3", "layer4", "p6", "p7")),
        ("fpn", "faster_rcnn", 4, ("layer1", "layer2", "layer3", "layer4", "pool")),
        ("nas_fpn", "faster_rcnn", 8, ("layer2", "layer3", "layer4", "p6", "p7")),
        ("bifpn", "fcos", 8, ("layer2", "layer3", "layer4", "p6", "p7")),
    ],
)
def test_a_pyramid_halves_from_level_to_level(
    neck: Neck, family: Family, first_stride: int, names: tuple[str, ...]
) -> None:
    spec = DetectorSpec(backbone="resnet18", neck=neck, family=family, neck_channels=32)
    with torch.device("meta"):
        pyramid = build_pyramid(spec, build_backbone(spec))
        maps = pyramid(torch.zeros(1, 3, 96, 160))

    levels = pyramid_levels(spec)
    assert (levels.first_stride, levels.names) == (first_stride, names)
    assert tuple(maps) == names
    # 96 / 32 = 3 and 160 / 32 = 5 at stride 32; coarser levels round up
    by_stride = {4: (24, 40), 8: (12, 20), 16: (6, 10), 32: (3, 5), 64: (2, 3), 128: (1, 2)}
    strides = [first_stride * 2**i for i in range(5)]
    assert [tuple(m.shape) for m in maps.values()] == [(1, 32, *by_stride[s]) for s in strides]


def nas_fpn_of_ones(merge: Literal["gate", "sum"]) -> dict[str, Tensor]:
    """Maps of ones through nodes that convolve nothing: every number can be counted by hand."""
    neck = NasFpn([1, 1, 1], 1, group_norm, repeats=1, names=["p3", "p4", "p5", "p6", "p7"])
    neck.merge = merge
    neck.lateral = nn.Identity()  # type: ignore[assignment]
    for number in list(neck.cells[0]):  # type: ignore[arg-type]
        neck.cells[0][number] = nn.Identity()  # type: ignore[index]
    ones = [torch.ones(1, 1, side, side) for side in (16, 8, 4)]
    out: dict[str, Tensor] = neck(dict(zip(["p3", "p4", "p5"], ones, strict=True)))
    return out


def test_the_cell_of_nas_fpn_adds_what_its_figure_draws() -> None:
    out = nas_fpn_of_ones("gate")

    s = torch.sigmoid
    one = torch.ones(())
    a = one + s(one)  # gate(P4, P6) at level 4
    b = one + a  # P4 + a
    p3 = one + b
    p4 = b + p3
    # the coarser of the two gates the finer one (authors' code: global_attention)
    p5 = p4 + s(p4) * p3 + one  # and P5, which nothing else reads
    p7 = p5 + s(p5) * b + one  # and P7
    p6 = p7 + s(p7) * p5
    wanted = {"p3": p3, "p4": p4, "p5": p5, "p6": p6, "p7": p7}
    assert {k: tuple(v.shape[-2:]) for k, v in out.items()} == {
        "p3": (16, 16),
        "p4": (8, 8),
        "p5": (4, 4),
        "p6": (2, 2),
        "p7": (1, 1),
    }
    for name, value in wanted.items():
        assert torch.allclose(out[name], value.expand_as(out[name])), name


def test_without_gates_the_cell_of_nas_fpn_counts_ones() -> None:
    out = nas_fpn_of_ones("sum")
    # P4 + P6 = 2; P4 + 2 = 3; then each level adds two nodes, and P5 and P7 their own 1 as well
    p3 = 1 + 3
    p4 = 3 + p3
    p5 = p3 + p4 + 1
    p7 = 3 + p5 + 1
    p6 = p5 + p7
    assert {name: x.unique().item() for name, x in out.items()} == {
        "p3": p3,
        "p4": p4,
        "p5": p5,
        "p6": p6,
        "p7": p7,
    }
    assert (p3, p4, p5, p6, p7) == (4, 7, 12, 28, 16)


def test_nodes_of_levels_that_nobody_reads_are_left_out() -> None:
    neck = NasFpn([8, 8, 8], 8, group_norm, repeats=2, names=["p3", "p4", "p5"])

    first, last = ([int(n) for n in cell] for cell in neck.cells)  # type: ignore[attr-defined]

    # the last P5 reads P6 of the first repeat, which reads P7
    assert first == [5, 6, 7, 8, 9, 10, 11]
    assert last == [5, 6, 7, 8, 9], "nodes 10 and 11 make P7 and P6"
    assert len(CELL) == 7


def test_repeats_are_those_of_the_papers_unless_asked() -> None:
    assert count_repeats(tiny(neck="nas_fpn")) == 7
    assert count_repeats(tiny(neck="bifpn")) == 3
    assert count_repeats(tiny(neck="nas_fpn", neck_repeats=5)) == 5


def test_a_map_goes_down_by_its_largest_value_and_up_by_its_nearest() -> None:
    x = torch.arange(15.0).view(1, 1, 3, 5)

    [_, halved] = add_coarser_levels([x], 2)

    assert halved[0, 0].tolist() == [[6.0, 8.0, 9.0], [11.0, 13.0, 14.0]]
    assert torch.equal(resample(x, 0, 1, (2, 3)), halved)
    assert resample(x, 0, 2, (1, 2))[0, 0].tolist() == [[13.0, 14.0]]
    assert torch.equal(resample(x, 1, 1, (3, 5)), x)
    assert resample(torch.tensor([[[[1.0, 2.0]]]]), 1, 0, (2, 3))[0, 0].tolist() == [
        [1.0, 1.0, 2.0],
        [1.0, 1.0, 2.0],
    ]


@pytest.mark.parametrize("neck", ["nas_fpn", "bifpn"])
def test_a_searched_neck_without_a_norm_that_learns_is_refused(neck: Neck) -> None:
    recipe = micro_recipe(detector__neck=neck, detector__norm="frozen_bn", init__source="upstream")

    with pytest.raises(SpecError, match=r"must have a norm that learns.*init.frozen: backbone"):
        check_recipe(recipe, "study.yaml")


@pytest.mark.parametrize("neck", NECKS)
def test_losses_under_bfloat16_are_float32_and_close(neck: Neck) -> None:
    detector = build_detector(tiny(neck=neck, neck_repeats=2), InitSpec(), 3, seed=0)

    exact = total(detector)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = total(detector)
    rounded.backward()

    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded, exact, rtol=0.05)
