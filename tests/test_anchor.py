"""The anchor run on made files: a folder as COCO's, and weights as torchvision publishes them.

Each picture is annotated with everything that torchvision's network detects in it. So the AP of
that network is 100 if loader, labels and scorer are right.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.foreign import OUTPUTS_OF_COCO
from rethink_ray.detection.reference_scoring import largest_difference
from rethink_ray.spec.load import load_study
from rethink_ray.spec.regime import DataSpec, SplitSpec
from rethink_ray.spec.resolve import base_recipe, cells_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from anchor import ONE_X, main
from published_detectors import ANCHORS, Anchor, build_published, detect_images, list_pipelines

SIDE = 64
SIZES_HW = ((SIDE, SIDE), (2 * SIDE, 2 * SIDE))
"""Of the pictures 1 and 2; only the second is resized."""
KNOWN = [k for k, name in enumerate(OUTPUTS_OF_COCO) if name not in ("N/A", "__background__")]
"""COCO's 80 category ids, which have gaps."""
CPU = torch.device("cpu")


def shrink(name: str, published: Mapping[str, float], **sizes: int) -> Anchor:
    """An anchor on pictures of 64 px, which is published with these numbers."""
    (anchor,) = (anchor for anchor in ANCHORS if anchor.name == name)
    ours = {**anchor.ours, "min_side_px": SIDE, "max_side_px": SIDE}
    sizes = {"min_size": SIDE, "max_size": SIDE, **sizes}
    return replace(anchor, sizes=sizes, ours=ours, published=published)


RETINANET = shrink("retinanet_resnet50_fpn", {"ap": 100.0})
MASK_RCNN = shrink(
    "maskrcnn_resnet50_fpn",
    {"ap": 100.0, "mask_ap": 100.0},
    rpn_post_nms_top_n_test=50,
    box_detections_per_img=10,
)


