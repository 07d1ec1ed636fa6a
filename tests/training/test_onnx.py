"""``model.onnx`` in onnxruntime finds what ``predict`` finds, in pictures of several sizes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import rethink_ray
from rethink_ray.commands.models import CardedModel, read_formats, write_formats
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.onnx_check import (
    OnnxModel,
    check_onnx,
    compare_detections,
    shrink_to_fit,
)
from rethink_ray.training.shared_model import describe_model
from tests.training.test_shared_model import HALF, code_on_the_page, make_model, tiny

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
LARGEST_PX, LARGEST_SCORE = 2e-3, 1e-4
"""How far a coordinate and a score of onnxruntime may be from ours."""
OTHER_FAMILIES = ("fcos", "faster_rcnn", "cascade_rcnn", "mask_rcnn", "cascade_mask_rcnn")
SIZES_HW = [(64, 64), (48, 90), (120, 64), (33, 47), (200, 130)]
SIZES_HW += [(height, width + 7) for height, width in SIZES_HW]


def draw_pictures(sizes_hw: Sequence[tuple[int, int]] = SIZES_HW) -> list[Tensor]:
    """Ten pictures of ten sizes: smooth blobs, so that neighbouring scores differ."""
    generator = torch.Generator().manual_seed(6)
    coarse = [torch.rand(1, 3, 7, 9, generator=generator) for _ in sizes_hw]
    resized = [
        torch.nn.functional.interpolate(one, hw, mode="bicubic").clamp(0, 1)[0]
        for one, hw in zip(coarse, sizes_hw, strict=True)
    ]
    return resized


def small(family: str, **changes: object) -> DetectorSpec:
    counts = {"rpn_pre_nms_test": 60, "rpn_post_nms_test": 40, "detections": 20}
    return tiny(family=family, mask_head_convs=1, **counts, **changes)


def export(model: TrainedModel, folder: Path, size: str | None = None) -> Path:
    """The folder has the model's card and its ONNX file, whose path is returned."""
    card = describe_model(model, {"rethink-ray": "1.0"})
    formats = read_formats(["safetensors", "onnx"], size)
    for line in write_formats(CardedModel(model=model, card=card), folder, formats):
        assert line
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def retinanet(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    model = make_model(small("retinanet", score_threshold=0.3))
    return model, export(model, tmp_path_factory.mktemp("onnx") / "model")


def spread_scores(model: TrainedModel) -> None:
    """The class logits of a wide network with drawn weights have a deviation of 1 around -1."""
    network: Any = model.detector.network
    classes, logits = network.head.classification_head.cls_logits, []
    hook = classes.register_forward_hook(lambda *seen: logits.append(seen[-1].flatten()))
    with torch.no_grad():
        model.detector.detect(draw_pictures()[:1])
        hook.remove()
        classes.weight.div_(torch.cat(logits).std())
        classes.bias.fill_(-1.0)


def require_same_boxes(
    model: TrainedModel, path: Path, pictures: list[Tensor] | None = None
) -> None:
    """Ten pictures have the same boxes in onnxruntime."""
    onnx = OnnxModel(path, model.detector.input_transform)
    pairs = []
    for picture in pictures or draw_pictures():
        [output] = model.detector.detect([picture])
        mine = (output["boxes_xyxy"], output["scores"], output["labels"])
        pairs.append((mine, onnx.detect(picture)))
    check = compare_detections(pairs)
    assert check.num_pictures == 10
    assert check.num_boxes >= 20
    assert (check.num_same, check.num_more) == (check.num_boxes, 0), check.sentence
    assert check.largest_px < LARGEST_PX, check.sentence
    assert check.largest_score < LARGEST_SCORE, check.sentence


@pytest.mark.slow
def test_onnxruntime_finds_the_same_boxes_in_ten_pictures(
    retinanet: tuple[TrainedModel, Path],
) -> None:
    require_same_boxes(*retinanet)


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_every_family_that_can_be_exported_finds_the_same_boxes(
    tmp_path: Path, family: str
) -> None:
    model = make_model(small(family, score_threshold=0.3))
    require_same_boxes(model, export(model, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet50", "swin_t", "timm:vit_tiny_patch16_224"])
def test_a_large_backbone_with_a_fixed_size_finds_the_same_boxes(
    tmp_path: Path, backbone: str
) -> None:
    """torchvision's RetinaNet on a ResNet-50, on a Swin and on a plain ViT, with random weights."""
    spec = build_recipe("retinanet_r50_v1").detector.with_norm("gn")
    changes = {"backbone": backbone, "min_side_px": 96, "max_side_px": 160, "detections": 20}
    changes["neck"] = "simple" if backbone.startswith("timm:") else spec.neck
    model = make_model(spec.model_copy(update={**changes, "score_threshold": 0.3}))
    spread_scores(model)
    path = export(model, tmp_path, "96x128")
    require_same_boxes(model, path, draw_pictures([(96 * n, 128 * n) for n in (1, 2)] * 5))


@pytest.fixture(scope="module")
def of_one_size(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    """Its pictures are 48 x 64."""
    model = make_model(small("retinanet", score_threshold=0.3), HALF)
    return model, export(model, tmp_path_factory.mktemp("fixed") / "model", "48x64")


@pytest.mark.slow
def test_a_file_of_one_size_finds_the_same_boxes_in_pictures_that_fill_it(
    of_one_size: tuple[TrainedModel, Path],
) -> None:
    model, path = of_one_size
    onnx = OnnxModel(path, model.detector.input_transform)
    assert onnx.fixed_hw == (48, 64)
    assert json.loads((path.parent / "card.json").read_text())["input"]["onnx_hw"] == [48, 64]
    require_same_boxes(model, path, draw_pictures([(48 * n, 64 * n) for n in (1, 2)] * 5))
    for picture in draw_pictures():  # others are filled up, and their boxes stay inside
        boxes, _, labels = onnx.detect(picture)
        height, width = picture.shape[-2:]
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert ((labels >= 1) & (labels <= 3)).all()


@pytest.mark.slow
def test_the_lines_on_the_page_feed_a_file_of_one_size(
    of_one_size: tuple[TrainedModel, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = of_one_size
    monkeypatch.chdir(path.parents[1])
    for picture in draw_pictures([(200, 130), (60, 80)]):
        pixels = (picture * 255).to(torch.uint8)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save("photo.png")
        names: dict[str, Any] = {}
        exec(code_on_the_page("In onnxruntime"), names)
        boxes, scores, _ = OnnxModel(path, model.detector.input_transform).detect(
            pixels.float() / 255
        )
        assert len(scores) > 2
        torch.testing.assert_close(
            torch.from_numpy(names["boxes"][: len(boxes)]).float(), boxes, atol=LARGEST_PX, rtol=0
        )


def test_a_picture_is_made_smaller_only_as_far_as_it_must() -> None:
    assert shrink_to_fit((160, 213), (160, 213)) == (160, 213)
    assert shrink_to_fit((100, 150), (160, 213)) == (100, 150)
    assert shrink_to_fit((213, 160), (160, 213)) == (160, 120)
    assert shrink_to_fit((1, 400), (100, 100)) == (1, 100)


@pytest.mark.slow
def test_the_lines_for_onnxruntime_on_the_page_find_the_boxes_of_predict(
    retinanet: tuple[TrainedModel, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = retinanet[1]
    monkeypatch.chdir(path.parents[1])
    pixels = (draw_pictures()[4] * 255).to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save("photo.png")
    [expected] = rethink_ray.load_detector("model").detector.detect([pixels.float() / 255])
    names: dict[str, Any] = {}
    exec(code_on_the_page("In onnxruntime"), names)
    num = len(expected["labels"])
    assert num > 2
    assert len(capsys.readouterr().out.splitlines()) == num
    assert names["labels"][:num].tolist() == expected["labels"].tolist()
    torch.testing.assert_close(
        torch.from_numpy(names["boxes"][:num]).float(),
        expected["boxes_xyxy"],
        atol=LARGEST_PX,
        rtol=0,
    )


@pytest.mark.slow
def test_an_export_is_checked_on_the_pictures_that_its_study_reports_on(
    retinanet: tuple[TrainedModel, Path],
) -> None:
    check = check_onnx(*retinanet)
    assert check.num_pictures == 4
    assert check.num_same == check.num_boxes


def test_boxes_are_the_same_if_class_place_and_score_agree() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    mine = (boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 2]))
    theirs = (boxes + 0.001, torch.tensor([0.899, 0.8]), torch.tensor([1, 1]))
    check = compare_detections([(mine, theirs)])
    assert (check.num_boxes, check.num_same, check.num_more) == (2, 1, 1)
    assert check.largest_px == pytest.approx(0.001, rel=1e-2)
    assert check.largest_score == pytest.approx(0.001, rel=1e-2)
