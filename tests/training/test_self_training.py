"""A student's run keeps the invariants of every run: its averages belong to its state."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from rethink_ray.records.types import RungDone
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.resolve import TrialConfig, with_seeds
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.live import Live
from rethink_ray.training.run import train_config
from rethink_ray.training.starting import load_start
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.groups import in_a_group
from tests.training.runs import (
    climb,
    climb_with_stops,
    digest,
    digests,
    in_another_process,
    numbers,
    stop_after,
)

DATA = MICRO_DATA.model_copy(
    update={"shapes": MICRO_DATA.shapes.model_copy(update={"unlabelled": 6})}
)
LENGTHS = (2.0, 3.0)
ALONE = WorkerContext(device=torch.device("cpu"))


def taught(kind: str = "self_training", family: str = "tiny_retinanet", **more: Any) -> TrialConfig:
    """A run whose teacher trained for eight updates; its five best boxes an image are labels."""
    settings: dict[str, Any] = {"detector__detections": 5, "batch_size": 4}
    workers = more.pop("workers", 0)
    teacher = micro_trial(micro_recipe(family, schedule__lengths=[2.0], **settings), data=DATA)
    labels = {"labels__kind": kind, "labels__threshold": 0.0, "labels__average": 0.5}
    recipe = micro_recipe(family, **(settings | labels | more))
    run = micro_trial(recipe, data=DATA, workers=workers)
    return with_seeds(run, 1, 7, teacher)


def built(config: TrialConfig, assets: Path) -> Path:
    for spec in assets_of(config):
        done = build_asset(spec, config.data, assets)
        assert not done.refused
    return assets


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a RetinaNet's teacher; every student of these tests has the same."""
    torch.set_num_threads(1)
    return built(taught(), tmp_path_factory.mktemp("assets"))


Whole = tuple[list[RungDone], Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, assets: Path) -> Whole:
    """A student's rungs without a stop, and their folder, which is only read."""
    folder = tmp_path_factory.mktemp("whole")
    return climb(taught(), folder, LENGTHS, assets=assets), folder


def test_a_students_branch_equals_its_stand_alone_run(
    tmp_path: Path, assets: Path, whole: Whole
) -> None:
    ladder, folder = whole
    alone = climb(taught(), tmp_path / "alone", LENGTHS[1:], assets=assets)
    assert digest(tmp_path / "alone", 3.0) == digest(folder, 3.0)
    assert numbers(alone) == numbers(ladder[1:])


def test_a_student_that_is_stopped_often_goes_on_to_the_same_bits(
    tmp_path: Path, assets: Path, whole: Whole
) -> None:
    parts, stops = climb_with_stops(taught(), tmp_path / "parts", LENGTHS, every=4, assets=assets)
    assert stops >= 3
    assert numbers(parts) == numbers(whole[0])
    assert digests(tmp_path / "parts", LENGTHS) == digests(whole[1], LENGTHS)


def climb_until_killed(cache: str, folder: Path, assets: Path, steps_before_death: int) -> None:
    def die() -> bool:
        if next(questions) == steps_before_death:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    os.environ["RETHINK_RAY_CACHE"] = cache
    questions = iter(range(1_000_000))
    climb(taught(), folder, LENGTHS, stop=die, save_seconds=0.0, assets=assets)


def test_a_killed_student_is_continued_bit_for_bit(
    tmp_path: Path, assets: Path, whole: Whole
) -> None:
    folder = tmp_path / "killed"
    process = in_another_process(
        climb_until_killed, os.environ["RETHINK_RAY_CACHE"], folder, assets, 10
    )
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert numbers(climb(taught(), folder, LENGTHS, assets=assets)) == numbers(whole[0])
    assert digests(folder, LENGTHS) == digests(whole[1], LENGTHS)


def test_the_averages_matter_and_stand_in_the_checkpoint(tmp_path: Path, assets: Path) -> None:
    with pytest.raises(Stopped):
        climb(taught(), tmp_path / "a", LENGTHS, assets=assets, stop=stop_after(4))
    [trunk] = (tmp_path / "a").glob("trunk-*.pt")
    means = load_checkpoint(trunk)["balance"]["means"]
    assert means.shape == (2,)
    assert bool((means > 0).all())
    plain = taught(labels__normalise=False)
    climb(taught(), tmp_path / "b", LENGTHS[:1], assets=assets)
    climb(plain, tmp_path / "c", LENGTHS[:1], assets=assets)
    assert digest(tmp_path / "b", 2.0) != digest(tmp_path / "c", 2.0)


