"""A teacher made by hand: its labels are a function of its weights and of the threshold."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.spec.assets import DetectorAsset, PseudoLabelsAsset
from rethink_ray.spec.errors import RecordError, SpecError
from rethink_ray.spec.recipe import InitSpec, LabelsSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import save_checkpoint
from rethink_ray.training.label_files import LABELS_FOLDER, are_whole, part_path
from rethink_ray.training.pseudo_labels import (
    TrainedTeacher,
    build_pseudo_labels,
    open_pseudo_labels,
)
from rethink_ray.training.starting import weights_file
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.groups import in_a_group
from tests.training.runs import stop_after

POOL_OF_NINE = MICRO_DATA.model_copy(
    update={"shapes": MICRO_DATA.shapes.model_copy(update={"unlabelled": 9})}
)
"""Nine images in batches of two are five batches."""


def teacher(**settings: Any) -> TrialConfig:
    return micro_trial(micro_recipe(**settings), data=POOL_OF_NINE)


def teacher_of(family: str) -> TrialConfig:
    settings = {"detector__family": family, "detector__detections": 4}
    return micro_trial(micro_recipe("tiny_faster_rcnn", **settings), data=POOL_OF_NINE)


def weights_of(config: TrialConfig) -> dict[str, torch.Tensor]:
    """Random ones, the class scores spread out so that a threshold cuts them somewhere."""
    detector = build_detector(
        config.recipe.detector, InitSpec(), config.num_categories, seed=config.seed
    )
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    name = "network.head.classification_head.cls_logits"
    generator = torch.Generator().manual_seed(1)
    state[f"{name}.weight"] = torch.randn(state[f"{name}.weight"].shape, generator=generator) * 0.1
    state[f"{name}.bias"] = torch.full_like(state[f"{name}.bias"], -3.0)
    return state


@pytest.fixture(scope="module")
def config() -> TrialConfig:
    torch.set_num_threads(1)
    return teacher()


def build(config: TrialConfig, folder: Path, **options: Any) -> Any:
    ctx = options.pop("ctx", WorkerContext(device=torch.device("cpu")))
    labels = LabelsSpec(kind="self_training", **options.pop("labels", {"threshold": 0.3}))
    taught = TrainedTeacher(config=config, weights=weights_of(config))
    return build_pseudo_labels(taught, labels, folder, ctx, **options)


def rows(folder: Path) -> list[dict[str, Any]]:
    parts = sorted((folder / LABELS_FOLDER).glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_only_what_scores_above_the_threshold_is_a_label(
    config: TrialConfig, tmp_path: Path
) -> None:
    low = build(config, tmp_path / "low", labels={"threshold": 0.2})
    high = build(config, tmp_path / "high", labels={"threshold": 0.3})
    assert min(row["score"] for row in rows(tmp_path / "low")) >= 0.2
    strict = [row for row in rows(tmp_path / "low") if row["score"] >= 0.3]
    assert rows(tmp_path / "high") == strict
    assert 0 < high.metrics["boxes"] < low.metrics["boxes"] == len(rows(tmp_path / "low"))


def test_the_account_adds_up(config: TrialConfig, tmp_path: Path) -> None:
    done = build(config, tmp_path, labels={"threshold": 0.3})
    told = done.metrics
    per_class = {k: v for k, v in told.items() if k.startswith("boxes/")}
    assert list(per_class)[:2] == ["boxes/circle", "boxes/square"]
    assert sum(per_class.values()) == told["boxes"]
    assert told["images"] == 9
    assert told["images_kept"] + told["images_empty"] == 9
    scores = [row["score"] for row in rows(tmp_path)]
    assert told["mean_score"] == pytest.approx(float(np.mean(scores)))
    assert done.refused == ""


def test_the_student_reads_what_the_teacher_found(config: TrialConfig, tmp_path: Path) -> None:
    done = build(config, tmp_path, labels={"threshold": 0.3})
    labels = open_pseudo_labels(config, tmp_path)
    assert len(labels.index) == done.metrics["images_kept"]
    assert labels.threshold == 0.3
    entries = [labels.index.entry(int(i)) for i in labels.index.image_ids]
    assert sum(len(entry.labels) for entry in entries) == done.metrics["boxes"]
    assert all("unlabelled" in entry.path for entry in entries)


def test_empty_images_are_kept_if_they_are_asked_for(config: TrialConfig, tmp_path: Path) -> None:
    one = build(config, tmp_path / "a", labels={"threshold": 0.55})
    all_of_them = build(config, tmp_path / "b", labels={"threshold": 0.55, "keep_empty": True})
    assert one.metrics["images_empty"] > 0, "the threshold is not high enough for this test"
    assert all_of_them.metrics["images_kept"] == 9
    assert len(open_pseudo_labels(config, tmp_path / "b").index) == 9


def test_a_teacher_that_finds_nothing_is_refused(config: TrialConfig, tmp_path: Path) -> None:
    done = build(config, tmp_path, labels={"threshold": 1.0})
    assert "9 images" in done.refused
    assert_says("training", "teacher that finds nothing", done.refused)
    assert done.metrics["mean_score"] == 0.0


def test_a_threshold_below_what_the_teacher_tells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"score_threshold = 0\.25"):
        build(teacher(detector__score_threshold=0.25), tmp_path, labels={"threshold": 0.2})


def test_stopped_at_any_batch_it_goes_on_to_the_same_files(
    config: TrialConfig, tmp_path: Path
) -> None:
    build(config, tmp_path / "whole", images_per_part=3)
    names = sorted(path.name for path in (tmp_path / "whole" / LABELS_FOLDER).iterdir())
    assert len(names) == 3  # 3 images are 2 batches: 4 + 4 + 1
    for asked in range(5):
        with pytest.raises(Stopped):
            build(config, tmp_path / "part", images_per_part=3, stop=stop_after(asked % 3))
    done = build(config, tmp_path / "part", images_per_part=3)
    for name in names:
        one, other = (tmp_path / f / LABELS_FOLDER / name for f in ("whole", "part"))
        assert one.read_bytes() == other.read_bytes()
    assert done.metrics["images"] == 9


def test_a_damaged_part_is_noticed_and_made_again(config: TrialConfig, tmp_path: Path) -> None:
    build(config, tmp_path, images_per_part=4)
    before = [part_path(tmp_path, number).read_bytes() for number in range(3)]
    middle = part_path(tmp_path, 1)
    middle.write_bytes(before[1][:60] + b"?" + before[1][61:])
    assert not are_whole(tmp_path)
    with pytest.raises(RecordError) as caught:
        open_pseudo_labels(config, tmp_path)
    text = str(caught.value).replace(str(tmp_path), "FOLDER")
    assert_says("training", "damaged labels", text)
    part_path(tmp_path, 2).unlink()
    build(config, tmp_path, images_per_part=4)
    assert [part_path(tmp_path, number).read_bytes() for number in range(3)] == before
    assert are_whole(tmp_path)


def test_masks_of_a_teacher_are_labels_too(tmp_path: Path) -> None:
    config = teacher_of("mask_rcnn")
    fresh = build_detector(config.recipe.detector, InitSpec(), config.num_categories, seed=3)
    labels = LabelsSpec(kind="self_training", threshold=0.0)
    ctx = WorkerContext(device=torch.device("cpu"))
    build_pseudo_labels(
        TrainedTeacher(config=config, weights=fresh.state_dict()), labels, tmp_path, ctx
    )
    split = open_pseudo_labels(config, tmp_path).index
    for image_id in map(int, split.image_ids):
        masks, boxes = split.masks(image_id), split.entry(image_id).boxes_xyxy
        assert masks.shape == (len(boxes), 64, 64)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            rows, columns = np.nonzero(mask)
            assert x0 - 1 <= columns.min() <= columns.max() <= x1 + 1
            assert y0 - 1 <= rows.min() <= rows.max() <= y1 + 1


def test_a_teacher_looks_at_the_pool_as_at_what_it_is_scored_on(
    config: TrialConfig, tmp_path: Path
) -> None:
    build(config, tmp_path / "plain")
    build(teacher(evaluation__flip=True), tmp_path / "mirrored")
    plain, mirrored = rows(tmp_path / "plain"), rows(tmp_path / "mirrored")
    assert plain != mirrored
    assert {row["image_id"] for row in plain} <= {row["image_id"] for row in mirrored}


def test_what_a_teacher_finds_does_not_depend_on_the_batch(
    config: TrialConfig, tmp_path: Path
) -> None:
    build(config, tmp_path / "two")
    build(teacher(batch_size=6), tmp_path / "six")
    assert rows(tmp_path / "two") == rows(tmp_path / "six")


def label_in_a_group(folder: Path, rank: int, world_size: int) -> dict[str, float]:
    ctx = WorkerContext(device=torch.device("cpu"), rank=rank, world_size=world_size)
    found: dict[str, float] = build(teacher(), folder / "asset", ctx=ctx).metrics
    return found


def test_workers_find_what_one_process_finds(config: TrialConfig, tmp_path: Path) -> None:
    alone = build(config, tmp_path / "alone").metrics
    for found in in_a_group(label_in_a_group, tmp_path / "group", 2, 2):
        assert found == alone


def test_a_pool_that_does_not_fit_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = teacher()
    asset = PseudoLabelsAsset(
        teacher=DetectorAsset(kind="teacher", trained=config), labels=LabelsSpec(threshold=0.3)
    )
    folder = tmp_path / asset.teacher.key
    save_checkpoint(weights_file(asset.teacher, folder), {"model": weights_of(config)})
    (folder / "DONE").write_text("{}")

    def too_much(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(MultiViewDetector, "detect", too_much)
    done = build_asset(asset, config.data, tmp_path)
    assert done.refused.startswith("infeasible: ")
    assert "batch_size 2" in done.refused
    assert "20 GiB" in done.refused
