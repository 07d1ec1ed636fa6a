import json
from pathlib import Path

import pytest
from data_files import Box, coco, coco_spec, many_images, write_coco

from rethink_ray.data.check import find_refusal
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.regimes import digest_of_images, regime_image_ids
from rethink_ray.session import gather_study_facts
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec
from rethink_ray.spec.study import Study

DISTINCT = 6
"""A seed under which the first images of draws 0 to 3 differ."""
REGIMES = {"full": RegimeSpec(images="all"), "small": RegimeSpec(images=10)}


def test_facts_say_how_large_everything_is(shapes: DataSpec) -> None:
    facts = gather_facts(shapes, REGIMES)
    assert facts.split_sizes == {"train": 48, "val": 12, "test": 12}
    assert facts.regime_sizes == {"full": 48, "small": 10}
    assert facts.categories == ("circle", "square", "triangle", "star", "cross", "ring")
    small = digest_of_images(regime_image_ids(shapes, 10))
    assert facts.regime_digests["small"] == small != facts.regime_digests["full"]
    assert facts.train_digest == facts.regime_digests["full"]
    assert facts == gather_facts(shapes, REGIMES)


def test_the_fingerprint_covers_every_split_in_use(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(12)))
    data = coco_spec(tmp_path, "train", "val", "test")
    before = gather_facts(data, REGIMES)
    write_coco(tmp_path, "test", coco({1: [("dog", 0, 0, 4, 4)]}))
    after = gather_facts(data, REGIMES)
    assert after.fingerprint != before.fingerprint
    assert after.regime_digests == before.regime_digests


def test_a_hold_out_is_a_split_of_its_own(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_coco(tmp_path, split, coco(many_images(30)))
    facts = gather_facts(coco_spec(tmp_path, "train", "test", holdout=5), REGIMES)
    assert facts.split_sizes == {"train": 30, "holdout": 5, "test": 30}
    assert facts.regime_sizes == {"full": 25, "small": 10}


def test_a_regime_larger_than_the_data_set_is_refused(shapes: DataSpec) -> None:
    with pytest.raises(DataError, match="at most the 48 training images"):
        gather_facts(shapes, {"huge": RegimeSpec(images=49)})


@pytest.mark.parametrize("boxes", [[], [("dog", 0, 0, 4, 4)]], ids=["nothing", "crowds only"])
def test_a_split_without_an_object_to_find_is_refused(
    tmp_path: Path, boxes: list[tuple[str, float, float, float, float]]
) -> None:
    write_coco(tmp_path, "train", coco(many_images(12)))
    told = coco({1: boxes, 2: boxes})
    for record in told["annotations"]:
        record["iscrowd"] = 1
    for split in ("val", "test"):
        write_coco(tmp_path, split, told)
    with pytest.raises(DataError, match=r"split val: must hold at least one object.*2 images"):
        gather_facts(coco_spec(tmp_path, "train", "val", "test"), REGIMES)


def test_facts_say_what_objects_are_annotated_with(shapes: DataSpec, tmp_path: Path) -> None:
    facts = gather_facts(shapes, REGIMES)
    assert (facts.has_masks, facts.num_keypoints) == (True, 5)
    assert (facts.scored_masks, facts.scored_keypoints) == (True, 5)
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(12)))
    facts = gather_facts(coco_spec(tmp_path, "train", "val", "test"), REGIMES)
    assert (facts.has_masks, facts.num_keypoints) == (False, 0)


def test_files_of_weights_are_known_by_their_content(shapes: DataSpec, tmp_path: Path) -> None:
    one, other = tmp_path / "one.pt", tmp_path / "other.pt"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    found = gather_facts(shapes, REGIMES, {str(one): "a", str(other): "b"}).files
    assert found[str(one)] == found[str(other)]
    other.write_bytes(b"other weights")
    assert gather_facts(shapes, REGIMES, {str(other): "b"}).files != {str(other): found[str(one)]}
    with pytest.raises(DataError, match=r"arms.x.teacher.file: must be a readable file.*no.pt"):
        gather_facts(shapes, REGIMES, {"no.pt": "t.yaml: arms.x.teacher.file"})


@pytest.mark.parametrize(
    ("sides", "undefined"),
    [
        ([10, 20], ("ap_m", "ap_l")),
        ([32], ("ap_l",)),  # 32 x 32 counts as small and as medium
        ([10, 50, 100], ()),
    ],
)
def test_facts_name_the_metrics_that_a_split_can_never_give(
    tmp_path: Path, sides: list[int], undefined: tuple[str, ...]
) -> None:
    objects: list[Box] = [("cat", 0, 0, side, side) for side in sides]
    crowd: Box = ("cat", 0, 0, 110, 110)
    for split in ("train", "val", "test"):
        tree = coco({1: [*objects, crowd]}, size=(120, 120))
        tree["annotations"][-1]["iscrowd"] = 1
        write_coco(tmp_path, split, tree, size=(120, 120))
    facts = gather_facts(coco_spec(tmp_path, "train", "val", "test"), {"full": REGIMES["full"]})
    expected = dict.fromkeys(("val", "test"), undefined) if undefined else {}
    assert facts.undefined_metrics == expected


