"""Weights of timm and of a hub, from a cache that each test makes; nothing is downloaded."""

import io
from pathlib import Path

import pytest
import torch

from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.hub_weights import HubWeights, find_hub_weights
from rethink_ray.detection.published_weights import find_published, torchvision_weights
from rethink_ray.detection.weights import load_initial_weights
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.pixel_input import IMAGENET
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, InputSpec
from tests.detection.tiny_detectors import tiny
from tests.hub_cache import COMMIT, HALF, put_repository, use_cache, vit_files, vit_weights

timm = pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
VIT = "timm:test_vit"
OURS = "our-lab/vit"
TIMMS = "timm/test_vit.r160_in1k"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_cache(tmp_path, monkeypatch)


def spec() -> DetectorSpec:
    return tiny("retinanet", "gn", backbone=VIT, neck="simple")


def init(source: str = "hub", weights: str = OURS, **settings: object) -> InitSpec:
    return InitSpec.model_validate({"source": source, "weights": weights, **settings})


def hub(weights: str = OURS, backbone: str = VIT) -> HubWeights:
    return find_hub_weights(backbone, init(weights=weights))


def timms() -> HubWeights:
    return find_hub_weights(VIT, init("timm", "r160_in1k"))


@pytest.mark.parametrize("source", ["hub", "timm"])
def test_weights_come_from_the_cache_with_their_input(cache: Path, source: str) -> None:
    put_repository(cache, OURS if source == "hub" else TIMMS, vit_files())
    chosen = init(source, OURS if source == "hub" else "r160_in1k")

    detector = build_detector(spec(), chosen, 3, seed=0)

    stem = detector.backbone.get_submodule("stem.trunk")
    state = vit_weights()
    assert torch.equal(stem.get_parameter("cls_token"), state["cls_token"])
    assert torch.equal(
        detector.backbone.get_parameter("layer4.blocks_5.block.mlp.fc1.weight"),
        state["blocks.5.mlp.fc1.weight"],
    )
    assert detector.pixel_norm.read_input() == InputSpec(mean=(0.5,) * 3, std=(0.5,) * 3)


def test_a_pickle_is_read_and_nothing_in_it_runs(cache: Path, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (__import__("os").mkdir, (str(tmp_path / "ran"),))

    content = io.BytesIO()
    torch.save({"state_dict": vit_weights(), "args": Runs()}, content)
    put_repository(cache, OURS, {"pytorch_model.bin": content.getvalue()})
    backbone = build_backbone(spec())

    load_initial_weights(backbone, spec(), init(input="imagenet"))

    state = vit_weights()
    assert torch.equal(backbone.get_parameter("stem.trunk.pos_embed"), state["pos_embed"])
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_preferred_and_a_revision_has_its_own_files(cache: Path) -> None:
    files = vit_files() | {"pytorch_model.bin": b"nothing"}
    snapshot = put_repository(cache, OURS, files, revision="v2")

    assert hub().find() is None
    assert hub(f"{OURS}@v2").find() == snapshot / "model.safetensors"
    assert hub(f"{OURS}@{COMMIT}").find() == snapshot / "model.safetensors"
    assert hub(f"{OURS}@v2").command == f"hf download {OURS} --revision v2"


@pytest.mark.parametrize("weights", [hub, timms])
def test_offline_and_missing_is_refused_with_the_command(cache: Path, weights: object) -> None:
    assert callable(weights)
    missing = weights()
    must = "must be in the hub's cache on this machine, or downloadable, but got 'none, and HF_HUB_"

    for attempt in (missing.fetch, missing.measure_download):
        with pytest.raises(SpecError) as caught:
            attempt()
        assert must in str(caught.value)
        assert f"hf download {missing.repository}" in str(caught.value)


def test_a_digest_follows_the_weights_and_the_input_and_no_other_description(cache: Path) -> None:
    def digest(**files: bytes) -> str:
        put_repository(
            cache, OURS, vit_files() | {k.replace("_", "."): v for k, v in files.items()}
        )
        return hub().compute_digest("test")

    first = digest()
    renamed = vit_files(label_names=["cat"])["config.json"]
    other_pixels = vit_files(pretrained_cfg={"mean": HALF, "std": [1, 1, 1]})["config.json"]

    assert digest(config_json=renamed) == first
    assert digest(config_json=other_pixels) != first
    assert digest(model_safetensors=vit_files(seed=6)["model.safetensors"]) != first
    assert digest() == first


def test_a_digest_is_the_same_before_and_after_the_download(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = vit_files()

    def download(weights: HubWeights, name: str) -> Path | None:
        if name not in files:
            return None
        return put_repository(cache, weights.repository, {name: files[name]}) / name

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(HubWeights, "_download", download)

    first = hub().compute_digest("test")

    assert hub().find() is not None
    assert hub().compute_digest("test") == first


def test_a_description_of_older_timm_is_read_too(cache: Path) -> None:
    flat = b'{"architecture": "test_vit", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}'
    put_repository(cache, OURS, vit_files() | {"config.json": flat})

    pixels = hub().read_input("test")

    assert pixels is not None
    assert pixels.std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({}, None),
        ({"README.md": b"---\nlicense: mit\n---\n# A card\nlicense: no header\n"}, "mit"),
        (
            {"README.md": b'---\nlicense: other\nlicense_name: "dinov3-license"\n---\n'},
            "dinov3-license",
        ),
        ({"README.md": b"# A card without a header\n"}, None),
        (vit_files(pretrained_cfg={"license": "cc-by-nc-4.0"}), "cc-by-nc-4.0"),
    ],
)
def test_the_licence_is_what_description_or_card_say(
    cache: Path, files: dict[str, bytes], licence: str | None
) -> None:
    put_repository(cache, OURS, vit_files() | files)
    assert hub().read_licence() == licence


