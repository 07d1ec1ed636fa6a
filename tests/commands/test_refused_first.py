"""What ``run`` refuses, ``plan`` and ``doctor`` refuse first.

``plan`` leaves out files and code that need not be there yet.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.cluster.doctor.study_checks import examine_study
from rethink_ray.commands.planning import plan_lines
from rethink_ray.data.shapes import make_shapes, shapes_folder
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.weights import require_fitting_names
from rethink_ray.session import load_study_input, require_same_inputs, start_or_continue
from rethink_ray.spec.errors import DataError, RethinkError, SpecError
from rethink_ray.spec.load import load_study
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from rethink_ray.spec.regime import ShapesSpec
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.training.checkpoint import save_checkpoint
from rethink_ray.training.start_checks import require_fitting_downloads

Tree = dict[str, Any]
SHAPES = {"train": 12, "val": 4, "test": 4, "image_px": 64}
SETTINGS = {
    "detector": {"width": 16, "neck_channels": 16, "head_convs": 1, "norm": "bn"},
    "detector.min_side_px": 64,
    "detector.max_side_px": 64,
}
STUDENT = {"labels.kind": "self_training", "labels.threshold": 0.5}


def study_file(folder: Path, **changes: Any) -> Path:
    tree = {
        "study": "micro",
        "data": {"dataset": "shapes", "shapes": SHAPES},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "settings": SETTINGS,
        "arms": {"a": {}},
        "budget": {"trials": 1, "replicates": 1},
    }
    path = folder / "micro.yaml"
    path.write_text(yaml.safe_dump(tree | changes))
    return path


def arm(**settings: Any) -> Tree:
    return {"arms": {"a": {"set": {k.replace("__", "."): v for k, v in settings.items()}}}}


def taught(**settings: Any) -> Tree:
    own = {k.replace("__", "."): v for k, v in settings.items()}
    return {"arms": {"a": {}, "b": {"teacher": "a", "set": STUDENT | own}}}


def importing(folder: Path, records: Any, **settings: Any) -> Tree:
    """An arm with another tool's detections on four images without labels."""
    path = folder / "detections.json"
    path.write_text(json.dumps(records))
    labels = {"labels__kind": "imported", "labels__file": str(path)}
    data = {"dataset": "shapes", "shapes": SHAPES | {"unlabelled": 4}}
    return {"data": data, **arm(**(labels | settings))}


def detection(folder: Path, category_id: Any = 1) -> Tree:
    """One on the first image of the pool, with a score of 0.6."""
    shapes = ShapesSpec(**SHAPES, unlabelled=4)
    names = sorted(path.name for path in (shapes_folder(shapes) / "unlabelled").iterdir())
    box = {"bbox": [8, 8, 20, 20], "score": 0.6}
    return {"image_id": names[0], "category_id": category_id} | box


def class_folders(folder: Path, num: int) -> str:
    for number in range(num):
        (folder / "upstream" / f"class{number}").mkdir(parents=True)
        colour = (40 * number, 80, 120)
        Image.new("RGB", (8, 8), colour).save(folder / "upstream" / f"class{number}" / "1.png")
    return str(folder / "upstream")


def upstream_in(folder: Path, **settings: Any) -> Tree:
    data = {"dataset": "shapes", "shapes": SHAPES, "upstream": class_folders(folder, 2)}
    return {"data": data, **arm(init__source="upstream", **settings)}