def test_keypoints_that_are_never_visible_give_no_keypoint_metric(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        tree = coco({1: [("cat", 0, 0, 8, 8)]})
        tree["categories"][0]["keypoints"] = ["nose", "tail"]
        tree["categories"][1]["keypoints"] = ["nose", "tail"]
        tree["annotations"][0]["keypoints"] = [0, 0, 0] * 2 if split == "val" else [1, 1, 2] * 2
        write_coco(tmp_path, split, tree)
    facts = gather_facts(coco_spec(tmp_path, "train", "val", "test"), {"full": REGIMES["full"]})
    assert "keypoint_ap" in facts.undefined_metrics["val"]
    assert "keypoint_ap" not in facts.undefined_metrics["test"]


@pytest.mark.parametrize(
    "box", [("dog", 0, 0, 8, 8), ("cat", 9, 9, -4, -4), ("cat", 4, 4, 1, 1)], ids=str
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_or_regime_of_crowds_or_boxes_without_pixels_is_refused(
    tmp_path: Path, split: str, box: Box
) -> None:
    for name in ("train", "val", "test"):
        tree = coco({1: [box if name == split else ("cat", 0, 0, 8, 8)], 2: []})
        if box[0] == "dog":
            tree["annotations"][0]["iscrowd"] = int(name == split)
        write_coco(tmp_path, name, tree)
    where = "split val" if split == "val" else "regimes.full"
    with pytest.raises(DataError, match=rf"{where}: must hold at least one object.*2 images"):
        gather_facts(coco_spec(tmp_path, "train", "val", "test"), {"full": REGIMES["full"]})


def test_a_draw_of_replicates_without_an_object_to_learn_from_is_refused(tmp_path: Path) -> None:
    """The one image of draw 3 has no object; draws 0 and 1 are other images."""
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(10)))
    data = coco_spec(tmp_path, "train", "val", "test", subset_seed=DISTINCT)
    regimes = {"pair": RegimeSpec(images=2), "one": RegimeSpec(images=1)}
    [first], [second], [empty] = (regime_image_ids(data, 1, draw) for draw in (0, 1, 3))
    assert len({first, second, empty}) == 3
    gather_facts(data, regimes, draws=(1, 3))
    write_coco(tmp_path, "train", coco({**many_images(10), empty: []}))
    gather_facts(data, regimes)
    must = "regimes.one, draw 3 of replicate.vary: must hold at least one object to learn from"
    assert find_refusal(data, regimes, (1, 3)).startswith(must)
    assert find_refusal(data, regimes, (1,)) == ""
    assert find_refusal(data, {"full": REGIMES["full"]}, (1, 3)) == ""


def test_a_study_is_refused_for_a_draw_of_one_of_its_replicates(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(10)))
    data = coco_spec(tmp_path, "train", "val", "test", subset_seed=DISTINCT)
    [empty] = regime_image_ids(data, 1, draw=3)
    write_coco(tmp_path, "train", coco({**many_images(10), empty: []}))
    tree = {
        "study": "drawn",
        "data": data.model_dump(mode="json", exclude_defaults=True),
        "regimes": {"one": {"images": 1}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}},
        "budget": {"replicates": 2},
        "replicate": {"vary": ["seed", "subset"]},
    }
    gather_study_facts(Study.model_validate_json(json.dumps(tree)), "drawn.yaml")
    tree["budget"] = {"replicates": 3}
    with pytest.raises(DataError, match=r"regimes.one, draw 3 of replicate.vary"):
        gather_study_facts(Study.model_validate_json(json.dumps(tree)), "drawn.yaml")


def test_a_data_set_has_masks_only_if_every_draw_has(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(10)))
    data = coco_spec(tmp_path, "train", "val", "test", subset_seed=DISTINCT)
    tree = coco(many_images(10))
    for record in tree["annotations"]:
        if record["image_id"] not in regime_image_ids(data, 1, draw=3):
            record["segmentation"] = [[2, 2, 6, 2, 6, 6]]
    write_coco(tmp_path, "train", tree)
    regimes = {"one": RegimeSpec(images=1)}
    assert gather_facts(data, regimes, draws=(1,)).has_masks
    assert not gather_facts(data, regimes, draws=(1, 3)).has_masks


def test_a_hold_out_that_is_a_share_has_a_size_for_each_regime(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_coco(tmp_path, split, coco(many_images(180)))
    regimes = REGIMES | {"half": RegimeSpec(images="50%")}
    sized = coco_spec(tmp_path, "train", "test", holdout=30)
    share, larger = (
        sized.model_copy(update={"select_on": HoldoutSpec(holdout=text)}) for text in ("20%", "30%")
    )
    facts = gather_facts(share, regimes)
    assert facts.split_sizes == {"train": 180, "holdout": 30, "test": 180}
    assert facts.regime_sizes == {"full": 150, "small": 10, "half": 75}
    assert facts.holdout_sizes == {"full": 30, "small": 20, "half": 20}
    assert gather_facts(sized, regimes).holdout_sizes == {}
    fingerprints = {gather_facts(data, regimes).fingerprint for data in (sized, share, larger)}
    assert len(fingerprints) == 3  # so trials that selected on other images have other ids


def test_a_share_is_the_same_hold_out_however_it_is_spelt(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_coco(tmp_path, split, coco(many_images(180)))
    sized = coco_spec(tmp_path, "train", "test", holdout=30)
    shares = [
        sized.model_copy(update={"select_on": HoldoutSpec(holdout=text)})
        for text in ("20%", "20.0%", "20.00%")
    ]
    assert len({gather_facts(data, REGIMES).fingerprint for data in shares}) == 1
