"""The arms that a folder and the weights of a machine allow."""

from pathlib import Path

import pytest
import torchvision

from rethink_ray.drafting.contenders import choose_family, propose_contenders
from rethink_ray.drafting.folder import SeenFolder, look_at_folder, name_study
from rethink_ray.drafting.weights import AvailableWeights, StartWeights, find_weights
from rethink_ray.spec.errors import SpecError
from tests.drafting.folders import draw_coco, save_resnet

RESNET = {"source": "torchvision", "weights": "IMAGENET1K_V1"}
COCO = {"source": "detector", "weights": "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"}
CLASSIFIER = StartWeights(name="ResNet-50", backbone="resnet50", init=RESNET)
DETECTOR = StartWeights(name="COCO's", backbone="resnet50", init=COCO)


@pytest.fixture
def seen(photos: Path) -> SeenFolder:
    return look_at_folder(photos)


@pytest.mark.parametrize(
    ("kind", "family", "small", "large"),
    [
        ("masks", "mask_rcnn", "tiny_mask_rcnn", "mask_rcnn_r50_v1"),
        ("keypoints", "keypoint_rcnn", "tiny_keypoint_rcnn", "keypoint_rcnn_r50_v1"),
    ],
)
def test_masks_and_keypoints_choose_the_family(
    kind: str, family: str, small: str, large: str, tmp_path: Path
) -> None:
    seen = look_at_folder(draw_coco(tmp_path / "photos", num=60, kind=kind))
    assert choose_family(seen, is_small=True) == choose_family(seen, is_small=False) == family
    weights = AvailableWeights(classifier=CLASSIFIER, detector=None)
    recipes = [propose_contenders(seen, weights, is_small=is_small) for is_small in (True, False)]
    assert [one.recipe for one in recipes] == [small, large]
    assert {one.metric for one in recipes} == {"mask_ap" if kind == "masks" else "keypoint_ap"}
    if kind == "keypoints":
        assert recipes[0].settings["detector.num_keypoints"] == 5


def test_boxes_have_a_small_detector_on_a_cpu_and_a_published_one_on_a_gpu(
    seen: SeenFolder,
) -> None:
    assert choose_family(seen, is_small=True) == "retinanet"
    assert choose_family(seen, is_small=False) == "faster_rcnn"


def test_a_gpu_with_all_weights_compares_five_starts_the_most_telling_first(
    seen: SeenFolder,
) -> None:
    weights = AvailableWeights(classifier=CLASSIFIER, detector=DETECTOR)
    contenders = propose_contenders(seen, weights, is_small=False)
    assert [*contenders.arms] == ["scratch", "finetuned", "detector", "frozen", "detector_frozen"]
    assert not contenders.absent
    assert contenders.arms["detector"]["set"] == {"init": COCO}
    assert contenders.arms["frozen"]["set"] == {"init": RESNET, "init.frozen": "backbone"}


def test_a_detector_on_another_backbone_than_the_classifier_is_no_contender(
    seen: SeenFolder,
) -> None:
    other = StartWeights(name="ResNet-18", backbone="resnet18", init=RESNET)
    weights = AvailableWeights(classifier=other, detector=DETECTOR)
    contenders = propose_contenders(seen, weights, is_small=False)
    assert "detector" not in contenders.arms
    assert contenders.absent["detector"] == "COCO's has another backbone than ResNet-18"


def test_weights_in_a_cache_come_after_a_file_and_before_a_download(tmp_path: Path) -> None:
    nothing = find_weights("retinanet", (), is_small=True)
    assert nothing.classifier is None
    assert [one.name for one in nothing.missing_classifiers][-1] == "ResNet18_Weights.IMAGENET1K_V1"

    cached = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    save_resnet(folder / cached)
    in_cache = find_weights("retinanet", (), is_small=True)
    assert in_cache.classifier is not None
    assert in_cache.classifier.init == RESNET
    assert in_cache.missing_classifiers == ()

    # the tensors decide where the name of the file says nothing
    save_resnet(tmp_path / "mine.pth")
    in_file = find_weights("retinanet", (tmp_path / "mine.pth",), is_small=True)
    assert in_file.classifier is not None
    assert in_file.classifier.backbone == "resnet18"
    assert in_file.classifier.init["source"] == "file"
    with pytest.raises(SpecError, match="Write a study for each"):
        find_weights("retinanet", (tmp_path / "mine.pth", folder / cached), is_small=True)


def test_a_folder_lends_its_name_to_the_study(tmp_path: Path) -> None:
    (tmp_path / "my photos (1)").mkdir()
    assert name_study(tmp_path / "my photos (1)") == "my_photos_1"
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "data.yaml").write_text("names: [cat]")
    assert name_study(tmp_path / "cats" / "data.yaml") == "cats"