TORCHVISION = {
    "init__source": "torchvision",
    "detector__backbone": "resnet18",
    "init__weights": "IMAGENET1K_V9",
}
REFUSED_BY_PLAN: dict[str, tuple[str, Callable[[Path], Tree]]] = {
    "a name that torchvision does not have": (
        "must be a torchvision weights name of resnet18, but got 'IMAGENET1K_V9'. Known: "
        "IMAGENET1K_V1.",
        lambda _: arm(**TORCHVISION),
    ),
    "the name of another network's weights": (
        "must be a torchvision weights name of resnet18",
        lambda _: arm(**{**TORCHVISION, "init__weights": "ResNet50_Weights.IMAGENET1K_V1"}),
    ),
    "labels below the teacher's lowest score": (
        "full/b: labels.threshold: must be at least detector.score_threshold = 0.6 of full/a",
        lambda _: {
            "arms": {
                "a": {"set": {"detector.score_threshold": 0.6}},
                "b": {"teacher": "a", "set": STUDENT | {"detector.score_threshold": 0.1}},
            }
        },
    ),
    "no images for a teacher": ("data.unlabelled: must name images", lambda _: taught()),
    "no images left for a teacher": (
        "full/b: labels.pool rest: must leave images for the teacher to label",
        lambda _: taught(labels__pool="rest"),
    ),
    "imported labels whose file is missing": (
        "full/a: labels.file: must be a readable file",
        lambda folder: importing(folder, [], labels__file=str(folder / "no.json")),
    ),
    "imported labels that are no list": (
        "must be a JSON list of {image_id, category_id, bbox, score}, COCO's results format, but "
        "got 'a JSON dict'",
        lambda folder: importing(folder, {"images": []}),
    ),
    "imported labels of other images": (
        "few detections that name an image that the data set does not list",
        lambda folder: importing(folder, [detection(folder) | {"image_id": 999}]),
    ),
    "imported labels of other categories": (
        "few detections that name a category that train does not have",
        lambda folder: importing(folder, [detection(folder, "zebra")]),
    ),
    "imported labels that all score too low": (
        "labels.threshold: must leave a detection of ",
        lambda folder: importing(folder, [detection(folder)], labels__threshold=0.7),
    ),
    "imported labels without the masks that a run learns": (
        "must have a segmentation of detections, from which masks are learned or pasted",
        lambda folder: importing(folder, [detection(folder)], detector__family="mask_rcnn"),
    ),
    "imported labels without a file": (
        "labels.file: must name the file of detections where labels.kind is imported",
        lambda _: arm(labels__kind="imported"),
    ),
    "a file of labels that nothing imports": (
        "labels.file: must be left out where labels.kind is human",
        lambda _: arm(labels__file="detections.json"),
    ),
    "more classes than figures": (
        "full/a: upstream.classes: must be at most ",
        lambda _: arm(init__source="upstream", upstream__classes=1000),
    ),
    "figures and a folder": (
        "upstream.figures: must be left out where data.upstream names a folder",
        lambda folder: upstream_in(folder, upstream__classes=2, upstream__figures="shapes"),
    ),
    "another number of classes than folders": (
        "upstream.classes: must be the number of class folders in ",
        lambda folder: upstream_in(folder, upstream__classes=3),
    ),
    "one upstream image": (
        "must be at least 2",
        lambda _: arm(init__source="upstream", upstream__images=1),
    ),
    "keypoints that the objects do not have": (
        "detector.num_keypoints: must be the 5 keypoints that the training objects have",
        lambda _: arm(detector__family="keypoint_rcnn"),
    ),
    "an objective that is never a number": (
        "objective.metric: must be a metric that counts objects of split",
        lambda _: {"objective": {"metric": "ap_l"}},
    ),
    "a precision that no CPU has": (
        "precision: must be fp32 or bf16",
        lambda _: arm(precision="tf32"),
    ),
    "more images than there are": (
        "must be at most the 12 training images there are, but got 50",
        lambda _: {"regimes": {"full": {"images": 50}}},
    ),
    "a batch that does not divide": (
        "batch_size",
        lambda _: {"resources": {"images_per_step": 3}},
    ),
    "weights whose input is unknown": (
        "init.input: must say how the pixels of ",
        lambda folder: from_file(folder, backbone(), input=None),
    ),
}


def backbone(**changes: Any) -> dict[str, Tensor]:
    spec = DetectorSpec(backbone="tiny", norm="bn", width=16).model_copy(update=changes)
    return build_classifier(spec, 3, seed=1).backbone_state()


def from_file(folder: Path, content: Any, **init: Any) -> Tree:
    """An arm that starts from a file with this content."""
    path = folder / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    file = {"source": "file", "weights": str(path), "weights_norm": "bn", "input": "imagenet"}
    return {"arms": {"scratch": {}, "b": {"set": {"init": file | init}}}}


def damaged_model(folder: Path) -> bytes:
    save_checkpoint(folder / "model.pt", {"model": backbone()})
    return (folder / "model.pt").read_bytes()[:-1]


def with_nan() -> dict[str, Tensor]:
    state = backbone()
    return state | {"stem.conv1.weight": torch.full_like(state["stem.conv1.weight"], torch.nan)}


def taught_by_file(folder: Path, content: Any) -> Tree:
    torch.save(content, folder / "teacher.pth")
    teacher = {"file": str(folder / "teacher.pth")}
    return {"arms": {"b": {"set": {"labels.kind": "continued"}, "teacher": teacher}}}


def detector(num_categories: int, **changes: Any) -> dict[str, Tensor]:
    settings = {"backbone": "tiny", "norm": "bn", "width": 16, "neck_channels": 16} | changes
    spec = DetectorSpec(family="retinanet", head_convs=1, **settings)
    built = build_detector(spec, InitSpec(), num_categories, seed=0)
    return {name: value.clone() for name, value in built.state_dict().items()}


def of_other_code(folder: Path, source: str) -> Tree:
    (folder / "nets_refused_first.py").write_text(source)
    return arm(detector__backbone="nets_refused_first:build")


