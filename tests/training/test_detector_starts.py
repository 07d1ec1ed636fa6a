"""Runs that start from a whole detector of other categories, in a file."""

import json
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.learned_detectors import (
    KEYPOINTS_OF_COCO,
    LearnedDetector,
    fill_keypoint_rows,
)
from rethink_ray.detection.pixel_norm import input_of_model, is_pixel_norm
from rethink_ray.detection.published_weights import TorchvisionWeights
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.load import load_config
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.weight_files import require_known_inputs
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.detector_files import list_kept
from rethink_ray.training.live import Live
from rethink_ray.training.run import train_config
from rethink_ray.training.start_checks import (
    list_file_uses,
    list_kept_rows,
    require_fitting_weights,
)
from rethink_ray.training.starting import load_start
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.cluster.micro_study import micro_study
from tests.training.runs import climb, climb_with_stops, digest, digests, numbers

THEIRS = ("ring", "wheel", "Square")
"""Of the six categories of the drawn scenes, two are theirs."""
HALF = InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LOGITS = "network.head.classification_head.cls_logits.weight"


def settings(path: Path, **more: Any) -> dict[str, Any]:
    """Dots of a path as ``__``."""
    init = {"init__source": "detector", "init__weights": str(path), "init__weights_norm": "gn"}
    return {**init, **more}


def run_from(path: Path, **more: Any) -> TrialConfig:
    trial = micro_trial(micro_recipe(**settings(path, **more)))
    return trial.model_copy(update={"weights_digest": digest_of_file(str(path), "test")})


def write_detector(path: Path, name: str = "tiny_retinanet", **more: Any) -> dict[str, Tensor]:
    """A file of ours with a detector of THEIRS, drawn by seed 7, whose pixels are 0.5 and 0.5."""
    spec = micro_recipe(name, **more).detector
    state = build_detector(spec, InitSpec(input=HALF), len(THEIRS), seed=7).state_dict()
    save_checkpoint(path, {"model": state, "categories": list(THEIRS)})
    return state


def live_of(config: TrialConfig, folder: Path) -> Live:
    ctx = WorkerContext.alone(1, 0.0)
    start = load_start(config, folder, ctx)
    return Live(config.recipe, config.num_categories, config.seed, ctx, start)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "theirs.pt"
    write_detector(file)
    return file


def test_a_run_says_what_it_kept_and_begins_with_it(tmp_path: Path, path: Path) -> None:
    config = run_from(path)
    climb(config, tmp_path / "run", (2.0,))
    effective = json.loads((tmp_path / "run" / "effective.json").read_text())
    assert effective["effective"]["init.keep_classes"] == "by_name"
    assert effective["model"]["input"]["mean"] == [0.5, 0.5, 0.5]
    assert effective["start"]["kept_categories"] == {"ring": "ring", "square": "Square"}
    assert set(effective["start"]["drawn_categories"]) == {"circle", "cross", "star", "triangle"}
    assert effective["start"]["kept_rows"][LOGITS] == "18 of 54"  # nine anchors
    state = load_checkpoint(path)["model"]
    begun = live_of(config, tmp_path).detector.state_dict()
    assert all(torch.equal(begun[name], state[name]) for name in begun if "cls_logits" not in name)
    categories = open_split(MICRO_DATA, "train").categories
    ours = begun[LOGITS].unflatten(0, (9, 6))[:, categories.index("square")]
    assert torch.equal(ours, state[LOGITS].unflatten(0, (9, 3))[:, THEIRS.index("Square")])


def test_keeping_no_class_is_read_back(tmp_path: Path, path: Path) -> None:
    climb(run_from(path, init__keep_classes="none"), tmp_path / "run", (2.0,))
    effective = json.loads((tmp_path / "run" / "effective.json").read_text())
    assert effective["effective"]["init.keep_classes"] == "none"
    assert effective["start"]["kept_categories"] == {}


def test_the_four_invariants_hold_from_a_detector(tmp_path: Path, path: Path) -> None:
    """A branch is a stand-alone run, stops change nothing, nor do loaders, and YAML repeats it."""
    config = run_from(path, init__frozen="layer1")
    lengths = (2.0, 3.0)
    ladder = climb(config, tmp_path / "ladder", lengths)
    alone = climb(config, tmp_path / "alone", (3.0,))
    assert numbers(alone) == numbers(ladder[1:])
    assert digest(tmp_path / "alone", 3.0) == digest(tmp_path / "ladder", 3.0)
    parts, stops = climb_with_stops(config, tmp_path / "parts", lengths, every=6)
    assert stops >= 2
    assert numbers(parts) == numbers(ladder)
    resources = config.resources.model_copy(update={"loader_workers": 1})
    climb(config.model_copy(update={"resources": resources}), tmp_path / "loaders", (2.0,))
    assert digest(tmp_path / "loaders", 2.0) == digest(tmp_path / "ladder", 2.0)
    file = tmp_path / "best.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    train_config(load_config(file), tmp_path / "again", lengths=lengths)
    assert digests(tmp_path / "again", lengths) == digests(tmp_path / "ladder", lengths)


