"""A model of version 0.1 detects with the network that it was trained as."""

import json
from pathlib import Path

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.older_ids import YOUNGER_KEYS
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.training.checkpoint import save_checkpoint
from rethink_ray.training.run import load_model
from tests.builders import micro_recipe, micro_trial
from tests.detection.tiny_detectors import tiny


def test_a_model_without_a_canonical_scale_pools_by_its_anchors(tmp_path: Path) -> None:
    spec = tiny("faster_rcnn", anchor_base_px=8)
    config = micro_trial(micro_recipe().model_copy(update={"detector": spec}))
    tree = config.model_dump(mode="json")
    for key in YOUNGER_KEYS:
        del tree["recipe"]["detector"][key]
    tree["recipe"]["detector"] |= {"rpn_pre_nms": 50, "rpn_post_nms": 20, "nms_iou": 0.5}
    network = build_detector(spec, InitSpec(), config.num_categories, seed=0)
    content = {
        "model": network.state_dict(),
        "config": json.dumps(tree),
        "length": 1.0,
        "categories": ["disc"] * config.num_categories,
    }
    save_checkpoint(tmp_path / "model.pt", content)

    loaded = load_model(tmp_path)

    heads = loaded.detector.network.get_submodule("roi_heads")
    assert heads.box_roi_pool.canonical_scale == 7 * 8  # type: ignore[union-attr]
    assert loaded.config.recipe.detector.rpn_post_nms_test == 20
