"""On pictures of two shapes: scores do not depend on neighbours, runs repeat bit for bit."""

from pathlib import Path

import pytest
import torch

from rethink_ray.data.loader import EvalImages
from rethink_ray.data.samples import scale_pixels
from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.records.detections import read_detections
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.live import Live
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.predict import build_views
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import micro_recipe, micro_trial
from tests.mixed_scenes import write_mixed_scenes
from tests.training.groups import in_a_group
from tests.training.runs import climb, digest, numbers, stop_after

ALONE = WorkerContext(device=torch.device("cpu"))
FAMILIES = ("tiny_retinanet", "tiny_fcos", "tiny_faster_rcnn", "tiny_cascade_rcnn")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    torch.set_num_threads(1)
    return write_mixed_scenes(tmp_path_factory.mktemp("mixed"))


def recipe_of(family: str = "tiny_retinanet", **settings: object) -> Recipe:
    sizes = {"detector__max_side_px": 96, "detector__norm": "gn", "batch_size": 4}
    return micro_recipe(family, **(sizes | settings))


def scored(
    detector: Detector,
    recipe: Recipe,
    data: DataSpec,
    ctx: WorkerContext,
    path: Path,
    workers: int = 0,
) -> str:
    """COCO's numbers; text makes NaN equal to itself."""
    config = micro_trial(recipe, data=data, loader_workers=workers)
    return repr(score_split(detector, config, "val", ctx, detections=path))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_does_not_depend_on_the_batch_it_is_taken_in(
    scenes: DataSpec, tmp_path: Path, family: str
) -> None:
    detector = Live(recipe_of(family), 6, 0, ALONE).detector
    scores = [
        scored(detector, recipe_of(family, batch_size=size), scenes, ALONE, path, workers)
        for size, workers, path in (
            (1, 0, tmp_path / "1.parquet"),
            (4, 2, tmp_path / "2.parquet"),
            (6, 0, tmp_path / "3.parquet"),
        )
    ]
    assert scores[0] == scores[1] == scores[2]
    tables = [read_detections(tmp_path / f"{number}.parquet") for number in (1, 2, 3)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_a_rung_scores_what_is_found_in_each_picture_alone(
    scenes: DataSpec, tmp_path: Path
) -> None:
    """``predict`` looks at one picture at a time."""
    detector = Live(recipe_of(), 6, 0, ALONE).detector
    scored(detector, recipe_of(), scenes, ALONE, tmp_path / "kept.parquet")
    kept = read_detections(tmp_path / "kept.parquet").to_pydict()
    index = open_split(scenes, "val")
    images = EvalImages(index)
    for image_id in map(int, index.image_ids):
        alone = detector.detect([scale_pixels(images[image_id])])[0]["scores"].tolist()
        rows = [
            score
            for row, score in zip(kept["image_id"], kept["score"], strict=True)
            if row == image_id and score is not None
        ]
        assert sorted(rows) == sorted(alone)


def test_predict_looks_in_the_views_that_a_rung_was_scored_in(scenes: DataSpec) -> None:
    recipe = recipe_of(evaluation__flip=True)
    config = micro_trial(recipe, data=scenes)
    detector = Live(recipe, 6, 0, ALONE).detector
    model = TrainedModel(
        detector=detector, config=config, length=2.0, categories=("circle",), ctx=ALONE
    )
    views = build_views(model)
    assert [view.mirrored for view in views.views] == [False, True]
    image = scale_pixels(EvalImages(open_split(scenes, "val"))[1])
    scoring = MultiViewDetector(detector, recipe.evaluation, recipe.detector, [])
    assert torch.equal(views.detect([image])[0]["scores"], scoring.detect([image])[0]["scores"])


def scored_by_workers(folder: Path, rank: int, world_size: int) -> str:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size)
    data = DataSpec.model_validate_json((folder / "data.json").read_text())
    detector = Live(recipe_of(), 6, 0, ALONE).detector
    return scored(detector, recipe_of(), data, ctx, folder / f"{rank}.parquet")


def test_workers_score_what_one_process_scores(scenes: DataSpec, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(scenes.model_dump_json())
    expected = scored(
        Live(recipe_of(), 6, 0, ALONE).detector, recipe_of(), scenes, ALONE, tmp_path / "kept"
    )
    for scores in in_a_group(scored_by_workers, tmp_path, 2, 2):
        assert scores == expected


def test_a_branch_equals_a_stand_alone_run_and_a_stop_changes_nothing(
    scenes: DataSpec, tmp_path: Path
) -> None:
    config = micro_trial(recipe_of(), data=scenes)
    ladder = climb(config, tmp_path / "ladder", (2.0, 3.0))
    alone = climb(config, tmp_path / "alone", (3.0,))
    assert digest(tmp_path / "ladder", 3.0) == digest(tmp_path / "alone", 3.0)
    with pytest.raises(Stopped):
        climb(config, tmp_path / "stopped", (3.0,), stop=stop_after(5))
    assert numbers(climb(config, tmp_path / "stopped", (3.0,))) == numbers(alone)
    assert digest(tmp_path / "stopped", 3.0) == digest(tmp_path / "ladder", 3.0)
    assert repr(dict(ladder[1].metrics)) == repr(dict(alone[0].metrics))