def test_a_rung_of_ours_names_its_categories_and_is_a_start(tmp_path: Path, path: Path) -> None:
    climb(run_from(path), tmp_path / "first", (2.0,))
    rung = tmp_path / "first" / "models" / "2x.pt"
    live = live_of(run_from(rung), tmp_path)
    assert live.kept is not None
    assert live.kept.drawn == ()
    state = load_checkpoint(rung)["model"]
    assert all(torch.equal(v, state[name]) for name, v in live.detector.state_dict().items())
    assert input_of_model(state) == HALF


def test_an_id_covers_the_files_content_and_what_is_kept(tmp_path: Path, path: Path) -> None:
    config = run_from(path)
    moved = tmp_path / "elsewhere.pt"
    moved.write_bytes(path.read_bytes())
    assert run_from(moved).trial_id == config.trial_id
    assert run_from(path, init__keep_classes="none").trial_id != config.trial_id
    write_detector(moved, detector__anchor_base_px=8)
    state = load_checkpoint(moved)["model"]
    save_checkpoint(moved, {"model": state, "categories": ["a", "b", "c"]})
    assert run_from(moved).trial_id != config.trial_id
    path.write_bytes(moved.read_bytes())
    with pytest.raises(DataError, match="must be the file that the study was started with"):
        climb(config, tmp_path / "run", (2.0,))


def test_a_detector_that_does_not_fit_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "faster.pt"
    write_detector(file, "tiny_faster_rcnn")
    init = {k.replace("__", "."): v for k, v in settings(file).items()}
    study = micro_study(arms={"scratch": {}, "whole": {"set": init}})
    with pytest.raises(SpecError, match=r"init.weights .*must fill the whole detector exactly"):
        require_fitting_weights(study, "study.yaml")
    write_detector(file)
    assert require_fitting_weights(study, "study.yaml") == (str(file),)
    [uses] = list_file_uses(study, "study.yaml").values()
    assert list_kept_rows(study, uses) == (
        "keeps the rows of 2 of 6 categories (square (as Square), ring)"
    )


def test_published_weights_are_compared_once_they_are_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    whole = {
        "init": {"source": "detector", "weights": "COCO_V1"},
        "detector": {"family": "fcos", "backbone": "resnet50", "norm": "frozen_bn"},
        "detector.box_loss": None,
    }
    study = micro_study(arms={"scratch": {}, "whole": {"set": whole}})
    assert not list_file_uses(study, "study.yaml")
    cached = tmp_path / "hub" / "checkpoints" / "fcos_resnet50_fpn_coco-99b0c9b7.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert list(list_file_uses(study, "study.yaml")) == [cached]


def test_a_download_that_breaks_off_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenOff:
        url = "https://weights.invalid/detector.pth"

        def get_state_dict(self, **settings: bool) -> None:
            raise IncompleteRead(b"half")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights: Any = BrokenOff()
    with pytest.raises(SpecError, match=r"downloadable, but got 'IncompleteRead: .*Copy the file"):
        TorchvisionWeights(weights=weights, known_input=HALF).fetch()


