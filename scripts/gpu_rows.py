"""The rows of ``benchmark_gpu.py`` but those that train against torchvision.

Each imports what it needs when it runs, so that one without its packages fails alone.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

Numbers = dict[str, Any]
ROWS: dict[str, Callable[["Bench"], Iterator[tuple[str, "Measure"]]]] = {}
"""Group of rows -> its rows."""
Measure = Callable[[], Numbers]


@dataclass(slots=True)
class Bench:
    """What all rows share."""

    device: torch.device
    small: bool
    turns: int
    ends_at: float
    """On ``time.monotonic``; no row begins later."""
    peak_flops: float | None = None
    """Measured operations a second in bf16."""

    def wait(self) -> None:
        """Return once the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any], times: int = 1) -> float:
        """Mean seconds of one call."""
        self.wait()
        started = time.perf_counter()
        for _ in range(times):
            call()
        self.wait()
        return (time.perf_counter() - started) / times


def group(function: Callable[[Bench], Iterator[tuple[str, Measure]]]) -> Any:
    """Register a group of rows under the name of its function."""
    ROWS[function.__name__] = function
    return function


@group
def machine(bench: Bench) -> Iterator[tuple[str, Measure]]:
    yield "card", lambda: describe_machine(bench)
    yield "matrix products", lambda: measure_products(bench)
    yield "launches and copies", lambda: measure_copies(bench)


