"""A model that leaves this program: its tensors, its card, and the way back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import rethink_ray
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.torchvision_names import choose_names
from rethink_ray.spec.card import MODEL_CARD, TENSOR_FILE, read_card
from rethink_ray.spec.errors import RecordError, SpecError
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.shared_model import describe_model, write_model_card, write_shared
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_trial

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
CLASSES = ("circle", "square", "star")
HALF = InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5), order="bgr")
SIDE_PX = 64


def make_model(spec: DetectorSpec, pixels: InputSpec | None = None) -> TrainedModel:
    """A detector with drawn weights, whose scores reach above the threshold."""
    trial = micro_trial(Recipe(detector=spec)).model_copy(
        update={"num_categories": len(CLASSES), "recipe": Recipe(detector=spec)}
    )
    detector = build_detector(spec, InitSpec(), len(CLASSES), seed=4).eval()
    if pixels is not None:
        detector.pixel_norm.set_input(pixels)
    generator = torch.Generator().manual_seed(2)
    state = detector.state_dict()
    for name, value in state.items():
        if "cls_logits" in name or "cls_score" in name:
            state[name] = 0.3 * torch.randn(value.shape, generator=generator)
    detector.load_state_dict(state)
    ctx = WorkerContext.alone(1, 0.0, deterministic=False)
    return TrainedModel(detector=detector, config=trial, length=2.0, categories=CLASSES, ctx=ctx)


def write(model: TrainedModel, folder: Path) -> Path:
    card = describe_model(model, {"rethink-ray": "1.0"})
    write_shared(model, card, folder)
    write_model_card(card, folder)
    return folder


def torchvisions(**changes: object) -> DetectorSpec:
    """A Faster R-CNN that torchvision builds: its own first recipe on a ResNet-18."""
    spec = build_recipe("faster_rcnn_r50_v1").detector.with_norm("bn")
    sizes = {"backbone": "resnet18", "norm_epsilon": None, "rpn_post_nms_test": 100}
    small = {"min_side_px": SIDE_PX, "max_side_px": SIDE_PX}
    return spec.model_copy(update={**sizes, **small, **changes})


def tiny(**changes: object) -> DetectorSpec:
    return micro_trial().recipe.detector.model_copy(update=changes)


@pytest.mark.parametrize("family", ["retinanet", "cascade_rcnn"])
def test_a_model_comes_back_with_its_input_and_finds_the_same_boxes(
    tmp_path: Path, family: str
) -> None:
    model = make_model(tiny(family=family), HALF)
    loaded = rethink_ray.load_detector(write(model, tmp_path / "model"))
    assert loaded.categories == CLASSES
    assert loaded.detector.pixel_norm.is_set_to(HALF)
    picture = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(1))
    [expected], [again] = model.detector.detect([picture]), loaded.detector.detect([picture])
    assert len(expected["labels"]) > 0
    for name, value in expected.items():
        assert torch.equal(again[name], value), name


@pytest.fixture(scope="module")
def of_torchvision(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    """A model that torchvision can build, in the folder ``model``."""
    model = make_model(torchvisions(rpn_post_nms_test=1000))
    return model, write(model, tmp_path_factory.mktemp("shared") / "model")


def test_the_card_says_what_must_be_known(tmp_path: Path) -> None:
    spec = tiny(family="faster_rcnn", min_side_px=SIDE_PX)
    write(make_model(spec, HALF), tmp_path)
    card = json.loads((tmp_path / MODEL_CARD).read_text())
    assert card["classes"] == list(CLASSES)
    assert (card["first_label"], card["torchvision_first_label"]) == (1, 1)
    assert card["input"]["mean"] == [0.5, 0.5, 0.5]
    assert (card["input"]["order"], card["input"]["min_side_px"]) == ("bgr", SIDE_PX)
    assert card["network"] == "faster_rcnn on tiny"
    assert card["start"] == "random weights"
    assert card["versions"] == {"rethink-ray": "1.0"}
    assert card["score_thresholds"] == {}
    assert read_card(tmp_path) is not None


def test_tensors_have_torchvisions_names_where_torchvision_has_the_network() -> None:
    assert choose_names(torchvisions()) == "torchvision"
    assert choose_names(torchvisions(neck="bifpn")) == "rethink_ray"
    assert choose_names(torchvisions(family="cascade_rcnn")) == "rethink_ray"
    assert choose_names(torchvisions(backbone="swin_t")) == "rethink_ray"
    assert choose_names(torchvisions(family="retinanet", head_norm="same")) == "rethink_ray"


def code_on_the_page(heading: str) -> str:
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(code)


def draw_photo(folder: Path) -> torch.Tensor:
    """``photo.png``, a picture of its final size, and its pixels in 0..1."""
    generator = torch.Generator().manual_seed(9)
    pixels = torch.randint(0, 256, (SIDE_PX, SIDE_PX, 3), generator=generator, dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(folder / "photo.png")
    return pixels.permute(2, 0, 1).float() / 255


def test_ten_lines_of_plain_torchvision_find_the_boxes_of_load_detector(
    of_torchvision: tuple[TrainedModel, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = of_torchvision[1].parent
    monkeypatch.chdir(folder)
    picture = draw_photo(folder)
    [expected] = rethink_ray.load_detector("model").detector.detect([picture])
    assert len(expected["labels"]) > 5
    names: dict[str, Any] = {"picture": picture}
    with torch.no_grad():
        exec(code_on_the_page("In plain torchvision"), names)
    theirs = names["detections"]
    assert theirs["labels"].tolist() == expected["labels"].tolist()
    torch.testing.assert_close(theirs["boxes"], expected["boxes_xyxy"], atol=1e-3, rtol=0)
    torch.testing.assert_close(theirs["scores"], expected["scores"], atol=1e-5, rtol=0)
    exec(code_on_the_page("In this program"), {})
    assert len(capsys.readouterr().out.splitlines()) == len(expected["labels"])


def test_a_plain_reader_of_safetensors_gets_the_state_dict(
    of_torchvision: tuple[TrainedModel, Path],
) -> None:
    model, folder = of_torchvision
    state = load_file(folder / TENSOR_FILE)
    ours = model.detector.state_dict()
    conv = "backbone.body.conv1.weight"
    assert torch.equal(state[conv], ours["network.backbone.body.stem.conv1.weight"])
    assert not any("pixel_norm" in name for name in state)


def test_missing_and_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="must hold a trained model"):
        rethink_ray.load_detector(tmp_path)
    write(make_model(tiny()), tmp_path)
    (tmp_path / MODEL_CARD).write_text("{}")
    with pytest.raises(RecordError, match="must be the card of a model"):
        rethink_ray.load_detector(tmp_path)
    (tmp_path / MODEL_CARD).unlink()
    with pytest.raises(RecordError, match=r"must lie beside card\.json"):
        rethink_ray.load_detector(tmp_path)
    write(make_model(tiny(width=32)), tmp_path)
    card = (tmp_path / MODEL_CARD).read_bytes()
    write(make_model(tiny()), tmp_path)
    (tmp_path / MODEL_CARD).write_bytes(card)
    with pytest.raises(SpecError, match="must fill the whole detector exactly"):
        rethink_ray.load_detector(tmp_path)
