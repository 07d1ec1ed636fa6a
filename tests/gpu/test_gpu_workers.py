"""Two workers of a run, each with a pretended GPU: what they exchange is on their GPUs.

Messages go through gloo; a CPU tensor is refused as NCCL refuses it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from rethink_ray.records.types import RungDone
from rethink_ray.spec.assets import pseudo_labels_of
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.label_files import read_all
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.gpu.cuda_tensors import GPU, MixedDevices
from tests.gpu.gpu_runs import EVERY, on_gpu
from tests.gpu.pretended_gpu import pretend_gpu
from tests.training.groups import in_a_group
from tests.training.runs import climb, digests, stop_after
from tests.training.test_self_training import built, taught

pytestmark = pytest.mark.slow
LENGTHS = (2.0, 3.0)
Facts = list[tuple[float, int, int, float]]


def facts(rungs: Sequence[RungDone]) -> Facts:
    """Length, updates, new updates and loss of each rung."""
    return [(r.length, r.steps, r.steps_new, r.metrics["train/loss"]) for r in rungs]


def climb_on_cpus(folder: Path, rank: int, config: TrialConfig, assets: Path) -> Facts:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=dist.get_world_size())
    return facts(climb(config, folder, LENGTHS, ctx=ctx, assets=assets))


def climb_on_gpus(folder: Path, rank: int, config: TrialConfig, assets: Path) -> Facts:
    """Stopped again and again by the second worker."""
    ctx = WorkerContext(device=GPU, rank=rank, world_size=dist.get_world_size())
    with pretend_gpu():
        for _ in range(100):
            stop = stop_after(EVERY if rank else 10_000)
            try:
                rungs = climb(on_gpu(config), folder, LENGTHS, ctx=ctx, stop=stop, assets=assets)
                return facts(rungs)
            except Stopped:
                continue
    raise AssertionError("it never gets through")


def share_a_cpu_tensor(folder: Path, rank: int) -> str:
    with pretend_gpu():
        total = torch.ones(2, device=GPU)
        dist.all_reduce(total)
        try:
            dist.all_reduce(torch.ones(2))
        except MixedDevices:
            return f"refused after {total.tolist()}"
    return "shared"


def test_a_cpu_tensor_is_no_message_between_gpus(tmp_path: Path) -> None:
    assert in_a_group(share_a_cpu_tensor, tmp_path, 2) == ["refused after [2.0, 2.0]"] * 2


@pytest.mark.parametrize("name", ["tiny_retinanet", "tiny_cascade_mask_rcnn"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_gpus_train_what_two_cpus_train(tmp_path: Path, name: str, precision: str) -> None:
    settings = {"batch_size": 4, "precision": precision, "optimizer__ema": {"half_life": 0.5}}
    assert_same(micro_trial(micro_recipe(name, **settings), workers=2), tmp_path)


def test_micro_batches_of_two_gpus(tmp_path: Path) -> None:
    recipe = micro_recipe("tiny_faster_rcnn", batch_size=8)
    assert_same(micro_trial(recipe, workers=2, images_per_step=2), tmp_path)


def test_a_student_of_two_gpus_is_that_of_two_cpus_with_the_same_labels(tmp_path: Path) -> None:
    """A GPU's own labels differ by rounding, and L1's gradient is the sign of a difference."""
    config, assets = taught(workers=2), tmp_path / "assets"
    of_cpu, of_gpu = (pseudo_labels_of(one) for one in (config, on_gpu(config)))
    assert of_cpu is not None
    assert of_gpu is not None
    built(config, assets)
    with pretend_gpu():
        built(on_gpu(config), assets)
    labels, gpu_labels = (read_all(assets / spec.key).by_image for spec in (of_cpu, of_gpu))
    for image_id, one in labels.items():
        other = gpu_labels[image_id]
        assert other.labels.tolist() == one.labels.tolist()
        assert other.boxes_xyxy == pytest.approx(one.boxes_xyxy, abs=1e-4)  # pixels
        assert other.scores == pytest.approx(one.scores, abs=1e-6)
    shutil.rmtree(assets / of_gpu.key)
    shutil.copytree(assets / of_cpu.key, assets / of_gpu.key)
    assert_same(config, tmp_path, assets)


def test_batch_statistics_of_two_gpus_are_those_of_two_cpus_but_for_rounding(
    tmp_path: Path,
) -> None:
    recipe = micro_recipe("tiny_faster_rcnn", batch_size=4, detector__norm="sync_bn")
    config = micro_trial(recipe, workers=2)
    [of_cpu, _] = in_a_group(climb_on_cpus, tmp_path / "cpu", 2, config, tmp_path)
    [of_gpu, _] = in_a_group(climb_on_gpus, tmp_path / "gpu", 2, config, tmp_path)
    for ours, theirs in zip(of_gpu, of_cpu, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def assert_same(config: TrialConfig, folder: Path, assets: Path | None = None) -> None:
    assets = assets or folder / "assets"
    of_cpu = in_a_group(climb_on_cpus, folder / "cpu", 2, config, assets)
    of_gpu = in_a_group(climb_on_gpus, folder / "gpu", 2, config, assets)
    assert of_gpu == of_cpu
    assert digests(folder / "gpu", LENGTHS) == digests(folder / "cpu", LENGTHS)