def describe_machine(bench: Bench) -> Numbers:
    numbers: Numbers = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if bench.device.type == "cuda":
        card = torch.cuda.get_device_properties(bench.device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        numbers |= {"card": card.name, "memory_gib": card.total_memory / 2**30, "driver": driver}
    return numbers


def measure_products(bench: Bench) -> Numbers:
    """TFLOP a second of square matrices."""
    side = 256 if bench.small else 8192
    numbers: Numbers = {"side": side}
    for name in ("bfloat16", "float32"):
        one = torch.randn(side, side, device=bench.device, dtype=getattr(torch, name))
        product = partial(torch.matmul, one, one)
        bench.seconds(product, 3)
        rate = 2 * side**3 / bench.seconds(product, 10)
        numbers[f"{name}_tflops"] = rate / 1e12
        if name == "bfloat16":
            bench.peak_flops = rate
    return numbers


def measure_copies(bench: Bench) -> Numbers:
    num = 2**20 if bench.small else 2**28
    one, block = torch.zeros(1, device=bench.device), torch.zeros(num, dtype=torch.uint8)
    there = block.to(bench.device)
    numbers = {
        "launch_us": 1e6 * bench.seconds(lambda: one.add_(1.0), 1000),
        "pageable_to_device_gb_s": num / 1e9 / bench.seconds(lambda: block.to(bench.device), 3),
        "device_to_host_gb_s": num / 1e9 / bench.seconds(lambda: there.to("cpu", copy=True), 3),
    }
    if bench.device.type == "cuda":
        pinned = block.pin_memory()
        rate = num / 1e9 / bench.seconds(lambda: pinned.to(bench.device, non_blocking=True), 3)
        numbers["pinned_to_device_gb_s"] = rate
    return numbers


@group
def parity(bench: Bench) -> Iterator[tuple[str, Measure]]:
    """One update in fp32 on the CPU and on the device, from the same weights."""
    families = ("retinanet", "fcos", "faster_rcnn", "cascade_rcnn", "mask_rcnn")
    for family in (*families, "cascade_mask_rcnn", "keypoint_rcnn"):
        yield family, lambda family=family: compare_devices(bench, f"tiny_{family}")  # type: ignore[misc]


def compare_devices(bench: Bench, name: str) -> Numbers:
    from benchmark_freezing import build_batch

    from rethink_ray.spec.recipes import build_recipe
    from rethink_ray.training.live import Live
    from rethink_ray.training.worker_context import WorkerContext

    recipe = build_recipe(name)
    images, targets = build_batch(recipe)
    losses, moved = [], []
    for device in (torch.device("cpu"), bench.device):
        live = Live(recipe, 6, 0, WorkerContext(device=device))
        before = torch.cat([p.detach().flatten().cpu() for p in live.trainable])
        loss = live.update(images, targets, rate=0.01, step=0)
        after = torch.cat([p.detach().flatten().cpu() for p in live.trainable])
        losses.append(float(loss))
        moved.append(after - before)
    difference = (moved[1] - moved[0]).norm() / moved[0].norm()
    return {"loss": losses, "update_relative_difference": float(difference)}


@group
def ladder(bench: Bench) -> Iterator[tuple[str, Measure]]:
    yield "whole against resumed, deterministic", lambda: compare_ladders(bench)


def compare_ladders(bench: Bench) -> Numbers:
    """Whether a ladder that was stopped and went on has the weights of one that was not."""
    from rethink_ray.training.ladder import train_ladder
    from rethink_ray.training.stopping import Interrupts, Stopped
    from rethink_ray.training.trial_files import RunFolders, model_path

    config = build_trial(bench, deterministic=True)
    lengths = config.recipe.schedule.lengths

    def climb(folder: Path, stop_at: int | None) -> str:
        calls = iter(range(10**9))
        stop = (lambda: False) if stop_at is None else (lambda: next(calls) == stop_at)
        folders = RunFolders(trial=folder, assets=folder / "assets", models=folder / "models")
        list(
            train_ladder(
                config, lengths, folders, splits=("val",), interrupts=Interrupts(stop=stop)
            )
        )
        return hashlib.sha256(read_weights(model_path(folder / "models", lengths[-1]))).hexdigest()

    with tempfile.TemporaryDirectory() as root:
        whole = climb(Path(root) / "whole", None)
        try:
            climb(Path(root) / "stopped", config.recipe.schedule.steps(lengths[0]) // 2)
            was_stopped = False
        except Stopped:
            was_stopped = True
        resumed = climb(Path(root) / "stopped", None)
    return {"was_stopped": was_stopped, "equal": whole == resumed}


def read_weights(path: Path) -> bytes:
    from rethink_ray.training.checkpoint import load_checkpoint

    state = load_checkpoint(path)["model"]
    return b"".join(state[name].contiguous().numpy().tobytes() for name in sorted(state))


def build_trial(
    bench: Bench,
    recipe_name: str = "tiny_retinanet",
    settings: Mapping[str, Any] = MappingProxyType({}),
    *,
    image_px: int = 64,
    loader_workers: int = 0,
    deterministic: bool = False,
) -> Any:
    """A trial on drawn scenes, as ``train`` would run it."""
    from rethink_ray.data.facts import gather_facts
    from rethink_ray.spec.recipes import build_recipe
    from rethink_ray.spec.regime import DataSpec, RegimeSpec, ShapesSpec
    from rethink_ray.spec.resolve import TrialConfig
    from rethink_ray.spec.settings import with_settings
    from rethink_ray.spec.study import ResourceSpec

    plain = {
        "schedule": {"unit": 8, "lengths": [2.0, 3.0], "warmup": 2},
        "schedule.decay.before_end": [0.75, 0.25],
    }
    recipe = with_settings(build_recipe(recipe_name), plain | dict(settings), "benchmark")
    shapes = ShapesSpec(train=64, val=8, test=8, image_px=image_px)
    data = DataSpec(dataset="shapes", shapes=shapes)
    facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    return TrialConfig(
        study="benchmark",
        regime="full",
        arm="scratch",
        images="all",
        data=data,
        recipe=recipe,
        resources=ResourceSpec(
            gpus_per_worker=1.0 if bench.device.type == "cuda" else 0.0,
            loader_workers=loader_workers,
            deterministic=deterministic,
        ),
        seed=0,
        data_fingerprint=facts.fingerprint,
        regime_digest=facts.regime_digests["full"],
        upstream_fingerprint=facts.upstream_fingerprint,
        num_categories=len(facts.categories),
        num_images=facts.regime_sizes["full"],
    )


@group
def scoring(bench: Bench) -> Iterator[tuple[str, Measure]]:
    for family in ("retinanet", "mask_rcnn"):
        yield family, lambda family=family: measure_scoring(bench, family)  # type: ignore[misc]


def measure_scoring(bench: Bench, family: str) -> Numbers:
    from gpu_twins import build_batch, build_ours, recipe_of

    recipe = recipe_of(family, "bf16", bench.small, **{"detector.score_threshold": 0.0})
    num, size = (2, (64, 96)) if bench.small else (16, (800, 1333))
    batch = build_batch([size] * num, with_masks=False)
    live, _ = build_ours(recipe, batch, bench.device)
    images = [image.to(bench.device) for image in batch[0]]
    from rethink_ray.training.precision import use_precision

    def detect() -> None:
        with use_precision(recipe, bench.device), torch.no_grad():
            live.detector.detect(images)

    detect()
    return {"images_s": num / bench.seconds(detect, 1 if bench.small else 3)}


@group
def loader(bench: Bench) -> Iterator[tuple[str, Measure]]:
    levels = ("s1",) if bench.small else ("s1", "s4")
    for level in levels:
        for workers in (0, 1) if bench.small else (0, 3, 12):
            name = f"{level}, {workers} workers"
            yield name, lambda a=level, w=workers: measure_loader(bench, a, w)  # type: ignore[misc]


def measure_loader(bench: Bench, level: str, workers: int) -> Numbers:
    """Images a second at 800 px with masks, or at 64 px."""
    from rethink_ray.training.inputs import open_trial_data
    from rethink_ray.training.worker_context import WorkerContext

    shorter, longer = (64, 64) if bench.small else (800, 1333)
    settings = {"detector.min_side_px": shorter, "detector.max_side_px": longer}
    config = build_trial(
        bench,
        "tiny_mask_rcnn",
        settings | {"augment.level": level},
        image_px=64 if bench.small else 640,
        loader_workers=workers,
    )
    batches = open_trial_data(config).batches(0, WorkerContext(device=bench.device))
    for _ in range(2):
        next(batches)
    times = 2 if bench.small else 10
    return {"images_s": config.recipe.batch_size / bench.seconds(lambda: next(batches), times)}


@group
def saving(bench: Bench) -> Iterator[tuple[str, Measure]]:
    yield "mask_rcnn checkpoint", lambda: measure_saving(bench)


def measure_saving(bench: Bench) -> Numbers:
    from gpu_twins import build_batch, build_ours, recipe_of

    from rethink_ray.training.checkpoint import save_checkpoint

    size = (64, 96) if bench.small else (800, 1333)
    recipe = recipe_of("mask_rcnn", "bf16", bench.small)
    live, update = build_ours(recipe, build_batch([size] * 2, with_masks=True), bench.device)
    update()
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "checkpoint.pt"
        seconds = bench.seconds(lambda: save_checkpoint(path, live.state()))
        return {"seconds": seconds, "mb": path.stat().st_size / 1e6}


@group
def sharing(bench: Bench) -> Iterator[tuple[str, Measure]]:
    """Processes that share the device, each with a tiny RetinaNet of its own."""
    counts = (1, 2) if bench.small else (1, 2, 4, 8)
    for num in counts:
        yield f"{num} processes", lambda num=num: measure_sharing(bench, num)  # type: ignore[misc]
    if bench.device.type == "cuda":
        for num in counts[1:]:
            yield f"{num} processes, MPS", lambda num=num: measure_with_mps(bench, num)  # type: ignore[misc]


def measure_sharing(
    bench: Bench, num: int, environment: Mapping[str, str] | None = None
) -> Numbers:
    script = Path(__file__).with_name("benchmark_gpu.py")
    command = [sys.executable, str(script), "--one-process", "--device", bench.device.type]
    command += ["--small"] if bench.small else []
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(num)
    ]
    rates = [float(process.communicate(timeout=300)[0]) for process in running]
    return {"updates_s": sum(rates), "updates_s_each": rates}


def measure_with_mps(bench: Bench, num: int) -> Numbers:
    """With NVIDIA's multi-process service, which is started and ended here."""
    with tempfile.TemporaryDirectory() as pipes:
        folders = {"CUDA_MPS_PIPE_DIRECTORY": pipes, "CUDA_MPS_LOG_DIRECTORY": pipes}
        environment = os.environ | folders
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True, env=environment)
        try:
            return measure_sharing(bench, num, environment)
        finally:
            subprocess.run(
                ["nvidia-cuda-mps-control"], input="quit\n", text=True, env=environment, check=True
            )


def run_one_process(bench: Bench) -> float:
    """Updates a second of a tiny RetinaNet for a few seconds."""
    from benchmark_freezing import build_batch

    from rethink_ray.spec.recipes import build_recipe
    from rethink_ray.training.live import Live
    from rethink_ray.training.worker_context import WorkerContext

    recipe = build_recipe("tiny_retinanet")
    live = Live(recipe, 6, 0, WorkerContext(device=bench.device))
    images, targets = build_batch(recipe)
    torch.set_num_threads(1)

    def update() -> None:
        live.update(images, targets, rate=1e-4, step=0)

    bench.seconds(update, 3)
    return 1.0 / bench.seconds(update, 3 if bench.small else 200)