def test_timm_knows_the_licence_of_its_tags_without_a_download(cache: Path) -> None:
    found = find_hub_weights("timm:vit_small_patch16_dinov3", init("timm", "lvd1689m"))

    assert found.read_licence() == "dinov3-license"
    assert found.read_input("test") == IMAGENET
    assert found.repository == "timm/vit_small_patch16_dinov3.lvd1689m"
    assert found.key == "timm:vit_small_patch16_dinov3.lvd1689m"


def test_weights_of_another_network_are_refused_with_its_name(cache: Path) -> None:
    put_repository(cache, OURS, vit_files(architecture="vit_base_patch16_clip_quickgelu_224"))
    with pytest.raises(
        SpecError, match="Write detector.backbone: timm:vit_base_patch16_clip_quick"
    ):
        hub().read_input("test")


def test_a_tag_that_timm_does_not_have_names_those_it_has() -> None:
    with pytest.raises(SpecError, match=r"got 'lvd1'\. Known: lvd142m\."):
        find_hub_weights("timm:vit_small_patch14_dinov2", init("timm", "lvd1"))


def test_a_name_that_no_repository_can_have_is_refused(cache: Path) -> None:
    with pytest.raises(SpecError, match="init.weights hub:our-lab/--vit: must be in the hub"):
        hub("our-lab/--vit").find()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"pretrained_cfg": null}'])
def test_a_damaged_description_is_refused(cache: Path, content: bytes) -> None:
    put_repository(cache, OURS, vit_files() | {"config.json": content})
    with pytest.raises(SpecError, match=r"must have a readable config\.json"):
        hub().read_input("test")


def test_an_input_that_nothing_says_must_be_stated(cache: Path) -> None:
    put_repository(cache, OURS, {"model.safetensors": vit_files()["model.safetensors"]})

    with pytest.raises(
        SpecError, match="must say how the pixels of hub:our-lab/vit are normalised"
    ):
        load_initial_weights(build_backbone(spec()), spec(), init())

    assert load_initial_weights(build_backbone(spec()), spec(), init(input="imagenet")) == IMAGENET


@pytest.mark.parametrize("source", ["hub", "timm"])
def test_a_stated_input_that_contradicts_the_weights_is_refused(cache: Path, source: str) -> None:
    put_repository(cache, OURS, vit_files())
    put_repository(cache, TIMMS, vit_files())
    chosen = init(source, OURS if source == "hub" else "r160_in1k", input="imagenet")

    with pytest.raises(SpecError, match=r"init.input: must be that of the weights .*mean \[0\.5"):
        load_initial_weights(build_backbone(spec()), spec(), chosen)


def test_torchvisions_weights_go_through_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    chosen = init("torchvision", "IMAGENET1K_V1")

    weights = find_published(DetectorSpec(backbone="resnet18"), chosen)

    assert weights is not None
    assert weights.find() is None
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert weights.find() == path == weights.fetch()
    assert weights.key == str(torchvision_weights("resnet18", "IMAGENET1K_V1"))
    assert find_published(DetectorSpec(backbone="resnet18"), InitSpec()) is None


def test_torchvisions_whole_detectors_go_through_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    spec = DetectorSpec(family="fcos", backbone="resnet50", norm="frozen_bn")

    weights = find_published(spec, init("detector", "COCO_V1"))

    assert weights is not None
    assert weights.find() is None
    assert weights.key == "FCOS_ResNet50_FPN_Weights.COCO_V1"
    assert weights.read_input("test") == IMAGENET
    path = tmp_path / "hub" / "checkpoints" / "fcos_resnet50_fpn_coco-99b0c9b7.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert weights.find() == path == weights.fetch()
    assert find_published(spec, init("detector", "upstream_detector")) is None
    assert find_published(spec, init("detector", "detector.pth")) is None
