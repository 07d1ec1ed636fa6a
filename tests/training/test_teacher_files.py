"""A teacher in a file: what is taken over, and what is refused by name."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig, with_seeds
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.pseudo_labels import open_pseudo_labels
from rethink_ray.training.teacher_files import require_fitting_teacher
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.runs import climb, numbers

DATA = MICRO_DATA.model_copy(
    update={"shapes": MICRO_DATA.shapes.model_copy(update={"unlabelled": 6})}
)
BOXES: dict[str, Any] = {"detector__detections": 5, "batch_size": 4}


def weights(seed: int = 5) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    trial = micro_trial(micro_recipe(**BOXES), data=DATA)
    detector = build_detector(trial.recipe.detector, InitSpec(), trial.num_categories, seed=seed)
    return {name: value.clone() for name, value in detector.state_dict().items()}


def taught_by(path: Path, kind: str = "self_training") -> TrialConfig:
    teacher = micro_trial(micro_recipe(**BOXES), data=DATA, seed=0).model_copy(
        update={"weights_file": str(path), "weights_digest": digest_of_file(str(path), "test")}
    )
    labels = {"labels__kind": kind, "labels__threshold": 0.0, "labels__average": 0.5}
    run = micro_trial(micro_recipe(**(BOXES | labels)), data=DATA)
    return with_seeds(run, 1, None, teacher)


def build(config: TrialConfig, assets: Path) -> dict[str, Any]:
    return {a.kind: (a, build_asset(a, config.data, assets)) for a in assets_of(config)}


def test_a_student_and_its_control_go_on_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(weights(), path)
    config = taught_by(path)
    built = build(config, tmp_path / "assets")
    teacher, done = built["teacher"]
    assert teacher.steps == 0
    assert done.metrics["val/ap"] >= 0.0
    labels, done = built["pseudo_labels"]
    assert done.metrics["images"] == 6
    per_class = [v for name, v in done.metrics.items() if name.startswith("boxes/")]
    assert sum(per_class) == done.metrics["boxes"] == 30
    found = open_pseudo_labels(config, tmp_path / "assets" / labels.key)
    assert len(found.index) == 6
    rungs = climb(config, tmp_path / "student", (2.0,), assets=tmp_path / "assets")
    assert rungs[0].steps == 8
    again = climb(config, tmp_path / "again", (2.0,), assets=tmp_path / "assets")
    assert numbers(again) == numbers(rungs)
    control = taught_by(path, "continued")
    assert [a.key for a in assets_of(control)] == [teacher.key]
    climb(control, tmp_path / "control", (2.0,), assets=tmp_path / "assets")


def test_a_damaged_copy_is_taken_from_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(weights(), path)
    config = taught_by(path, "continued")
    [(asset, _)] = build(config, tmp_path / "assets").values()
    rungs = climb(config, tmp_path / "whole", (2.0,), assets=tmp_path / "assets")
    [copy] = (tmp_path / "assets" / asset.key).rglob("*.pt")
    copy.write_bytes(copy.read_bytes()[:-1])
    again = climb(config, tmp_path / "again", (2.0,), assets=tmp_path / "assets")
    assert numbers(again) == numbers(rungs)


def test_a_model_of_ours_says_which_categories_it_tells(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    ours = open_split(DATA, "train").categories
    state = weights()
    save_checkpoint(path, {"model": state, "categories": list(reversed(ours)), "length": 2.0})
    config = taught_by(path, "continued")
    [(asset, _)] = build(config, tmp_path / "assets").values()
    [copy] = (tmp_path / "assets" / asset.key).rglob("*.pt")
    name = "network.head.classification_head.cls_logits.weight"
    taken, given = load_checkpoint(copy)["model"][name], state[name]
    anchors = (-1, len(ours), *given.shape[1:])
    assert torch.equal(taken.reshape(anchors), given.reshape(anchors).flip(1))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": torch.zeros(1)}, r"must fill the whole detector exactly.*missing: network\..*left"),
        ([1, 2], r"must hold a state dict \(name -> tensor\)"),
    ],
)
def test_what_is_no_such_detector_is_refused_by_name(
    tmp_path: Path, content: Any, told: str
) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(content, path)
    with pytest.raises(SpecError, match=f"teacher {path}: {told}"):
        build(taught_by(path), tmp_path / "assets")


def test_a_resnet_of_caffe_teaches_nobody(tmp_path: Path) -> None:
    """Its layers of stride 2 are others, though names and shapes are the same."""
    path = tmp_path / "detectron2.pth"
    torch.save({"backbone.bottom_up.stem.conv1.weight": torch.zeros(1)}, path)
    caffe = {"mean": [103.5, 116.3, 123.7], "std": [1, 1, 1], "order": "bgr", "scale": 255}
    recipe = micro_recipe(**BOXES, init__input=caffe)
    with pytest.raises(SpecError, match="must be a ResNet whose blocks have their stride"):
        require_fitting_teacher(path, recipe, ("a",), "teacher")


def test_a_damaged_model_of_ours_teaches_nobody(tmp_path: Path) -> None:
    """A byte of a weight differs, which torch reads without complaint."""
    path = tmp_path / "model.pt"
    categories = open_split(DATA, "train").categories
    save_checkpoint(path, {"model": weights(), "categories": categories})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpecError, match=f"teacher {path}: must match its checksum"):
        build(taught_by(path), tmp_path / "assets")


def test_a_trunk_of_another_kind_is_no_detector(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pt"
    save_checkpoint(path, {"backbone": {}})
    with pytest.raises(SpecError, match="'backbone'") as caught:
        build(taught_by(path), tmp_path / "assets")
    text = str(caught.value).replace(str(path), "FILE")
    assert_says("training", "teacher file without a detector", text)


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(weights(), path)
    config = taught_by(path)
    torch.save(weights(seed=6), path)
    assert taught_by(path).trial_id != config.trial_id
    assert config.teacher is not None
    with pytest.raises(DataError, match=config.teacher.weights_digest) as caught:
        build(config, tmp_path / "assets")
    text = str(caught.value).replace(str(path), "FILE")
    text = re.sub(r"\b[0-9a-f]{16}\b", "DIGEST", text)
    assert_says("training", "another file under the same name", text)
    path.unlink()
    with pytest.raises(DataError, match="teacher: must be a readable file"):
        build(config, tmp_path / "assets")


def test_a_run_that_starts_from_a_file_looks_at_its_content(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pth"
    torch.save(weights(), path)
    init = {"init__source": "file", "init__weights": str(path), "init__weights_norm": "gn"}
    init |= {"init__input": "imagenet"}
    config = micro_trial(micro_recipe(**init), data=DATA)
    known = config.model_copy(update={"weights_digest": digest_of_file(str(path), "test")})
    assert known.trial_id != config.trial_id
    first = climb(known, tmp_path / "first", (2.0,))
    torch.save(weights(seed=6), path)
    with pytest.raises(DataError, match=f"init.weights {path}: .*{known.weights_digest}"):
        climb(known, tmp_path / "second", (2.0,))
    # a study from before files were looked at goes on as it did
    assert numbers(climb(config, tmp_path / "older", (2.0,))) != numbers(first)


def test_a_backbone_is_taken_from_a_model_of_ours_and_garbage_is_named(tmp_path: Path) -> None:
    path, state = tmp_path / "model.pt", weights()
    save_checkpoint(path, {"model": state, "config": "{}", "length": 2.0, "categories": ["a"]})
    found = read_state_dict(path, "init.weights")
    assert found.keys() == state.keys()
    recipe = micro_recipe()
    init = InitSpec(source="file", weights=str(path), weights_norm="gn")
    detector = build_detector(recipe.detector, init, 6, seed=1)
    name = next(n for n in state if n.startswith("network.backbone.body.layer1"))
    assert torch.equal(detector.state_dict()[name], state[name])
    for content in (b"", b"not a tensor\n" * 9, b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(SpecError, match="must be a (whole )?file of tensors"):
            read_state_dict(path, "init.weights")
    path.write_bytes(b"rethink-ray checkpoint 1\nx")
    with pytest.raises(SpecError, match="must match its checksum"):
        read_state_dict(path, "init.weights")
