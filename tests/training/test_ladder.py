import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.spec.errors import Diverged, Infeasible, Misconfigured, RecordError, SpecError
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.effective import require_recipe_values
from rethink_ray.training.ladder import Progress
from rethink_ray.training.losses import LossTrace
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.runs import climb, digest, numbers

CPU = WorkerContext(device=torch.device("cpu"))


def trunk_steps(folder: Path) -> list[int]:
    return [load_checkpoint(p)["step"] for p in sorted(folder.glob("trunk-*.pt"))]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ladder of 2x, 3x and 4x that nothing disturbed, which is only read."""
    folder = tmp_path_factory.mktemp("straight")
    climb(micro_trial(), folder, (2.0, 3.0, 4.0))
    return folder


def test_rungs_come_in_order_with_their_updates_and_numbers(tmp_path: Path) -> None:
    rungs = climb(micro_trial(), tmp_path, (2.0, 3.0), splits=("val", "test"))
    assert [r.length for r in rungs] == [2.0, 3.0]
    assert [r.steps for r in rungs] == [8, 12]
    assert [r.steps_new for r in rungs] == [8, 4 + 3]  # trunk 5 to 9, then the branch
    assert {f"{s}/{m}" for s in ("val", "test") for m in ("ap", "ap50", "ar_l")} < set(
        rungs[0].metrics
    )
    assert math.isfinite(rungs[0].metrics["train/loss"])
    assert rungs[0].instruction_set
    assert rungs[0].peak_memory_bytes > 0


def test_a_finished_rung_is_yielded_again_without_training(tmp_path: Path) -> None:
    first = climb(micro_trial(), tmp_path, (2.0,))
    told: list[Progress] = []
    again = climb(micro_trial(), tmp_path, (2.0,), progress=told.append)
    assert numbers(again) == numbers(first)
    assert again[0].at == first[0].at
    assert told == []


def test_a_rung_is_run_again_if_a_split_is_wanted_that_it_was_not_scored_on(
    tmp_path: Path,
) -> None:
    climb(micro_trial(), tmp_path, (2.0,))
    both = climb(micro_trial(), tmp_path, (2.0,), splits=("val", "test"))
    assert {"val/ap", "test/ap"} < set(both[0].metrics)


def test_a_promoted_trial_goes_on_from_the_trunk_file_below(tmp_path: Path, straight: Path) -> None:
    climb(micro_trial(), tmp_path / "a", (2.0,))
    assert trunk_steps(tmp_path / "a") == [5]
    told: list[Progress] = []
    climb(micro_trial(), tmp_path / "a", (3.0,), progress=told.append)
    assert [(p.step, p.on_branch) for p in told][:4] == [
        (5, False),
        (6, False),
        (7, False),
        (8, False),
    ]
    assert [(p.step, p.on_branch) for p in told][4:] == [(9, True), (10, True), (11, True)]
    assert digest(tmp_path / "a", 3.0) == digest(straight, 3.0)


def test_only_the_newest_trunk_files_are_kept_and_no_branch(straight: Path) -> None:
    assert trunk_steps(straight) == [9, 13]
    assert not (straight / "branch.pt").exists()


@pytest.mark.parametrize("num_damaged", [1, 2])
def test_a_damaged_trunk_file_costs_time_and_nothing_else(
    tmp_path: Path, straight: Path, num_damaged: int
) -> None:
    climb(micro_trial(), tmp_path / "a", (2.0, 3.0))
    for path in sorted((tmp_path / "a").glob("trunk-*.pt"), reverse=True)[:num_damaged]:
        path.write_bytes(path.read_bytes()[:-1])
    climb(micro_trial(), tmp_path / "a", (4.0,))
    assert digest(tmp_path / "a", 4.0) == digest(straight, 4.0)


def test_damaged_rungs_run_again(tmp_path: Path) -> None:
    first = climb(micro_trial(), tmp_path, (2.0,))
    (tmp_path / "rungs.json").write_text('{"trial_id": "x", "rungs": [')
    assert numbers(climb(micro_trial(), tmp_path, (2.0,))) == numbers(first)


def test_a_folder_of_another_trial_is_refused(tmp_path: Path) -> None:
    climb(micro_trial(seed=1), tmp_path, (2.0,))
    with pytest.raises(RecordError, match=micro_trial(seed=2).trial_id) as caught:
        climb(micro_trial(seed=2), tmp_path, (2.0,))
    text = str(caught.value).replace(str(tmp_path), "FOLDER")
    text = text.replace(micro_trial(seed=1).trial_id, "ONE")
    text = text.replace(micro_trial(seed=2).trial_id, "OTHER")
    assert_says("training", "folder of another trial", text)


def test_a_loss_that_is_no_number_ends_the_trial_at_its_step(tmp_path: Path) -> None:
    config = micro_trial(micro_recipe(optimizer__lr=1.0e12, optimizer__clip_norm=None))
    with pytest.raises(Diverged) as caught:
        climb(config, tmp_path, (2.0,))
    assert 1 <= caught.value.step <= 8
    with pytest.raises(Diverged) as again:
        climb(config, tmp_path, (2.0,))
    assert again.value.step == caught.value.step


@pytest.mark.parametrize("read_every", [1, 20])
def test_the_first_bad_step_is_named_however_late_it_is_read(read_every: int) -> None:
    trace = LossTrace(CPU, read_every)

    def add_all() -> None:
        for step, loss in enumerate([1.0, 2.0, math.nan, math.inf]):
            trace.add(step, torch.tensor(loss))
        trace.read_losses()

    with pytest.raises(Diverged) as caught:
        add_all()
    assert caught.value.step == 2


def test_a_branch_reports_its_own_mean_loss_and_a_bare_trunk_its_last() -> None:
    trace = LossTrace(CPU)
    for step in range(60):
        trace.add(step, torch.tensor(float(step)))
    trace.start_branch()
    assert trace.mean == sum(range(10, 60)) / 50
    trace.add(60, torch.tensor(3.0))
    trace.add(61, torch.tensor(5.0))
    assert trace.mean == 4.0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("Unable to find an engine to execute this computation"),
    ],
)
def test_running_out_of_memory_is_infeasible_with_a_remedy(error: Exception) -> None:
    config = micro_trial()
    told = r"2 images at once \(batch_size 2\) of 64.*Try batch_size: 1, or"
    with (
        pytest.raises(Infeasible, match=told),
        one_outcome(config, CPU),
    ):
        raise error


def test_other_failures_stay_what_they_are() -> None:
    config = micro_trial()
    with (
        pytest.raises(RuntimeError, match="size mismatch"),
        one_outcome(config, CPU),
    ):
        raise RuntimeError("size mismatch")


def read_effective(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "effective.json").read_text())
    return found


@pytest.mark.parametrize("name", ["tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn"])
def test_the_effective_configuration_is_read_back_and_written_down(
    tmp_path: Path, name: str
) -> None:
    recipe = micro_recipe(
        name,
        optimizer__lr=0.0123,
        optimizer__momentum=0.75,
        optimizer__ema={"half_life": 0.3},
        init__frozen="layer1",
        augment__scale=[0.5, 1.5],
    )
    config = micro_trial(recipe, images=8)
    climb(config, tmp_path, (2.0,))
    told = read_effective(tmp_path)
    found = told["effective"]
    assert found["optimizer.lr"] == 0.0123
    assert found["optimizer.momentum"] == 0.75
    assert found["optimizer.ema"] == {"half_life": pytest.approx(0.3)}
    assert found["optimizer.norm_weight_decay"] == 0.0
    assert found["detector.family"] == recipe.detector.family
    assert found["detector.norm"] == recipe.detector.norm
    assert found["init.frozen"] == "layer1"
    assert found["augment.flip"] == 0.5
    assert found["augment.scale"] == [0.5, 1.5]
    assert found["batch_size"] == 2
    assert told["images"] == 8
    assert 0 < told["model"]["trainable_share"] < 1
    assert told["environment"]["threads"] == 1


def test_a_warm_up_may_end_where_the_first_drop_begins(tmp_path: Path) -> None:
    config = micro_trial(micro_recipe(optimizer__lr=0.01, schedule__warmup=5))
    climb(config, tmp_path, (2.0,))
    assert config.recipe.schedule.branch_at(2.0) == 5
    assert read_effective(tmp_path)["effective"]["optimizer.lr"] == 0.01


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.lr", 0.03),
        ("optimizer.ema", {"half_life": 0.1}),
        ("detector.norm", "bn"),
        ("batch_size", 4),
        ("init.frozen", "stem"),
    ],
)
def test_a_difference_from_what_was_asked_is_an_error(path: str, value: Any) -> None:
    with pytest.raises(Misconfigured, match=path):
        require_recipe_values(micro_recipe(), {"optimizer.name": "sgd", path: value})


def test_frozen_stages_do_not_move_and_others_do(tmp_path: Path) -> None:
    recipe = micro_recipe(detector__norm="bn", init__frozen="layer1")
    climb(micro_trial(recipe), tmp_path, (2.0, 3.0))
    two, three = (load_checkpoint(tmp_path / "models" / f"{n}x.pt")["model"] for n in (2, 3))

    def moved(part: str) -> Sequence[bool]:
        return [not torch.equal(two[k], three[k]) for k in two if f"body.{part}." in k]

    assert not any(moved("stem") + moved("layer1"))
    assert all(moved("layer2"))


def test_a_gpu_that_is_not_there_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"gpus_per_worker: 0"):
        climb(micro_trial(gpus_per_worker=1.0), tmp_path, (2.0,))


def test_a_changed_checkpoint_format_is_not_trusted(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "trunk-000000005.pt", {"trial_id": "another", "step": 5})
    with pytest.raises(RecordError, match="'another'"):
        climb(micro_trial(), tmp_path, (2.0,))
