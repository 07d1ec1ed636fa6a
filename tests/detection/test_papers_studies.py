"""The papers' studies, held against numbers that their authors print or set."""

import pytest
import torch
from torchvision.ops import StochasticDepth

from rethink_ray.detection.box_losses import BoxLoss
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.freezing import frozen_stages, parameter_counts
from rethink_ray.detection.necks import pyramid_levels
from rethink_ray.spec.batches import images_by_kind
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.settings import flatten

COCO_CATEGORIES = 80


def recipe_of(stem: str, arm: str) -> Recipe:
    """The recipe of an arm in the first regime of a study that ships."""
    study, _ = load_study(find_study(stem))
    return base_recipe(study, Cell(next(iter(study.regimes)), arm))


@pytest.mark.parametrize(
    ("arm", "millions_trained", "percent", "percent_in_the_paper"),
    [
        ("fpn_frozen", 20.6, 25, 26),
        ("nas_fpn_frozen", 38.8, 39, 40),
        ("cascade_frozen", 71.2, 54, 54),
    ],
)
def test_a_frozen_classifier_leaves_as_many_weights_to_train_as_table_1_prints(
    arm: str, millions_trained: float, percent: int, percent_in_the_paper: int
) -> None:
    """ResNet-RS-101 has 61.6 million weights that stay, without the classifier's last layer."""
    pytest.importorskip("timm")
    recipe = recipe_of("vasconcelos_2022", arm)
    with torch.device("meta"):
        frozen = InitSpec(frozen=recipe.init.frozen)
        detector = build_detector(recipe.detector, frozen, COCO_CATEGORIES, seed=0)

    trained, weights = parameter_counts(detector)

    assert round((weights - trained) / 1e6, 1) == 61.6
    assert round(trained / 1e6, 1) == millions_trained
    assert round(100 * trained / weights) == percent
    assert abs(percent - percent_in_the_paper) <= 1


@pytest.mark.parametrize(
    ("arm", "side_px", "anchors_px"),
    [
        ("fpn", 1024, [32, 64, 128, 256, 512]),
        ("nas_fpn", 1024, [64, 128, 256, 512, 1024]),
        ("cascade", 1280, [64, 128, 256, 512, 1024]),
    ],
)
def test_anchors_are_eight_strides_long_on_every_level_of_vasconcelos(
    arm: str, side_px: int, anchors_px: list[int]
) -> None:
    detector = recipe_of("vasconcelos_2022", arm).detector
    levels = pyramid_levels(detector)
    assert [detector.anchor_base_px * 2**level for level in range(levels.count)] == anchors_px
    assert anchors_px[0] == 8 * levels.first_stride
    assert (detector.min_side_px, detector.max_side_px) == (side_px, side_px)


def test_swin_has_the_stochastic_depth_of_the_authors_in_both_stages_of_li() -> None:
    """drop_path_rate 0.2: from 0 in the first of twelve blocks to 0.2 in the last."""
    recipe = recipe_of("li_2021_swin", "direct")
    for spec in (recipe.detector, direct_recipe(recipe, 118_287).detector):
        with torch.device("meta"):
            network = build_detector(spec, InitSpec(), COCO_CATEGORIES, seed=0)
        rates = [m.p for m in network.modules() if isinstance(m, StochasticDepth)]
        assert rates == pytest.approx([0.2 * block / 11 for block in range(12)])


def test_the_pretrained_rows_of_hes_table_1_freeze_stem_and_layer1() -> None:
    arms = {
        arm: recipe_of("he_2018", arm) for arm in ("scratch", "pretrained", "pretrained_layer1")
    }
    frozen = {arm: frozen_stages(recipe.init.frozen) for arm, recipe in arms.items()}
    assert frozen == {
        "scratch": (),
        "pretrained": (),
        "pretrained_layer1": ("stem", "layer1"),
    }
    thawed = {"init": arms["pretrained"].init}
    assert arms["pretrained_layer1"].model_copy(update=thawed) == arms["pretrained"]


@pytest.mark.parametrize(
    ("stem", "student", "equal_updates", "equal_images", "images"),
    [
        ("zoph_2020", "self_training_s4", "continued_s4", "continued_s4_images", 256),
        ("four_systems_full", "self_training", "continued", "continued_images", 16),
    ],
)
def test_a_teacher_goes_on_for_as_many_updates_and_for_as_many_images(
    stem: str, student: str, equal_updates: str, equal_images: str, images: int
) -> None:
    arms = {arm: recipe_of(stem, arm) for arm in (student, equal_updates, equal_images)}
    batches = {arm: images_by_kind(recipe) for arm, recipe in arms.items()}
    assert batches == {
        student: (images, images),  # human and pseudo labels
        equal_updates: (images,),
        equal_images: (2 * images,),
    }
    updates = {
        arm: [recipe.schedule.steps(length) for length in recipe.schedule.lengths]
        for arm, recipe in arms.items()
    }
    assert updates[student] == updates[equal_updates] == updates[equal_images]


def test_copy_paste_has_the_overlaps_and_sums_of_the_authors_configuration() -> None:
    detector = recipe_of("vasconcelos_2022_copy_paste", "copy_paste").detector
    assert detector.cascade_ious == (0.6, 0.7, 0.8)
    assert (detector.neck, detector.neck_repeats, detector.neck_merge) == ("nas_fpn", 5, "sum")
    assert detector.box_head == "4conv2fc"


def test_copy_paste_on_lvis_is_the_same_recipe_without_a_cascade() -> None:
    coco = recipe_of("vasconcelos_2022_copy_paste", "copy_paste_frozen")
    lvis = recipe_of("vasconcelos_2022_lvis", "frozen")
    ours, theirs = flatten(lvis), flatten(coco)
    assert {path for path in ours if ours[path] != theirs[path]} == {
        *("detector.family", "detector.cascade_ious"),
        *("detector.score_threshold", "detector.detections"),
    }


@pytest.mark.parametrize(
    ("stem", "arm"),
    [
        ("zoph_2020", "scratch_s4"),
        ("zoph_2020_joint", "scratch"),
        ("zoph_2020_noisy_student", "scratch_s4"),
        ("zoph_2020_simclr", "scratch"),
    ],
)
def test_zophs_box_loss_is_a_huber_loss_of_delta_a_tenth_times_50(stem: str, arm: str) -> None:
    """The Huber loss of x is x^2 / 2 up to 0.1, and 0.1 (x - 0.05) above."""
    detector = recipe_of(stem, arm).detector
    deltas = torch.tensor([[0.02, 0.1, 0.5, 0.0]])

    [loss] = BoxLoss.build(detector).measure_boxes(
        deltas, torch.zeros(1, 4), torch.zeros(1, 4), None
    )

    huber = [0.0002, 0.005, 0.045, 0.0]
    assert loss.item() == pytest.approx(50 * sum(huber) / 4)  # the mean over four deltas
    assert (detector.focal_gamma, detector.focal_alpha) == (1.5, 0.25)
    assert (detector.foreground_iou, detector.background_iou) == (0.5, 0.5)
