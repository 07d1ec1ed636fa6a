"""Runs of a detector of other code: invariants, micro-batches, freezing, effective values."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.backbone_code import code_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.study import Study
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.live import Live
from rethink_ray.training.run import evaluate_checkpoint, train_config
from rethink_ray.training.start_checks import require_buildable, require_fitting_weights
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.trial_files import model_path
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_trial
from tests.detection.own_example import EXAMPLE, MODULE, importable, small
from tests.detection.tiny_detectors import pictures, targets
from tests.search.search_builders import small_study
from tests.training.groups import in_a_group
from tests.training.runs import climb, climb_with_stops, digest, digests, numbers, stop_after

LENGTHS = (2.0, 3.0, 4.0)
DROPPING = f"{MODULE}:build_dropping"
SHARED = f"{MODULE}:build_shared"
NAMELESS = f"{MODULE}:build_nameless"
SCHEDULE = {"unit": 4, "lengths": [2.0, 3.0, 4.0], "warmup": 2}


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Iterator[None]:
    with importable(tmp_path):
        yield


def recipe_of(family: str, **settings: Any) -> Recipe:
    dotted = {path.replace("__", "."): value for path, value in settings.items()}
    base = {
        "detector": {"family": family, "min_side_px": 64, "max_side_px": 64},
        "detector.score_threshold": 0.0,
        "schedule": SCHEDULE,
        "schedule.decay.before_end": [0.75, 0.25],
        "batch_size": 2,
    }
    return with_settings(Recipe(), {**base, **dotted}, "test")


def trial(family: str, **settings: Any) -> TrialConfig:
    config = micro_trial(recipe_of(family, **settings))
    return config.model_copy(update={"family_code": code_of(family, "test")})


def test_a_branch_equals_a_stand_alone_run_and_repeats_in_this_process(tmp_path: Path) -> None:
    config = trial(DROPPING, augment__scale=[0.8, 1.2])
    ladder = climb(config, tmp_path / "ladder", LENGTHS)
    for rung in ladder[1:]:
        folder = tmp_path / f"{rung.length:g}"
        alone = climb(config, folder, (rung.length,))
        assert digest(folder, rung.length) == digest(tmp_path / "ladder", rung.length)
        assert numbers(alone) == numbers([rung])


def test_many_stops_on_one_ladder_change_nothing(tmp_path: Path) -> None:
    config = trial(DROPPING, optimizer__name="adamw", optimizer__lr=0.001)
    whole = climb(config, tmp_path / "whole", LENGTHS)
    parts, stops = climb_with_stops(config, tmp_path / "parts", LENGTHS, every=4)
    assert stops >= 24 // 4
    assert numbers(parts) == numbers(whole)
    assert digests(tmp_path / "parts", LENGTHS) == digests(tmp_path / "whole", LENGTHS)


GENTLE = {
    "init__frozen": "backbone",
    "init__unfreeze": {"after": 0.75},
    "optimizer__backbone_rate": 0.5,
    "optimizer__ema": {"half_life": 0.5},
}


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, str]:
    """A start from a file of the example, which is drawn with other numbers of classes."""
    start = build_detector(small(), InitSpec(), 7, seed=0).state_dict()
    torch.save(start, tmp_path / "w.pt")
    return {"init__source": "file", "init__weights": str(tmp_path / "w.pt")}


def test_averaged_runs_that_unfreeze_keep_the_invariants(
    tmp_path: Path, weights: dict[str, str]
) -> None:
    """1x is 4 updates: the backbone trains from update 3 on, the first branch is at update 5."""
    config = trial(DROPPING, **weights, **GENTLE)
    ladder = climb(config, tmp_path / "ladder", LENGTHS)
    alone = climb(config, tmp_path / "alone", LENGTHS[-1:])
    assert numbers(alone) == numbers(ladder[-1:])
    assert digest(tmp_path / "alone", 4.0) == digest(tmp_path / "ladder", 4.0)
    for asked in (2, 4):  # before and after the switch
        folder = tmp_path / f"stop at {asked}"
        with pytest.raises(Stopped):
            climb(config, folder, LENGTHS[:1], stop=stop_after(asked))
        [kept] = [load_checkpoint(path)["is_unfrozen"] for path in folder.glob("trunk-*.pt")]
        assert kept == (asked > 3)
        assert numbers(climb(config, folder, LENGTHS[:1])) == numbers(ladder[:1])
        assert digest(folder, 2.0) == digest(tmp_path / "ladder", 2.0)


def test_rates_averages_and_the_switch_are_read_from_the_live_detector(
    tmp_path: Path, weights: dict[str, str]
) -> None:
    [rung] = climb(trial(EXAMPLE, **weights, **GENTLE), tmp_path / "run", (2.0,))
    summary = json.loads((tmp_path / "run" / "effective.json").read_text())
    effective, model = summary["effective"], summary["model"]
    assert effective["init.frozen"] == "backbone"
    assert effective["init.unfreeze"] == {"after": 0.75}
    assert effective["optimizer.ema"] == {"half_life": 0.5}
    assert model["unfreezes_at"] == 3
    assert model["trainable_share"] == 1.0
    assert rung.metrics["train/backbone_drift"] > 0
    without = {**GENTLE, "init__frozen": "none", "init__unfreeze": None}
    climb(trial(EXAMPLE, **weights, **without), tmp_path / "whole", (2.0,))
    summary = json.loads((tmp_path / "whole" / "effective.json").read_text())
    assert summary["effective"]["optimizer.backbone_rate"] == 0.5
    factors = {g["part"]: g["rate_factor"] for g in summary["model"]["parameter_groups"]}
    assert factors == {"weights": 1.0, "backbone weights": 0.5, "backbone norms": 0.5}


def test_a_run_starts_from_what_another_one_kept(tmp_path: Path) -> None:
    climb(trial(EXAMPLE), tmp_path / "first", (2.0,))
    file = model_path(tmp_path / "first" / "models", 2.0)
    learned = load_checkpoint(file)["model"]
    started = {"init__source": "file", "init__weights": str(file), "init__frozen": "backbone"}
    climb(trial(EXAMPLE, **started), tmp_path / "second", (2.0,))
    then = load_checkpoint(model_path(tmp_path / "second" / "models", 2.0))["model"]
    name = "network.model.backbone.0.weight"
    assert torch.equal(then[name], learned[name])


def test_an_exported_configuration_trains_and_scores_the_same(tmp_path: Path) -> None:
    config = trial(EXAMPLE)
    [*_, last] = train_config(config, tmp_path / "run")
    scores = evaluate_checkpoint(tmp_path / "run", "val")
    assert scores["val/ap"] == last.metrics["val/ap"]


def test_effective_values_are_those_of_the_live_detector(tmp_path: Path) -> None:
    torch.save(build_detector(small(), InitSpec(), 6, seed=0).state_dict(), tmp_path / "w.pt")
    started = {"init__source": "file", "init__weights": str(tmp_path / "w.pt")}
    climb(trial(EXAMPLE, init__frozen="backbone", **started), tmp_path / "run", (2.0,))
    summary = json.loads((tmp_path / "run" / "effective.json").read_text())
    effective, model = summary["effective"], summary["model"]
    assert (effective["detector.family"], effective["init.frozen"]) == (EXAMPLE, "backbone")
    assert (effective["detector.min_side_px"], effective["detector.max_side_px"]) == (64, 64)
    assert "detector.norm" not in effective
    assert model["frozen_parts"] == ["network.model.backbone"]
    assert 0 < model["trainable_share"] < 0.3
    assert model["step_flops"] > 0


def test_a_frozen_backbone_does_not_drift_and_a_trained_one_does(tmp_path: Path) -> None:
    start = build_detector(small(), InitSpec(), 6, seed=0).state_dict()
    torch.save(start, tmp_path / "w.pt")
    started = {"init__source": "file", "init__weights": str(tmp_path / "w.pt")}
    drifts = []
    for frozen in ("backbone", "none"):
        config = trial(EXAMPLE, init__frozen=frozen, **started)
        [rung] = climb(config, tmp_path / frozen, (2.0,))
        drifts.append(rung.metrics["train/backbone_drift"])
        model = load_checkpoint(model_path(tmp_path / frozen / "models", 2.0))["model"]
        first = "network.model.backbone.0.weight"
        assert torch.equal(model[first], start[first]) == (frozen == "backbone")
    assert drifts[0] == 0.0 < drifts[1]


def gradient(family: str, images_per_step: int | None) -> list[torch.Tensor]:
    recipe = recipe_of(family, batch_size=4, optimizer__lr=1.0, optimizer__momentum=0.0)
    ctx = WorkerContext.alone(1, 0, False)
    live = Live(recipe, 3, 1, ctx, images_per_step=images_per_step)
    before = [p.detach().clone() for p in live.trainable]
    live.update(pictures(4), targets(4), rate=1.0, step=0)
    return [then - p.detach() for then, p in zip(before, live.trainable, strict=True)]


def test_micro_batches_have_the_gradient_of_the_whole_batch() -> None:
    whole, split = gradient(SHARED, None), gradient(SHARED, 2)
    for one, other in zip(whole, split, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def gradient_of(ctx: WorkerContext) -> torch.Tensor:
    """The gradient of four pictures; the last two, which worker 1 of 2 has, hold nothing."""
    share = 4 // ctx.world_size
    mine = slice(ctx.rank * share, (ctx.rank + 1) * share)
    batch = targets(4)
    for target in batch[2:]:
        target |= {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    live = Live(recipe_of(SHARED, batch_size=4), 3, 1, ctx)
    live.update(pictures(4)[mine], batch[mine], rate=0.01, step=0)
    return torch.cat([p.grad.flatten() for p in live.trainable if p.grad is not None])


def gradient_in_a_group(folder: Path, rank: int, world_size: int) -> torch.Tensor:
    with importable(folder / f"module {rank}"):
        ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size)
        return gradient_of(ctx)


def test_two_workers_have_the_gradient_of_one_process(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    expected = gradient_of(WorkerContext(device=torch.device("cpu")))
    for rank in range(2):
        (tmp_path / f"module {rank}").mkdir()
    for of_worker in in_a_group(gradient_in_a_group, tmp_path, 2, 2):
        assert float((of_worker - expected).norm() / expected.norm()) <= 1e-5


def test_a_detector_that_needs_whole_batches_is_refused_micro_batches() -> None:
    with pytest.raises(SpecError, match="resources.images_per_step: must give .* a whole batch"):
        gradient(EXAMPLE, 2)


def test_a_run_whose_code_has_changed_is_refused(tmp_path: Path) -> None:
    config = trial(EXAMPLE)
    with (tmp_path / f"{MODULE}.py").open("a") as file:
        file.write("# another line\n")
    with pytest.raises(SpecError, match=f"detector.family {EXAMPLE}: must be the code that"):
        climb(config, tmp_path / "run", (2.0,))


def study_of(
    family: str = EXAMPLE, settings: dict[str, Any] | None = None, **changes: Any
) -> Study:
    arm = {"detector.family": family, **(settings or {})}
    return small_study(arms={"own": {"set": arm}}, search={}, **changes)


def test_what_its_runs_would_refuse_is_refused_before_the_study_starts() -> None:
    require_buildable(study_of(SHARED, resources={"images_per_step": 4}), "s.yaml")
    with pytest.raises(SpecError, match="full/own: resources.images_per_step: must give"):
        require_buildable(study_of(resources={"images_per_step": 4}), "s.yaml")
    # the example keeps 100 boxes, whatever detector.detections says
    with pytest.raises(SpecError, match="full/own: detector.detections: must be left out.* 50"):
        require_buildable(study_of(settings={"detector.detections": 50}), "s.yaml")
    require_buildable(study_of(settings={"detector.nms_iou": 0.7}), "s.yaml")
    require_buildable(study_of(settings={"optimizer.backbone_rate": 0.1}), "s.yaml")
    with pytest.raises(SpecError, match="full/own: optimizer.backbone_rate: must be 1 with"):
        require_buildable(study_of(NAMELESS, settings={"optimizer.backbone_rate": 0.1}), "s.yaml")
    with pytest.raises(SpecError, match="full/own: detector.family our_detectors:gone: must be an"):
        require_buildable(study_of(f"{MODULE}:gone"), "s.yaml")


def test_its_file_of_weights_is_compared_before_the_study_starts(tmp_path: Path) -> None:
    for name, spec in {"fits": small(), "other": small(SHARED)}.items():
        state = build_detector(spec, InitSpec(), 7, seed=0).state_dict()
        torch.save(
            {k: v for k, v in state.items() if name == "fits" or "boxes" not in k}, tmp_path / name
        )
    started = {"init.source": "file", "init.weights": str(tmp_path / "fits")}
    # it may have learned from the scoring splits, so reports name it
    assert require_fitting_weights(study_of(settings=started), "s.yaml") == (
        str(tmp_path / "fits"),
    )
    started["init.weights"] = str(tmp_path / "other")
    with pytest.raises(SpecError, match="full/own: init.weights .* must fill our_detectors:build"):
        require_fitting_weights(study_of(settings=started), "s.yaml")
