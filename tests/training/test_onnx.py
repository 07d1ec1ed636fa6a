"""``model.onnx`` in onnxruntime finds what ``predict`` finds, in pictures of several sizes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import rethink_ray
from rethink_ray.detection.onnx_file import write_onnx
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.onnx_check import OnnxModel, check_onnx, compare_detections
from tests.training.test_shared_model import code_on_the_page, make_model, tiny, write

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
LARGEST_PX, LARGEST_SCORE = 2e-3, 1e-4
"""How far a coordinate and a score of onnxruntime may be from ours."""
OTHER_FAMILIES = ("fcos", "faster_rcnn", "cascade_rcnn", "mask_rcnn", "cascade_mask_rcnn")
SIZES_HW = [(64, 64), (48, 90), (120, 64), (33, 47), (200, 130)]
SIZES_HW += [(height, width + 7) for height, width in SIZES_HW]


def draw_pictures() -> list[Tensor]:
    """Ten pictures of ten sizes: smooth blobs, so that neighbouring scores differ."""
    generator = torch.Generator().manual_seed(6)
    coarse = [torch.rand(1, 3, 7, 9, generator=generator) for _ in SIZES_HW]
    resized = [
        torch.nn.functional.interpolate(one, hw, mode="bicubic").clamp(0, 1)[0]
        for one, hw in zip(coarse, SIZES_HW, strict=True)
    ]
    return resized


def small(family: str, **changes: object) -> DetectorSpec:
    counts = {"rpn_pre_nms_test": 60, "rpn_post_nms_test": 40, "detections": 20}
    return tiny(family=family, mask_head_convs=1, **counts, **changes)


def export(model: TrainedModel, folder: Path) -> Path:
    """The folder has the model's card and its ONNX file, whose path is returned."""
    write(model, folder)
    write_onnx(model.detector, model.config.recipe, model.categories, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def retinanet(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    model = make_model(small("retinanet", score_threshold=0.3))
    return model, export(model, tmp_path_factory.mktemp("onnx") / "model")


def require_same_boxes(model: TrainedModel, path: Path) -> None:
    """Ten pictures have the same boxes in onnxruntime."""
    onnx = OnnxModel(path, model.detector.input_transform)
    pairs = []
    for picture in draw_pictures():
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