def test_a_number_that_is_not_finite_and_another_input_are_refused(
    tmp_path: Path, path: Path
) -> None:
    with pytest.raises(SpecError, match="must be that of the weights it starts from"):
        live_of(run_from(path, init__input="imagenet"), tmp_path)
    state = load_checkpoint(path)["model"]
    state["network.backbone.body.stem.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_checkpoint(path, {"model": state, "categories": list(THEIRS)})
    with pytest.raises(SpecError, match="must hold finite numbers"):
        live_of(run_from(path), tmp_path)


def test_a_file_of_torchvisions_names_has_the_stated_input(tmp_path: Path) -> None:
    file = tmp_path / "plain.pth"
    state = write_detector(file)
    bare = {k.removeprefix("network."): v for k, v in state.items() if not is_pixel_norm(k)}
    stem = {k: k.replace("backbone.body.stem.", "backbone.body.") for k in bare}
    torch.save({stem[name]: value for name, value in bare.items()}, file)
    live = live_of(run_from(file, init__input=HALF.model_dump(mode="json")), tmp_path)
    assert live.kept is not None
    assert live.kept.categories == {}  # the file does not name its three outputs
    assert live.detector.pixel_norm.read_input() == HALF
    body = "network.backbone.body.layer1.0.conv1.weight"
    assert torch.equal(live.detector.state_dict()[body], state[body])
    assert list_kept(live.kept, ("a", "b")) == "keeps the rows of 0 of 2 categories"


def test_adapters_are_new_beside_a_loaded_detector(tmp_path: Path, path: Path) -> None:
    live = live_of(run_from(path, init__frozen="backbone", detector__adapters=0.25), tmp_path)
    ups = [v for k, v in live.detector.state_dict().items() if k.endswith(".up.weight")]
    assert ups
    assert not any(bool(up.any()) for up in ups)


def test_the_table_counts_what_was_loaded_and_no_new_tensor(tmp_path: Path, path: Path) -> None:
    plain = live_of(run_from(path), tmp_path).kept
    adapted = live_of(
        run_from(path, init__frozen="backbone", detector__adapters=0.25), tmp_path
    ).kept
    assert plain is not None
    assert adapted is not None
    assert plain.num_loaded == adapted.num_loaded == len(load_checkpoint(path)["model"]) - 2


def test_a_counter_of_another_shape_does_not_stop_a_file(tmp_path: Path) -> None:
    file = tmp_path / "theirs.pt"
    state = write_detector(file, detector__norm="bn")
    counters = {k: v.reshape(1) for k, v in state.items() if k.endswith("num_batches_tracked")}
    assert counters
    save_checkpoint(file, {"model": state | counters, "categories": list(THEIRS)})
    live = live_of(run_from(file, detector__norm="bn", init__weights_norm="bn"), tmp_path)
    assert live.kept is not None
    assert live.kept.categories == {"ring": "ring", "square": "Square"}


def test_a_whole_detector_is_not_advised_to_name_a_tag_of_timm(tmp_path: Path) -> None:
    """A tag says the input of a backbone alone."""
    file = tmp_path / "theirs.pth"
    file.write_bytes(b"")
    init = {k.replace("__", "."): v for k, v in settings(file).items()}
    for source, names_timm in (("detector", False), ("file", True)):
        study = micro_study(arms={"theirs": {"set": init | {"init.source": source}}})
        with pytest.raises(SpecError, match="Write init.input: imagenet") as refused:
            require_known_inputs(study, "study.yaml")
        assert ("timm" in str(refused.value)) == names_timm


def test_a_tensor_without_dimensions_is_refused(tmp_path: Path, path: Path) -> None:
    state = load_checkpoint(path)["model"]
    logits = LOGITS.replace("weight", "bias")
    save_checkpoint(path, {"model": {**state, logits: torch.zeros(())}, "categories": ["a"]})
    with pytest.raises(SpecError, match=r"of another shape: .*cls_logits\.bias \(\) for"):
        live_of(run_from(path), tmp_path)


def test_a_backbone_is_compared_under_the_names_that_its_run_reads(tmp_path: Path) -> None:
    """detectron2's names are converted for a whole detector alone."""
    file = tmp_path / "theirs.pth"
    ours, theirs = "backbone.body.layer1.", "backbone.bottom_up.res2."
    state = {
        name.removeprefix("network.").replace(ours, theirs): value
        for name, value in write_detector(file).items()
        if not is_pixel_norm(name)
    }
    torch.save(state, file)
    whole = {k.replace("__", "."): v for k, v in settings(file).items()}
    whole["init.input"] = "imagenet"
    study = micro_study(arms={"scratch": {}, "whole": {"set": whole}})
    assert require_fitting_weights(study, "study.yaml") == (str(file),)
    backbone = whole | {"init.source": "file"}
    study = micro_study(arms={"whole": {"set": whole}, "backbone": {"set": backbone}})
    with pytest.raises(SpecError, match="must fill the backbone exactly"):
        require_fitting_weights(study, "study.yaml")


def test_keypoints_are_kept_by_name() -> None:
    name = "network.roi_heads.branches.keypoints.predictor.kps_score_lowres."
    needed = {f"{name}weight": torch.zeros(2, 3, 4, 4), f"{name}bias": torch.zeros(3)}
    theirs = {
        f"{name}weight": torch.arange(17.0).expand(2, 17)[..., None, None].expand(2, 17, 4, 4),
        f"{name}bias": torch.arange(17.0),
    }
    ours = ("right_eye", "tail", "nose")  # COCO's numbers 2 and 0
    for keypoints in (None, KEYPOINTS_OF_COCO):
        learned = LearnedDetector(state=theirs, keypoints=keypoints)
        filled, shared = fill_keypoint_rows(needed, learned, ours)
        assert shared == ("right_eye", "nose")
        assert filled[f"{name}bias"].tolist() == [2, 0, 0]
        assert filled[f"{name}weight"][0, :, 0, 0].tolist() == [2, 0, 0]
