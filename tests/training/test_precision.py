"""The arithmetic of a recipe holds while something is computed, in all of it, and no longer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nn import functional

from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import validate
from rethink_ray.spec.recipe import Precision
from rethink_ray.spec.study import Study
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.live import Live
from rethink_ray.training.precision import read_precision, use_float32_precision, use_precision
from rethink_ray.training.run import MODEL_FILE, load_model, train_config
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.runs import climb, digests

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def older_switches() -> tuple[bool, bool]:
    """For matrix products and for convolutions; reading them raises if others disagree."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def switches() -> dict[str, Any]:
    """Everything that a recipe's precision sets in this process."""
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    parts: Any = {"matmul": cuda.matmul, "conv": cudnn.conv, "rnn": cudnn.rnn}  # type: ignore[attr-defined]
    parts |= {"cpu matmul": mkldnn.matmul, "cpu conv": mkldnn.conv}  # type: ignore[attr-defined]
    found = {name: part.fp32_precision for name, part in parts.items()}
    reduced: Any = cuda.matmul.allow_bf16_reduced_precision_reduction
    return found | {"older": older_switches(), "reduced": reduced}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = switches()
    yield
    torch.set_float32_matmul_precision("highest")
    assert switches() | {"matmul": "", "cpu matmul": ""} == (
        before | {"matmul": "", "cpu matmul": ""}
    )


