"""How deep each parameter of a backbone lies, and that freezing can be taken back."""

from collections import OrderedDict

from torch import nn

from rethink_ray.detection.adapters import add_adapters
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.freezing import derive_depths, freeze
from rethink_ray.detection.staged_backbone import STAGES, Backbone, StagedBackbone
from rethink_ray.spec.recipe import InitSpec
from tests.detection.tiny_detectors import snapshot, tiny, update


def depths_by_name(backbone: Backbone) -> dict[str, int]:
    depths = derive_depths(backbone)
    return {name: depths[p] for name, p in backbone.named_parameters() if p in depths}


def test_a_stage_lies_one_deeper_than_the_next_and_adapters_have_no_depth() -> None:
    detector = build_detector(tiny(norm="bn"), InitSpec(), 3, seed=0)
    add_adapters(detector.backbone, tiny(adapters=0.25))

    by_name = depths_by_name(detector.backbone)

    stages = {name.split(".")[0]: depth for name, depth in by_name.items()}
    assert stages == {"layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "stem": 5}
    assert len(set(detector.depths().values())) == 5


def test_blocks_of_a_transformer_each_count_and_its_last_norm_belongs_to_the_last_one() -> None:
    """Two blocks in each quarter and a stem: depths 1 to 9, as ViTDet counts them."""
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(OrderedDict(patches=nn.Conv2d(3, 4, 1)))}
    layers = ["stem"]
    for number, stage in enumerate(STAGES[1:]):
        blocks = {f"blocks_{2 * number + i}": nn.Conv2d(4, 4, 1) for i in range(2)}
        stages[stage] = nn.Sequential(OrderedDict(blocks))
        layers += [f"{stage}.{name}" for name in blocks]
    stages["layer4"].add_module("norm", nn.GroupNorm(1, 4))
    staged = StagedBackbone(stages=stages, channels=(4, 4, 4, 4), layers=tuple(layers))

    by_name = depths_by_name(Backbone(staged))

    assert by_name["layer4.blocks_7.weight"] == by_name["layer4.norm.weight"] == 1
    assert by_name["layer1.blocks_1.bias"] == 7
    assert by_name["layer1.blocks_0.weight"] == 8
    assert by_name["stem.patches.weight"] == 9


def test_what_is_frozen_can_train_again_statistics_included() -> None:
    detector = build_detector(tiny(norm="bn"), InitSpec(frozen="heads"), 3, seed=0)
    detector.freeze("none")
    before = snapshot(detector)

    update(detector, 2)

    assert detector.frozen_parts == ()
    unmoved = [n for n, v in detector.state_dict().items() if (v == before[n]).all()]
    assert all(".pixel_norm." in name for name in unmoved)


def test_freezing_less_of_a_backbone_frees_the_stages_behind() -> None:
    backbone = build_detector(tiny(norm="bn"), InitSpec(), 3, seed=0).backbone
    freeze(backbone, "layer3")
    freeze(backbone, "layer1")

    trained = {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}
    training = {stage for stage in STAGES if backbone.get_submodule(stage).training}
    assert trained == training == {"layer2", "layer3", "layer4"}
