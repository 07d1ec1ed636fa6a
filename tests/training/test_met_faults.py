"""A rung records the faults of its training images and of the splits that scored it."""

from pathlib import Path

from rethink_ray.spec.regime import DataSpec, UnlabelledSpec
from rethink_ray.training.machinery import Machinery
from rethink_ray.training.trial_files import RunFolders
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_trial
from tests.data.data_files import coco, coco_spec, write_coco, write_picture


def lossy(folder: Path) -> DataSpec:
    """Of train, one of three boxes has no pixels and one marks a crowd; val lacks a picture."""
    train = coco({1: [("cat", 2, 2, 5, 5)], 2: [("cat", 25, 2, 5, 5)], 3: [("dog", 2, 2, 5, 5)]})
    train["annotations"][2]["iscrowd"] = 1
    write_coco(folder, "train", train)
    for split in ("val", "test"):
        write_coco(folder, split, coco({1: [("cat", 2, 2, 5, 5)], 2: [("dog", 2, 2, 5, 5)]}))
    (folder / "val" / "2.png").unlink()
    return coco_spec(folder, "train", "val", "test")


def machinery_on(data: DataSpec, folder: Path) -> Machinery:
    config = micro_trial(data=data)
    folders = RunFolders(trial=folder / "trial", assets=folder / "assets", models=None)
    return Machinery(config, folders, WorkerContext.local(config))


def test_faults_are_named_by_split_and_kind(tmp_path: Path) -> None:
    run = machinery_on(lossy(tmp_path), tmp_path)
    assert run.count_met_faults(("val", "test")) == {
        "train/box_degenerate": 1,
        "val/missing_image": 1,
    }
    assert run.count_met_faults(("test",)) == {"train/box_degenerate": 1}


def test_images_that_break_during_the_run_are_counted_once_each(tmp_path: Path) -> None:
    run = machinery_on(lossy(tmp_path), tmp_path)
    run.broken_images |= {1, 3}
    assert run.count_met_faults(())["train/broken_since_indexed"] == 2


def test_pictures_that_a_pool_lost_are_counted_in_runs_that_learn_from_the_pool(
    tmp_path: Path,
) -> None:
    for number in range(3):
        write_picture(tmp_path / "pool" / f"{number}.png", value=number)
    (tmp_path / "pool" / "2.png").write_bytes(b"")
    data = lossy(tmp_path).model_copy(
        update={"unlabelled": UnlabelledSpec(images=str(tmp_path / "pool"))}
    )
    run = machinery_on(data, tmp_path)
    assert run.count_met_faults(()) == {"train/box_degenerate": 1}
    labels = run.config.recipe.labels.model_copy(update={"kind": "self_training"})
    recipe = run.config.recipe.model_copy(update={"labels": labels})
    run.config = run.config.model_copy(update={"recipe": recipe})
    assert run.count_met_faults(()) == {
        "train/box_degenerate": 1,
        "unlabelled/unreadable_image": 1,
    }
