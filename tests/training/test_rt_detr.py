"""RT-DETRv2 of transformers, built small: its detections, its weights, and a run's invariants."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.own_checks import CHECKS, check_own_detector
from rethink_ray.spec.backbone_code import code_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.settings import with_settings
from tests.builders import micro_trial
from tests.detection.own_example import small
from tests.detection.tiny_detectors import mixed_pictures, mixed_targets
from tests.training.runs import climb, climb_with_stops, digest, numbers

transformers = pytest.importorskip("transformers")

FAMILY = "small_rt_detr:build"
MODULE = """
from transformers import RTDetrResNetConfig, RTDetrV2Config

from rethink_ray.detection.rt_detr import RtDetr


def build(spec, num_classes):
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone, freeze_backbone_batch_norms=False, num_labels=num_classes,
        encoder_in_channels=[8, 8, 8], encoder_hidden_dim=16, encoder_ffn_dim=16,
        encoder_attention_heads=2, hidden_expansion=0.5, d_model=16, num_queries=12,
        decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=2,
        decoder_attention_heads=2, num_denoising=4,
    )
    return RtDetr(config, spec)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "small_rt_detr.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("small_rt_detr", None)


def build(num_classes: int = 3, **init: str) -> Detector:
    return build_detector(small(FAMILY), InitSpec(**init), num_classes, seed=1)


def trial() -> TrialConfig:
    settings = {
        "detector": {"family": FAMILY, "min_side_px": 64, "max_side_px": 64},
        "detector.score_threshold": 0.0,
        "optimizer": {"name": "adamw", "lr": 0.001},
        "schedule": {"unit": 2, "lengths": [2.0, 3.0], "warmup": 1},
        "schedule.decay.before_end": [0.5],
        "batch_size": 2,
    }
    config = micro_trial(with_settings(Recipe(), settings, "test"))
    return config.model_copy(update={"family_code": code_of(FAMILY, "test")})


@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    rules = list(check_own_detector(small(FAMILY)))
    assert [rule.shortcoming for rule in rules] == [""] * len(CHECKS)


@pytest.mark.slow
def test_a_branch_equals_a_stand_alone_run_and_stops_change_nothing(tmp_path: Path) -> None:
    ladder = climb(trial(), tmp_path / "ladder", (2.0, 3.0))
    alone = climb(trial(), tmp_path / "alone", (3.0,))
    assert numbers(alone) == numbers(ladder[1:])
    assert digest(tmp_path / "alone", 3.0) == digest(tmp_path / "ladder", 3.0)
    parts, stops = climb_with_stops(trial(), tmp_path / "parts", (2.0,), every=3)
    assert stops >= 1
    assert numbers(parts) == numbers(ladder[:1])


def test_detections_are_those_of_transformers_without_suppression() -> None:
    from transformers.models.rt_detr.image_processing_rt_detr import RTDetrImageProcessor

    detector = build().eval()
    image = mixed_pictures()[0]  # 96 x 64 px
    model = detector.network.model
    with torch.no_grad():
        outputs = model.network(
            torch.nn.functional.interpolate(image[None], (64, 64), mode="bilinear", antialias=True)
        )
    [expected] = RTDetrImageProcessor().post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[(64, 96)]
    )
    [ours] = detector.detect([image])
    num = len(expected["scores"])
    assert num == 12  # transformers keeps as many pairs as there are queries
    assert torch.equal(ours["scores"][:num], expected["scores"])
    assert torch.equal(ours["labels"][:num], expected["labels"] + 1)
    inside = expected["boxes"].clamp(min=0).minimum(torch.tensor([96.0, 64.0, 96.0, 64.0]))
    assert torch.allclose(ours["boxes_xyxy"][:num], inside, atol=1e-4)


def test_a_checkpoint_of_the_hub_fills_all_but_the_rows_of_classes(tmp_path: Path) -> None:
    learned = build(num_classes=5)
    learned.network.model.network.save_pretrained(tmp_path / "hub")
    file = tmp_path / "hub" / "model.safetensors"
    started = build(source="file", weights=str(file)).state_dict()
    fresh = build().state_dict()
    names = load_file(file)
    assert "model.decoder.layers.0.fc1.weight" in names  # the network says mlp.fc1
    rows = ("class_embed", "enc_score_head", "denoising_class_embed")
    for name, value in learned.state_dict().items():
        is_row = any(word in name for word in rows)
        assert torch.equal(started[name], fresh[name] if is_row else value)


def test_a_checkpoint_of_another_network_names_the_difference(tmp_path: Path) -> None:
    torch.save(
        {"model.decoder.layers.0.fc1.weight": torch.zeros(2), "x": torch.zeros(1)}, tmp_path / "a"
    )
    with pytest.raises(
        SpecError, match="must fill small_rt_detr:build exactly.* left over: network.x"
    ):
        build(source="file", weights=str(tmp_path / "a"))


def test_the_draws_of_denoising_follow_seed_and_step() -> None:
    detector = build()

    def losses(seed: int, step: int) -> list[float]:
        of_step = detector.losses(mixed_pictures(), mixed_targets(), seed=seed, step=step)
        return [loss.item() for name, loss in of_step.items() if "_dn_" in name]

    assert losses(1, 0) == losses(1, 0)
    assert losses(1, 0) != losses(1, 1)
