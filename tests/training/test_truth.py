"""What a detector is scored against: objects that can be found, and masks that are known."""

import json
from pathlib import Path

import numpy as np

from rethink_ray.data.splits import open_split
from rethink_ray.training.evaluate import build_truth
from tests.data.data_files import coco, coco_spec, write_coco


def test_objects_without_a_part_of_the_image_do_not_count_as_missed(tmp_path: Path) -> None:
    boxes = [("cat", 2, 2, 5, 5), ("cat", 7, 7, -5, -5), ("dog", 30, 2, 5, 5), ("dog", 9, 3, 1, 1)]
    write_coco(tmp_path, "train", coco({1: boxes}))
    index = open_split(coco_spec(tmp_path), "train")
    truth = build_truth(index.entry(1), index, "faster_rcnn")
    assert sorted(truth.boxes_xyxy.tolist()) == [[2, 2, 7, 7], [9, 3, 10, 4]]
    assert len(truth.labels) == len(truth.is_crowd) == len(truth.area) == 2


def test_an_unknown_mask_is_said_to_be_unknown(tmp_path: Path) -> None:
    document = coco({1: [("cat", 7, 7, -5, -5), ("cat", 2, 2, 5, 5), ("dog", 9, 3, 4, 4)]})
    document["annotations"][1]["segmentation"] = [[]]
    document["annotations"][2]["segmentation"] = [[9, 3, 13, 3, 13, 7]]
    write_coco(tmp_path, "train", json.loads(json.dumps(document)))
    index = open_split(coco_spec(tmp_path), "train")
    truth = build_truth(index.entry(1), index, "mask_rcnn")
    assert truth.masks is not None
    assert len(truth.masks) == 2
    assert np.asarray(truth.has_mask).tolist() == [False, True]