def test_loader_workers_change_nothing_for_a_student(tmp_path: Path, assets: Path) -> None:
    none = climb(taught(), tmp_path / "none", LENGTHS[:1], assets=assets)
    config = taught()
    resources = config.resources.model_copy(update={"loader_workers": 2})
    two = climb(
        config.model_copy(update={"resources": resources}),
        tmp_path / "two",
        LENGTHS[:1],
        assets=assets,
    )
    assert numbers(two) == numbers(none)
    assert digest(tmp_path / "two", 2.0) == digest(tmp_path / "none", 2.0)


def test_a_student_starts_as_its_teacher_ended_or_as_init_says(assets: Path) -> None:
    teacher, _ = assets_of(taught())
    weights = load_checkpoint(assets / teacher.key / "models" / "2x.pt")["model"]
    fresh = Live(taught().recipe, 6, 1, ALONE).detector.state_dict()
    for config, expected in (
        (taught(), weights),
        (taught("continued"), weights),
        (taught(labels__start="init"), fresh),
    ):
        start = load_start(config, assets, ALONE)
        live = Live(config.recipe, 6, config.seed, ALONE, start)
        state = live.detector.state_dict()
        assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_the_control_learns_from_human_labels_alone_for_as_many_updates(
    tmp_path: Path, assets: Path, whole: Whole
) -> None:
    student, folder = whole
    control = climb(taught("continued"), tmp_path / "control", LENGTHS, assets=assets)
    assert [rung.steps for rung in control] == [rung.steps for rung in student]
    assert len(assets_of(taught("continued"))) == 1
    assert digests(tmp_path / "control", LENGTHS) != digests(folder, LENGTHS)


def test_a_teacher_of_another_shape_is_named(assets: Path) -> None:
    student = taught(detector__neck_channels=32)
    start = load_start(student, assets, ALONE)
    with pytest.raises(SpecError, match=r"labels\.start: teacher"):
        Live(student.recipe, 6, 1, ALONE, start)


def test_a_student_alone_reproduces_its_numbers(tmp_path: Path, assets: Path) -> None:
    whole = climb(taught(), tmp_path / "whole", LENGTHS, assets=assets, splits=("val", "test"))
    again = train_config(taught(), tmp_path / "again", lengths=LENGTHS)
    assert numbers(again) == numbers(whole)
    assert digests(tmp_path / "again", LENGTHS) == digests(tmp_path / "whole", LENGTHS)


def test_damaged_labels_are_made_again(tmp_path: Path, assets: Path) -> None:
    whole = climb(taught(), tmp_path / "whole", LENGTHS[:1], assets=assets)
    mine = shutil.copytree(assets, tmp_path / "assets")
    [part] = mine.glob("pseudo_labels-*/labels/part-*.parquet")
    before = part.read_bytes()
    part.write_bytes(before[:-9])
    again = climb(taught(), tmp_path / "again", LENGTHS[:1], assets=mine)
    assert part.read_bytes() == before
    assert numbers(again) == numbers(whole)


def climb_with_a_stop(folder: Path, rank: int, assets: Path) -> list[Any]:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=dist.get_world_size())
    config = taught(workers=2)
    whole = climb(config, folder / "whole", LENGTHS, assets=assets, ctx=ctx)
    with pytest.raises(Stopped):
        climb(config, folder / "parts", LENGTHS, assets=assets, ctx=ctx, stop=stop_after(1))
    parts = climb(config, folder / "parts", LENGTHS, assets=assets, ctx=ctx)
    return [numbers(whole), numbers(parts)]


def test_workers_share_a_students_averages_through_a_stop(tmp_path: Path, assets: Path) -> None:
    first, second = in_a_group(climb_with_a_stop, tmp_path, 2, assets)
    assert first[0] == first[1] == second[0] == second[1]
    assert digests(tmp_path / "parts", LENGTHS) == digests(tmp_path / "whole", LENGTHS)