@pytest.mark.parametrize(
    ("asked", "on_gpus"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")]
)
def test_convolutions_and_matrix_products_round_alike(asked: Precision, on_gpus: str) -> None:
    before = switches()
    assert before["older"] == (False, True), "PyTorch's default is neither"

    with use_float32_precision(asked, GPU):
        inside = switches()

    assert {inside[part] for part in ("matmul", "conv", "rnn")} == {on_gpus}
    assert {inside[part] for part in ("cpu matmul", "cpu conv")} == {"ieee"}
    assert inside["older"] == (asked == "tf32",) * 2
    assert not inside["reduced"]
    assert switches() == before


def test_switches_come_back_after_an_error_and_whatever_they_were() -> None:
    torch.set_float32_matmul_precision("medium")
    before = switches()
    with pytest.raises(ZeroDivisionError), use_float32_precision("fp32", CPU):
        raise ZeroDivisionError
    assert switches() == before
    assert torch.get_float32_matmul_precision() == "medium"


def test_one_inside_another_puts_back_the_outer_one() -> None:
    with use_float32_precision("tf32", GPU):
        with use_float32_precision("fp32", GPU):
            assert switches()["conv"] == "ieee"
        assert switches()["conv"] == "tf32"


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_an_update_computes_forwards_and_backwards_as_asked(asked: Precision) -> None:
    live = Live(micro_recipe(precision=asked), 3, 1, WorkerContext(device=CPU))
    last: Any = live.detector.network.get_submodule("backbone.body.layer4")
    seen: dict[str, Any] = {}

    def look(_: Any, __: Any, output: torch.Tensor) -> None:
        seen["forwards"], seen["type"] = switches(), output.dtype
        output.register_hook(lambda _: seen.__setitem__("backwards", switches()))

    last.register_forward_hook(look)
    target = {
        "boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
        "labels": torch.tensor([1]),
        "image_id": torch.tensor(1),
    }
    live.update([torch.rand(3, 64, 64)], [target], rate=0.01, step=0)

    assert seen["forwards"] == seen["backwards"]
    assert seen["forwards"]["conv"] == seen["forwards"]["matmul"] == "ieee"
    assert seen["type"] == (torch.bfloat16 if asked == "bf16" else torch.float32)


def test_an_fp32_run_is_the_same_after_a_tf32_job_and_inside_a_process_that_rounds(
    tmp_path: Path,
) -> None:
    config = micro_trial(micro_recipe(schedule__lengths=[2.0]))
    climb(config, tmp_path / "first", [2.0])
    with use_float32_precision("tf32", GPU):
        pass
    torch.set_float32_matmul_precision("medium")  # bfloat16 on CPUs that can
    climb(config, tmp_path / "second", [2.0])
    assert digests(tmp_path / "first", [2.0]) == digests(tmp_path / "second", [2.0])


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_scoring_computes_as_training_does(asked: Precision) -> None:
    recipe = micro_recipe(precision=asked)
    live = Live(recipe, 6, 1, WorkerContext(device=CPU))
    seen: list[Any] = []
    last = live.detector.network.get_submodule("backbone.body.layer4")
    last.register_forward_hook(lambda _, __, out: seen.append((out.dtype, switches()["conv"])))
    score_split(live.detector, micro_trial(recipe), "test", live.ctx)
    assert set(seen) == {(torch.bfloat16 if asked == "bf16" else torch.float32, "ieee")}


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_precision_is_read_back_and_written_down(asked: Precision, tmp_path: Path) -> None:
    recipe = micro_recipe(precision=asked, schedule__lengths=[2.0])
    climb(micro_trial(recipe), tmp_path, [2.0])
    effective = json.loads((tmp_path / "effective.json").read_text())["effective"]
    assert effective["precision"] == asked


def test_what_is_read_back_names_what_differs() -> None:
    assert read_precision(CPU) == "fp32"
    torch.set_float32_matmul_precision("medium")
    assert read_precision(CPU) == "fp32 in convolutions, bf16 in matrix products"
    with torch.autocast("cpu", torch.bfloat16):
        assert read_precision(CPU) == "bf16 in convolutions, bf16 beside bf16 in matrix products"
    with use_precision(micro_recipe(), CPU):
        assert read_precision(CPU) == "fp32"
    torch.set_float32_matmul_precision("highest")
    with FakeTensorMode():  # types alone: a GPU need not be there
        assert read_precision(GPU) == "tf32 in convolutions, fp32 in matrix products"
        with use_float32_precision("tf32", GPU):
            assert read_precision(GPU) == "tf32"
        with use_float32_precision("fp32", GPU):
            assert read_precision(GPU) == "fp32"


def test_tf32_on_a_cpu_is_refused_and_nothing_is_set() -> None:
    before = switches()
    with (
        pytest.raises(SpecError, match="'tf32'") as caught,
        use_precision(micro_recipe(precision="tf32"), CPU),
    ):
        functional.relu(torch.zeros(1))
    assert_says("training", "tf32 on a CPU", str(caught.value))
    assert switches() == before


@pytest.mark.parametrize("how", ["settings", "search"])
def test_a_study_of_tf32_without_gpus_is_refused_before_it_starts(how: str) -> None:
    given = {
        "settings": {"precision": "tf32"},
        "search": {"precision": {"choice": ["fp32", "tf32"]}},
    }
    tree: dict[str, Any] = {
        "study": "s",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}},
        how: given[how],
    }
    with pytest.raises(SpecError) as caught:
        check_study(validate(Study, tree, "s.yaml"), "s.yaml")
    assert_says("training", "study of tf32 without GPUs", str(caught.value))
    on_gpus = tree | {"resources": {"gpus_per_worker": 1}}
    check_study(validate(Study, on_gpus, "s.yaml"), "s.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_a_model_trained_in_tf32_looks_in_fp32_where_there_is_no_gpu(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = micro_trial(micro_recipe(schedule__lengths=[2.0]))
    train_config(config, tmp_path)
    content = load_checkpoint(tmp_path / MODEL_FILE)
    told = json.loads(content["config"])
    told["recipe"]["precision"] = "tf32"
    save_checkpoint(tmp_path / MODEL_FILE, content | {"config": json.dumps(told)})

    model = load_model(tmp_path)

    assert model.config.recipe.precision == "fp32"
    assert_says("training", "model of tf32 on a CPU", caplog.messages[-1])
