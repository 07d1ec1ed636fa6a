import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.test_time_augmentation import MultiViewDetector, merge_views
from rethink_ray.spec.recipe import EvaluationSpec, InitSpec
from rethink_ray.spec.recipes import build_recipe

RECIPE = build_recipe("tiny_retinanet")


class Seeing(Detector):
    """Finds the one bright rectangle of each image as it is given, sure of the larger look."""

    def __init__(self, real: Detector) -> None:
        super().__init__(real.network, label_shift=real.label_shift)

    def detect(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            ys, xs = torch.nonzero(image[0] > 0.5, as_tuple=True)
            box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            middle = (xs.float().mean() + 0.5, ys.float().mean() + 0.5)
            left, right = (box[0] + 0.0, middle[1], 1.0), (box[2] + 0.0, middle[1], 2.0)
            mask = torch.tensor([[[1.0, 0.0]]])  # surer of its left half
            found.append(
                {
                    "boxes_xyxy": torch.tensor([box]).float(),
                    "scores": torch.tensor([image.shape[-1] / 1000]),
                    "labels": torch.tensor([3]),
                    "masks": mask,
                    "keypoints": torch.tensor([[left, right]]),
                }
            )
        return found


@pytest.fixture(scope="module")
def real() -> Detector:
    return build_detector(RECIPE.detector, InitSpec(), 3, seed=0)


def _looks(
    detector: Detector, spec: EvaluationSpec, images: list[Tensor]
) -> list[dict[str, Tensor]]:
    return MultiViewDetector(detector, spec, RECIPE.detector, [1, 0]).detect(images)


def _image() -> Tensor:
    image = torch.zeros(3, 48, 96)
    image[:, 12:36, 24:48] = 1.0
    return image


def test_the_plain_look_is_the_detectors_own(real: Detector) -> None:
    images = [torch.rand(3, 60, 96, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    plain = real.detect(images)
    for one, two in zip(plain, _looks(real, EvaluationSpec(), images), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_mirrored_look_is_turned_back(real: Detector) -> None:
    looking = MultiViewDetector(Seeing(real), EvaluationSpec(flip=True), RECIPE.detector, [1, 0])
    looks = looking.views_of([_image()])
    assert [view.mirrored for view in looking.views] == [False, True]
    mirrored = looking._as_seen_plainly(
        looking.views[1], Seeing(real).detect(looks[1])[0], _image(), looks[1][0]
    )
    assert mirrored["boxes_xyxy"].tolist() == [[24, 12, 48, 36]]
    assert mirrored["masks"].tolist() == [[[0.0, 1.0]]]
    # what it took for the right keypoint is the left one
    assert mirrored["keypoints"].tolist() == [[[24, 24, 2], [48, 24, 1]]]


def test_sizes_and_mirrors_of_one_object_merge_into_the_surest(real: Detector) -> None:
    spec = EvaluationSpec(scales=(0.5, 1.0, 2.0), flip=True)
    found = _looks(Seeing(real), spec, [_image()])[0]
    assert found["labels"].tolist() == [3]
    assert found["scores"].tolist() == [pytest.approx(0.192)]  # 192 px wide
    assert found["boxes_xyxy"].tolist() == [[24, 12, 48, 36]]


def test_merging_keeps_other_places_and_other_classes() -> None:
    views = [
        {
            "boxes_xyxy": torch.tensor([[0.0, 0, 10, 10], [50, 0, 60, 10]]),
            "scores": torch.tensor([0.9, 0.2]),
            "labels": torch.tensor([1, 1]),
        },
        {
            "boxes_xyxy": torch.tensor([[1.0, 0, 11, 10], [0, 0, 10, 10]]),
            "scores": torch.tensor([0.5, 0.4]),
            "labels": torch.tensor([1, 2]),
        },
    ]
    found = merge_views(views, 0.5, 100)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert found["labels"].tolist() == [1, 2, 1]
    assert len(merge_views(views, 0.5, 2)["scores"]) == 2


def test_scales_must_differ() -> None:
    with pytest.raises(ValueError, match="scales must each stand once"):
        EvaluationSpec(scales=(1.0, 1.0))