def upstream_of_scored_pictures(folder: Path) -> Tree:
    """Two classes of which one holds a picture of the test split."""
    make_shapes(ShapesSpec(**SHAPES), folder / "scenes")
    splits = {
        split: {
            "images": str(folder / "scenes" / split),
            "annotations": str(folder / "scenes" / "annotations" / f"instances_{split}.json"),
        }
        for split in ("train", "val", "test")
    }
    upstream = class_folders(folder, 2)
    shown = next((folder / "scenes" / "test").iterdir())
    shutil.copy(shown, Path(upstream) / "class0" / "copy.png")
    data = {"dataset": splits, "select_on": "val", "report_on": "test", "upstream": upstream}
    return {"data": data, **arm(init__source="upstream", upstream__classes=2)}


REFUSED_BY_PLAN |= {
    "an upstream picture on which the study is scored": (
        "data.upstream: must learn from no picture of split test",
        upstream_of_scored_pictures,
    ),
    "a file that is no weights": (
        "must be a file of tensors",
        lambda folder: from_file(folder, b"<!DOCTYPE html>"),
    ),
    "a pickled model": (
        "must hold a state dict (name -> tensor), but got an object of torch.nn",
        lambda folder: from_file(folder, nn.Linear(1, 1)),
    ),
    "a model of ours that was cut": (
        "must match its checksum",
        lambda folder: from_file(folder, damaged_model(folder)),
    ),
    "weights with NaN": (
        "must hold finite numbers, but got NaN or infinity in stem.conv1.weight",
        lambda folder: from_file(folder, with_nan()),
    ),
    "weights of another width": (
        "but got '20 of its 65 tensors; of another shape: layer2.0.bn1.bias (16,) for (8,), ",
        lambda folder: from_file(folder, backbone(width=32)),
    ),
    "weights of another norm than said": (
        "but got '39 of its 65 tensors; missing: layer1.0.bn1.running_mean, ",
        lambda folder: from_file(folder, backbone(norm="gn")),
    ),
    "a teacher that is no detector": (
        "must fill the whole detector exactly",
        lambda folder: taught_by_file(folder, backbone()),
    ),
    "a teacher of another family": (
        "must fill the whole detector exactly",
        lambda folder: taught_by_file(folder, detector(6, neck_channels=8)),
    ),
    "a teacher with NaN": (
        "must hold finite numbers, but got NaN or infinity in network.",
        lambda folder: taught_by_file(
            folder, {k: v * torch.nan if v.ndim > 1 else v for k, v in detector(6).items()}
        ),
    ),
    "a teacher of COCO's categories": (
        "must detect every category of the data set",
        lambda folder: taught_by_file(folder, detector(91)),
    ),
}
REFUSED_BY_DOCTOR: dict[str, tuple[str, Callable[[Path], Tree]]] = {
    "a file that is missing": (
        "init.weights: must be a readable file",
        lambda folder: arm(
            init__source="file", init__weights=str(folder / "no"), init__weights_norm="bn"
        ),
    ),
    "a backbone whose code has no such function": (
        "must be an importable module and a function in it",
        lambda folder: of_other_code(folder, "x = 1\n"),
    ),
    "a backbone without stages": (
        "must return a module with stem, layer1 to layer4",
        lambda folder: of_other_code(
            folder, "from torch import nn\ndef build(spec):\n    return nn.Identity()\n"
        ),
    ),
}


def refusal_of_run(path: Path) -> str:
    with pytest.raises(RethinkError) as caught:
        load_study_input(str(path))
    return str(caught.value)


def refusals_of_doctor(path: Path) -> str:
    """The lines of ``doctor`` that are not ok; it knows the study by its name, not by its file."""
    try:
        study, _ = load_study(path)
    except RethinkError as error:
        return str(error)
    checks = examine_study(study, address=None, folder=path.parent)
    return "\n".join(check.detail for check in checks if not check.ok).replace(
        "micro: ", f"{path}: "
    )


@pytest.mark.parametrize("kind", REFUSED_BY_PLAN)
def test_plan_and_doctor_refuse_in_the_words_of_run(kind: str, tmp_path: Path) -> None:
    sentence, change = REFUSED_BY_PLAN[kind]
    path = study_file(tmp_path, **change(tmp_path))
    refusal = refusal_of_run(path)
    assert sentence in refusal
    with pytest.raises(RethinkError) as planned:
        load_study_input(str(path), is_planned_only=True)
    assert str(planned.value) == refusal
    assert refusal in refusals_of_doctor(path)


@pytest.mark.parametrize("kind", REFUSED_BY_DOCTOR)
def test_doctor_refuses_what_is_not_there_in_the_words_of_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nets_refused_first", raising=False)
    sentence, change = REFUSED_BY_DOCTOR[kind]
    path = study_file(tmp_path, **change(tmp_path))
    refusal = refusal_of_run(path)
    assert sentence in refusal
    assert refusal in refusals_of_doctor(path)
    load_study_input(str(path), is_planned_only=True)