def draw_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that detect all categories, and none of the outputs that stand for nothing."""
    of_nothing = sorted(set(range(91)) - set(KNOWN))
    drawn = dict(state)
    for name, was in state.items():
        if "classification_head.cls_logits" in name or "cls_score" in name:
            drawn[name] = torch.randn(was.shape) * 0.03
            if name.endswith("bias"):
                drawn[name].view(-1, 91)[:, of_nothing] = -50.0
        if "mask_fcn_logits" in name:  # masks fill their boxes
            drawn[name] = torch.full_like(was, 5.0 if name.endswith("bias") else 0.0)
    return drawn


def annotate(network: Any, image_id: int, path: Path) -> list[dict[str, Any]]:
    """COCO's records of everything that torchvision's network detects in a picture."""
    with torch.no_grad():
        detected = network([to_tensor(Image.open(path))])[0]
    records = []
    for number, (label, box) in enumerate(
        zip(detected["labels"].tolist(), detected["boxes"].tolist(), strict=True)
    ):
        x0, y0, x1, y1 = box
        record = {
            "id": 1000 * image_id + number,
            "image_id": image_id,
            "category_id": label,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        if "masks" in detected:
            inside = (detected["masks"][number, 0] > 0.5).numpy().astype(np.uint8)
            lengths = coco_mask.encode(np.asfortranarray(inside))
            record["segmentation"] = {**lengths, "counts": lengths["counts"].decode()}
        records.append(record)
    return records


def write_coco(root: Path, anchor: Anchor, weights: Path) -> None:
    """A folder in COCO's layout, and the anchor's file of weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_published(anchor, None)
        network.load_state_dict(draw_weights(network.state_dict()))
    weights.mkdir(exist_ok=True)
    torch.save(network.state_dict(), weights / anchor.file)
    rng = np.random.default_rng(0)
    images, records = [], []
    (root / "val2017").mkdir(parents=True)
    for image_id, (height, width) in enumerate(SIZES_HW, start=1):
        path = root / "val2017" / f"{image_id:012d}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        images.append({"id": image_id, "file_name": path.name, "height": height, "width": width})
        records += annotate(network, image_id, path)
    categories = [{"id": k, "name": OUTPUTS_OF_COCO[k]} for k in KNOWN]
    content = {"images": images, "annotations": records, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``coco/DETECTOR`` and ``weights``."""
    folder = tmp_path_factory.mktemp("anchor")
    for anchor in (RETINANET, MASK_RCNN):
        write_coco(folder / "coco" / anchor.name, anchor, folder / "weights")
    return folder


def run(made: Path, anchor: Anchor, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the table as JSON."""
    table = made / "table.json"
    places = ["--root", str(made / "coco" / anchor.name), "--weights", str(made / "weights")]
    fixed = ["--device", "cpu", "--loader-workers", "0", "--json", str(table)]
    status = main([*places, *fixed, *options], anchors=[anchor])
    return status, json.loads(table.read_text())


def test_a_detector_at_its_published_ap_passes(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, table = run(made, RETINANET)
    assert status == 0
    (row,) = table["rows"]
    assert row["ap"]["torchvision"] == pytest.approx(100.0, abs=1e-9)
    assert row["is_within"]
    assert row["ap"]["our_resize"] < 99.9  # the second picture is shrunk
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith("| retinanet_resnet50_fpn | ap | 100.0 | 100.00 | +0.00 |")
    assert line.endswith("| within 0.1 |")
    assert f"| {row['ap']['our_resize'] - 100.0:+.2f} |" in line


def test_a_detector_a_point_off_its_published_ap_fails(made: Path) -> None:
    status, table = run(made, replace(RETINANET, published={"ap": 99.0}, recipe=None))
    assert status == 1
    assert not table["rows"][0]["is_within"]


def test_pictures_that_need_no_resize_have_the_same_ap_by_each_pipeline(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, table = run(made, replace(RETINANET, published={"ap": 1.0}), "--limit", "1")
    (row,) = table["rows"]
    assert set(row["ap"]) == {"torchvision", "our_resize", "our_network"}
    assert [*row["ap"].values()] == pytest.approx([100.0] * 3, abs=1e-9)
    assert status == 0  # a trial run has no verdict
    assert row["is_within"] is None
    assert capsys.readouterr().out.splitlines()[2].endswith("| - |")


def test_masks_are_scored_as_torchvision_pastes_them(made: Path) -> None:
    status, table = run(made, replace(MASK_RCNN, recipe=None))
    boxes, masks = table["rows"]
    assert (boxes["metric"], masks["metric"]) == ("ap", "mask_ap")
    assert boxes["ap"]["torchvision"] == pytest.approx(100.0, abs=1e-9)
    assert masks["ap"]["torchvision"] == pytest.approx(100.0, abs=1e-9)
    assert status == 0


def test_our_scorer_and_pycocotools_agree_on_the_same_detections(made: Path) -> None:
    split = SplitSpec(images="val2017", annotations="annotations/instances_val2017.json")
    root = str(made / "coco" / MASK_RCNN.name)
    data = DataSpec(dataset={"train": split, "val": split}, root=root, format="coco")
    index = open_split(data, "val")
    state = torch.load(made / "weights" / MASK_RCNN.file, weights_only=True)
    pipelines = list_pipelines(MASK_RCNN, state, index, CPU)
    splits, _ = detect_images(pipelines, index, MASK_RCNN.family, CPU, limit=1)
    scores = {name: detected.metrics(data) for name, detected in splits.items()}
    for name, detected in splits.items():
        assert largest_difference(scores[name], detected.reference_metrics()) < 1e-9
    assert scores["our_resize"]["mask_ap"] == pytest.approx(100.0, abs=1e-9)  # nothing to resize
    assert scores["our_network"]["mask_ap"] < 99.9  # masks are pasted in another way


def test_missing_weights_are_named_and_nothing_passes_without_a_detector(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(made / "coco" / RETINANET.name)
    assert main(["--root", root, "--weights", str(tmp_path)], anchors=[RETINANET]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        f"skipped retinanet_resnet50_fpn: retinanet_resnet50_fpn_coco-eeacb38b.pth "
        f"is not in {tmp_path}"
    )


def refuse(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The last line of the options' refusal."""
    with pytest.raises(SystemExit) as ended:
        main(options, anchors=[RETINANET])
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "0"], "argument --limit: must be at least 1 image, but got 0"),
        (["--limit=-3"], "argument --limit: must be at least 1 image, but got -3"),
        (["--device", "gpu"], "must be a device such as cpu, cuda or cuda:1, but got gpu"),
        (["--only"], "--only must name a detector, but got none. Leave it out to score all."),
        (["--json", "gone/table.json"], "--json must be in a folder that exists, but got gone/"),
        (["--train"], "must be COCO's folder, with val2017, but got 'no such file'."),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refuse(capsys, "--root", str(tmp_path / "coco"), *options)


def test_a_folder_that_is_not_cocos_is_named_before_weights_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--root", str(tmp_path), "--weights", str(tmp_path), "--device", "cpu"]
    assert main(options, anchors=[RETINANET]) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"skipped {RETINANET.name}: --root {tmp_path}: must be COCO's folder")


def test_a_damaged_or_wrong_file_skips_its_detector_and_the_table_keeps_the_others(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / RETINANET.file).write_bytes((made / "weights" / RETINANET.file).read_bytes())
    (tmp_path / MASK_RCNN.file).write_bytes(b"no weights")
    fcos = shrink("fcos_resnet50_fpn", {"ap": 100.0})
    torch.save({"backbone.body.conv1.weight": torch.zeros(1)}, tmp_path / fcos.file)
    table = tmp_path / "table.json"
    options = ["--root", str(made / "coco" / RETINANET.name), "--weights", str(tmp_path)]
    options += ["--device", "cpu", "--loader-workers", "0", "--json", str(table), "--limit", "1"]
    assert main(options, anchors=[MASK_RCNN, fcos, replace(RETINANET, recipe=None)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(f"| {RETINANET.name} | ap |")
    assert lines[3].startswith(f"skipped {MASK_RCNN.name}: {tmp_path / MASK_RCNN.file}: must be")
    assert lines[4].startswith(f"skipped {fcos.name}: {fcos.file} does not fit the network (")
    content = json.loads(table.read_text())
    assert [row["detector"] for row in content["rows"]] == [RETINANET.name]
    assert set(content["skipped"]) == {MASK_RCNN.name, fcos.name}


def test_published_numbers_are_torchvisions() -> None:
    names = {"box_map": "ap", "mask_map": "mask_ap", "kp_map": "keypoint_ap"}
    for anchor in ANCHORS:
        (numbers,) = anchor.weights.meta["_metrics"].values()
        assert anchor.published == {names[name]: ap for name, ap in numbers.items()}
    assert len(ANCHORS) == 8


def test_frozen_norms_have_the_epsilon_of_the_published_weights() -> None:
    """torchvision sets epsilon to 0 for each of these weights but FCOS's."""
    network = build_published(RETINANET, None)
    assert network.backbone.body.bn1.eps == network.backbone.body.layer4[2].bn3.eps == 0.0
    eps = {anchor.name: anchor.frozen_eps for anchor in ANCHORS if anchor.frozen_eps is not None}
    assert eps.pop("fcos_resnet50_fpn") == 1e-5
    assert [*eps.values()] == [0.0] * 4


def test_the_run_that_is_trained_is_one_times_90000_updates_of_16_images() -> None:
    study, _ = load_study(ONE_X, [])
    (cell,) = cells_of(study)
    recipe = base_recipe(study, cell)
    assert recipe.schedule.steps(1.0) == 90_000
    assert [90_000 - point for point in recipe.schedule.points(1.0)] == [60_000, 80_000]
    assert (recipe.batch_size, recipe.optimizer.lr, recipe.detector.norm) == (16, 0.02, "frozen_bn")
    assert (recipe.init.weights, recipe.init.frozen) == ("IMAGENET1K_V1", "layer1")
    assert (study.data.select_split, study.data.report_split) == ("val", "val")


TINY_STUDY = """
study: tiny_anchor
data: {dataset: coco, select_on: val, report_on: val}
regimes: {full: {images: all}}
recipe: tiny_faster_rcnn
settings: {batch_size: 2}
arms: {scratch: {}}
schedule: {unit: 4, lengths: [1], warmup: 1, decay: {before_end: [0.5]}}
"""


def test_the_trained_run_is_held_against_its_own_tolerance(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made / "coco" / RETINANET.name
    (root / "train2017").mkdir(exist_ok=True)
    content = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    for image in content["images"]:  # other pictures than those of val
        pixels = np.full((image["height"], image["width"], 3), 40 * image["id"], np.uint8)
        Image.fromarray(pixels).save(root / "train2017" / image["file_name"])
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    (tmp_path / "tiny.yaml").write_text(TINY_STUDY)
    options = ["--root", str(root), "--only", "--train", "--gpus", "0", "--out", str(tmp_path)]
    assert main(options, anchors=[RETINANET], study=tmp_path / "tiny.yaml") == 1
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith("| faster_rcnn, trained here | ap | 37.4 | - | -")
    assert line.endswith("| NOT within 0.5 |")
