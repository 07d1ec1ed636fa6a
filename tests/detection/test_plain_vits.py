"""Plain ViTs of timm: their maps, stages, sizes, weights and pyramid."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.backbones import Backbone, build_backbone
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.freezing import derive_depths, freeze
from rethink_ray.detection.plain_vits import ResampledMap
from rethink_ray.detection.weights import load_backbone, load_initial_weights, require_fitting_file
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, Frozen, InitSpec, Neck, Norm, Recipe
from rethink_ray.training.effective import require_recipe_values
from rethink_ray.training.effective_norms import read_norms
from tests.detection.tiny_detectors import pictures, targets, tiny

timm = pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")


def spec(name: str, norm: Norm = "gn", neck: Neck = "simple") -> DetectorSpec:
    return tiny("retinanet", norm, backbone=name, neck=neck)


def published(name: str, **settings: object) -> torch.nn.Module:
    torch.manual_seed(3)
    net: torch.nn.Module = timm.create_model(name, pretrained=False, **settings)
    for parameter in net.parameters():  # layer scales of 1e-5 would hide the blocks
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.1)
    return net.eval()


def loaded(name: str, state: dict[str, Tensor]) -> Backbone:
    backbone = build_backbone(spec(f"timm:{name}"))
    load_backbone(backbone, state, "test")
    return backbone.eval()


def require_equal(maps: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert maps.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in maps.items())


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("test_vit", [1, 2, 4, 5]),  # a class token
        ("test_vit3", [2, 4, 6, 8]),  # a register, and attention pooling
        ("test_vit4", [2, 4, 6, 8]),  # RMS norms, which do not change
        ("vit_small_patch16_dinov3", [2, 5, 8, 11]),  # rotated, with five prefix tokens
    ],
)
@torch.no_grad()
def test_the_maps_are_those_of_timm(name: str, ends: list[int]) -> None:
    net = published(name, dynamic_img_size=True)
    backbone = loaded(name, net.state_dict())
    images = torch.rand(2, 3, 64, 96)

    *first, last = backbone(images).values()

    *earlier, _ = net.forward_intermediates(images, indices=ends, intermediates_only=True)
    *_, normed = net.forward_intermediates(images, indices=ends, norm=True, intermediates_only=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, earlier, strict=True))
    torch.testing.assert_close(last, normed, rtol=0, atol=0)
    assert last.shape == (2, net.embed_dim, 4, 6)


@torch.no_grad()
def test_an_image_of_any_size_is_padded_to_whole_patches_with_zeros() -> None:
    backbone = build_backbone(spec("timm:test_vit")).eval()
    image = torch.rand(1, 3, 50, 67)
    padded = torch.nn.functional.pad(image, (0, 80 - 67, 0, 64 - 50))

    maps = backbone(image)

    require_equal(maps, backbone(padded))
    assert {tuple(x.shape) for x in maps.values()} == {(1, 64, 4, 5)}


@torch.no_grad()
def test_patches_of_14_become_16_as_timms_filter_says_and_positions_stay_the_published_ones() -> (
    None
):
    net = published("vit_small_patch14_dinov2", img_size=56)  # 4 x 4 patches
    state = {name: value for name, value in net.state_dict().items() if "blocks" not in name}
    with torch.device("meta"):
        there = build_backbone(spec("timm:vit_small_patch14_dinov2"))
    convert = there.staged.convert

    converted = convert(state)

    from timm.layers import resample_patch_embed

    kernel = resample_patch_embed(state["patch_embed.proj.weight"], [16, 16])
    assert torch.equal(converted["patch_embed.proj.weight"], kernel)
    published_grid = 518 // 14
    assert there.state_dict()["stem.trunk.pos_embed"].shape == (1, 1 + published_grid**2, 384)
    assert converted["pos_embed"].shape == (1, 1 + published_grid**2, 384)


def test_a_published_patch_14_vit_fills_the_network_and_a_leftover_is_named() -> None:
    with torch.device("meta"):
        there = build_backbone(spec("timm:vit_small_patch14_dinov2"))
        state = timm.create_model("vit_small_patch14_dinov2", pretrained=False).state_dict()
    zeros = {name: torch.zeros(value.shape) for name, value in state.items()}
    require_fitting_file(there, zeros, "test")

    with pytest.raises(SpecError, match="reg_token"):
        require_fitting_file(there, {**zeros, "reg_token": torch.zeros(1, 4, 384)}, "test")
    del zeros["blocks.3.ls1.gamma"]
    with pytest.raises(SpecError, match=r"layer2.blocks_3.block.ls1.gamma"):
        require_fitting_file(there, zeros, "test")


def test_the_original_files_of_dinov2_are_read_through_timms_filter_under_any_prefix() -> None:
    net = timm.create_model("test_vit", pretrained=False, init_values=1.0)
    originals = {
        f"teacher.backbone.{name}": value
        for name, value in net.state_dict().items()
        if not name.startswith("head")
    }
    originals |= {"teacher.backbone.mask_token": torch.zeros(1, 64), "epoch": torch.tensor(3.0)}
    layer_scales = {n: v for n, v in originals.items() if ".ls" in n}

    with pytest.raises(SpecError, match=r"ls1\.gamma"):  # this network has no layer scales
        loaded("test_vit", originals)

    plain = {name: value for name, value in originals.items() if name not in layer_scales}
    backbone = loaded("test_vit", plain)
    assert torch.equal(backbone.get_parameter("stem.trunk.cls_token"), net.cls_token)


@pytest.mark.parametrize(
    ("frozen", "moving"),
    [
        ("stem", {"layer1", "layer2", "layer3", "layer4"}),
        ("layer2", {"layer3", "layer4"}),
        ("backbone", set[str]()),
    ],
)
def test_the_stages_are_the_embedding_and_quarters_of_the_blocks(
    frozen: Frozen, moving: set[str]
) -> None:
    with torch.device("meta"):
        backbone = build_backbone(spec("timm:vit_small_patch14_dinov2"))
    blocks = {
        stage: [name for name, _ in backbone.get_submodule(stage).named_children()]
        for stage in ("layer1", "layer4")
    }
    freeze(backbone, frozen)

    assert {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad} == moving
    assert blocks == {
        "layer1": ["blocks_0", "blocks_1", "blocks_2"],
        "layer4": ["blocks_9", "blocks_10", "blocks_11", "norm"],
    }
    positions = backbone.get_parameter("stem.trunk.pos_embed")
    assert not positions.requires_grad
    assert not backbone.get_submodule("stem").training


def test_each_block_is_a_layer_of_its_own_for_layer_decay() -> None:
    with torch.device("meta"):
        backbone = build_backbone(spec("timm:vit_small_patch14_dinov2"))
    depths = derive_depths(backbone)
    parameters = dict(backbone.named_parameters())
    by_layer = {
        "stem.trunk.pos_embed": 13,
        "layer1.blocks_0.block.attn.qkv.weight": 12,
        "layer4.blocks_11.block.attn.qkv.weight": 1,
        "layer4.norm.norm.weight": 1,
    }
    assert {name: depths[parameters[name]] for name in by_layer} == by_layer


@pytest.mark.parametrize("norm", ["gn", "bn"])
def test_the_norm_of_the_detector_touches_no_norm_of_a_vit_nor_of_its_pyramid(norm: Norm) -> None:
    with torch.device("meta"):
        detector = build_detector(spec("timm:test_vit", norm), InitSpec(), 3, seed=0)
    names = {
        type(module).__name__
        for name, module in detector.named_modules()
        if name.startswith(("network.backbone.body", "network.backbone.fpn"))
    }
    assert {"LayerNorm", "LayerNorm2d"} <= names
    assert not names & {"GroupNorm", "BatchNorm2d", "LevelNorm"}


@pytest.mark.parametrize(
    ("family", "strides"),
    [("retinanet", [8, 16, 32, 64, 128]), ("faster_rcnn", [4, 8, 16, 32, 64])],
)
def test_the_pyramid_of_one_map_has_the_strides_of_every_other(
    family: str, strides: list[int]
) -> None:
    with torch.device("meta"):
        shaped = DetectorSpec(family=family, backbone="timm:test_vit", neck="simple")
        detector = build_detector(shaped, InitSpec(), 3, seed=0)
        maps = detector.network.get_submodule("backbone")(torch.zeros(1, 3, 256, 384))

    assert [tuple(x.shape) for x in maps.values()] == [
        (1, 256, 256 // stride, 384 // stride) for stride in strides
    ]


def test_a_level_reads_the_last_map_alone() -> None:
    detector = build_detector(spec("timm:test_vit"), InitSpec(), 3, seed=0)
    pyramid = detector.network.get_submodule("backbone.fpn")
    maps = {name: torch.rand(1, 64, 4, 4) for name in ("layer2", "layer3", "layer4")}
    changed = {**maps, "layer3": torch.zeros(1, 64, 4, 4)}

    require_equal(pyramid(maps), pyramid(changed))


def test_the_gradient_of_resampled_positions_is_that_of_the_interpolation() -> None:
    maps = torch.randn(1, 3, 5, 4, requires_grad=True)
    weights = torch.randn(1, 3, 7, 9)
    expected = torch.nn.functional.interpolate(maps, (7, 9), mode="bicubic", antialias=True)
    gradient = torch.autograd.grad((expected * weights).sum(), maps)[0]

    resampled = ResampledMap.apply(maps, 7, 9)

    assert torch.equal(resampled, expected)
    ours = torch.autograd.grad((resampled * weights).sum(), maps)[0]
    torch.testing.assert_close(ours, gradient, rtol=1e-5, atol=1e-5)


def test_bfloat16_training_of_a_vit_is_finite() -> None:
    detector = build_detector(spec("timm:test_vit"), InitSpec(), 3, seed=0)

    with torch.autocast("cpu", torch.bfloat16):
        losses = detector.losses(pictures(), targets(), seed=0, step=0)

    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in detector.backbone.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    ("backbone", "neck", "must"),
    [
        ("timm:vit_small_patch14_dinov2", "fpn", "is a plain ViT, which has maps of one stride"),
        ("timm:vit_base_patch16_clip_224.openai", "bifpn", "must be simple"),
        ("resnet50", "simple", "has maps of four strides"),
    ],
)
def test_each_kind_of_backbone_has_its_necks(backbone: str, neck: Neck, must: str) -> None:
    with pytest.raises(SpecError, match=must):
        check_recipe(Recipe(detector=spec(backbone, neck=neck)), "recipe")


@pytest.mark.parametrize(
    ("backbone", "neck", "must"),
    [("timm:resnet18", "simple", "has maps of four strides")],
)
def test_a_backbone_whose_name_says_nothing_is_refused_when_it_is_built(
    backbone: str, neck: Neck, must: str
) -> None:
    with torch.device("meta"), pytest.raises(SpecError, match=must):
        build_detector(spec(backbone, neck=neck), InitSpec(), 3, seed=0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_base_r50_s16_224", "IndexError"),  # a ResNet before its patches
        ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled"),
        ("samvit_base_patch16", "a plain ViT of timm, or a network with maps at strides"),
    ],
)
def test_a_vit_that_is_not_plain_is_refused_in_words(name: str, reason: str) -> None:
    with torch.device("meta"), pytest.raises(SpecError, match=reason):
        build_backbone(spec(f"timm:{name}"))


@torch.no_grad()
def test_timms_swin_takes_images_of_any_size() -> None:
    backbone = build_backbone(spec("timm:swin_tiny_patch4_window7_224", neck="fpn")).eval()

    maps = backbone(torch.rand(1, 3, 96, 160))

    assert [tuple(x.shape[-2:]) for x in maps.values()] == [(24, 40), (12, 20), (6, 10), (3, 5)]


def test_a_vit_is_loaded_from_a_file_with_the_input_that_the_recipe_states(tmp_path: Path) -> None:
    net = timm.create_model("test_vit", pretrained=False)
    torch.save(net.state_dict(), tmp_path / "vit.pt")
    backbone = build_backbone(spec("timm:test_vit"))
    half = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    init = InitSpec.model_validate(
        {"source": "file", "weights": str(tmp_path / "vit.pt"), "input": half}
    )

    pixels = load_initial_weights(backbone, spec("timm:test_vit"), init)

    assert pixels.mean == (0.5, 0.5, 0.5)
    assert torch.equal(backbone.get_parameter("stem.trunk.pos_embed"), net.pos_embed)


def test_rates_fall_from_block_to_block() -> None:
    backbone = build_backbone(spec("timm:test_vit"))
    depths = derive_depths(backbone)

    found = {name: depths[parameter] for name, parameter in backbone.named_parameters()}

    assert {depth for name, depth in found.items() if name.startswith("layer4.norm")} == {1}
    blocks = [f"{layer}.block.norm1.weight" for layer in backbone.staged.layers[1:]]
    assert [found[name] for name in blocks] == [6, 5, 4, 3, 2, 1]
    assert {depth for name, depth in found.items() if name.startswith("stem.")} == {7}


def test_the_norm_of_the_heads_is_read_back_and_the_pyramid_has_layer_norms_alone() -> None:
    for norm, upper in (("gn", "same"), ("bn", "gn"), ("gn", "none")):
        detector_spec = spec("timm:test_vit", norm).model_copy(update={"head_norm": upper})
        check_recipe(Recipe(detector=detector_spec), "test")

        norms = read_norms(build_detector(detector_spec, InitSpec(), 3, seed=0), detector_spec)

        require_recipe_values(Recipe(detector=detector_spec), norms)
        assert norms["detector.head_norm"] == upper
        assert ("detector.norm" in norms) == (upper == "same")