def test_a_trial_says_what_was_said_before_it_started(tmp_path: Path) -> None:
    path = study_file(tmp_path, **from_file(tmp_path, backbone(width=32)))
    study, _ = load_study(path)
    recipe = next(base_recipe(study, cell) for cell in cells_of(study) if cell.arm == "b")
    with pytest.raises(RethinkError) as caught:
        build_detector(recipe.detector, recipe.init, 6, seed=0)
    assert refusal_of_run(path) == f"{path}: full/b: {caught.value}"


def test_weights_that_fit_pass_and_doctor_says_how_many_tensors_they_have(tmp_path: Path) -> None:
    path = study_file(tmp_path, **from_file(tmp_path, backbone()))
    assert load_study_input(str(path)).facts.detector_files == ()
    assert refusals_of_doctor(path) == ""
    checks = examine_study(load_study(path)[0], address=None, folder=tmp_path)
    [line] = [check for check in checks if check.name.endswith("w.pth")]
    assert line.detail.startswith(f"{len(backbone())} tensors, which fit; digest ")


def test_weights_that_torchvision_has_fetched_are_loaded_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    fetched = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    fetched.parent.mkdir(parents=True)
    settings = {**TORCHVISION, "init__weights": "IMAGENET1K_V1"}
    path = study_file(tmp_path, **arm(**settings))
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, fetched)
    load_study_input(str(path))
    assert refusals_of_doctor(path) == ""
    fetched.write_bytes(fetched.read_bytes()[:-100])
    refusal = refusal_of_run(path)
    assert "file of tensors, but got one that is cut" in refusal
    assert refusal in refusals_of_doctor(path)


def test_weights_to_be_downloaded_are_compared_by_name_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    settings = TORCHVISION | {"init__weights": "IMAGENET1K_V1"}
    study, _ = load_study(study_file(tmp_path, **arm(**settings)))
    require_fitting_downloads(study, "s.yaml")
    spec = DetectorSpec(backbone="resnet18", norm="gn")
    with torch.device("meta"):
        network = build_backbone(spec)
    with pytest.raises(SpecError, match="but got '60 of its 60 tensors; left over: .*running_mean"):
        require_fitting_names(network, spec, "init.weights IMAGENET1K_V1")


@pytest.mark.parametrize("content", [None, b"other"])
def test_a_file_of_weights_that_was_replaced_is_refused_before_a_study_goes_on(
    content: bytes | None, tmp_path: Path
) -> None:
    path = study_file(tmp_path, **from_file(tmp_path, backbone()))
    directory = start_or_continue(tmp_path / "study", load_study_input(str(path)))
    require_same_inputs(directory)
    (tmp_path / "w.pth").unlink()
    if content is not None:
        (tmp_path / "w.pth").write_bytes(content)
    resumed = CliRunner().invoke(app, ["resume", str(directory.root)])
    assert isinstance(resumed.exception, DataError)
    assert f"file {tmp_path / 'w.pth'}: must be " in str(resumed.exception)
    assert not resumed.output


def test_a_teacher_that_fits_passes(tmp_path: Path) -> None:
    path = study_file(tmp_path, **taught_by_file(tmp_path, detector(6)))
    assert load_study_input(str(path)).facts.detector_files == (str(tmp_path / "teacher.pth"),)
    assert refusals_of_doctor(path) == ""


def test_a_plan_says_what_imported_labels_give(tmp_path: Path) -> None:
    records = [detection(tmp_path)] * 3 + [detection(tmp_path, "zebra")]
    path = study_file(tmp_path, **importing(tmp_path, records))
    study, _ = load_study(path)
    assert refusals_of_doctor(path) == ""
    facts = load_study_input(str(path), is_planned_only=True).facts
    lines = [*plan_lines(study, facts, 1, tmp_path)]
    assert (
        f"labels: {tmp_path / 'detections.json'} gives 3 boxes on 1 of 4 images of labels.pool "
        "unlabelled; of 4 detections 1 name a category that train does not have"
    ) in lines
    assert "assets: 1 pool with imported labels" in lines


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("timm:resnett10t", "timm:resnet10t"),
        ("timm:resnet10t.c3_in2k", "timm:resnet10t.c3_in1k"),
    ],
)
def test_a_name_that_timm_does_not_know_is_told_before_the_plan(
    tmp_path: Path, name: str, nearest: str
) -> None:
    pytest.importorskip("timm")
    path = study_file(tmp_path, settings=SETTINGS | {"detector.backbone": name})
    told = CliRunner().invoke(app, ["plan", str(path)])
    assert isinstance(told.exception, SpecError)
    assert told.output == ""
    said = str(told.exception)
    assert "full/a: detector.backbone: must" in said
    assert f"Did you mean {nearest}" in said
