"""Box stages one behind the other: what each is given, and how they come to one answer."""

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.cascade import StagedHeads, box_weights, loss_weight, refine_boxes
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import InitSpec, Recipe
from tests.detection.tiny_detectors import pictures, targets, tiny


def heads_of(detector: Detector) -> StagedHeads:
    heads = detector.network.get_submodule("roi_heads")
    assert isinstance(heads, StagedHeads)
    return heads


def losses_at(detector: Detector, step: int) -> dict[str, Tensor]:
    return detector.losses(pictures(), targets(), seed=5, step=step)


def test_each_stage_is_finer_stricter_and_lighter_than_the_one_before() -> None:
    heads = heads_of(build_detector(tiny("cascade_rcnn"), InitSpec(), 3, seed=0))

    assert [s.box_coder.weights for s in heads.stages] == [
        (10, 10, 5, 5),
        (20, 20, 10, 10),
        (30, 30, 15, 15),
    ]
    assert [s.proposal_matcher.high_threshold for s in heads.stages] == [0.5, 0.6, 0.7]
    assert [loss_weight(number) for number in range(3)] == [1, 0.5, 0.25]
    assert box_weights(3) == (40, 40, 20, 20)


def test_a_region_moves_as_its_likeliest_class_says_and_stays_in_its_image() -> None:
    """Deltas of the first stage are tenths of a side: 5 of 10 is half a width to the right."""
    heads = heads_of(build_detector(tiny("cascade_rcnn"), InitSpec(), 2, seed=0))
    boxes = [torch.tensor([[10.0, 10.0, 30.0, 30.0], [40.0, 0.0, 60.0, 20.0]])]
    scores = torch.tensor([[9.0, 1.0, 2.0], [9.0, 2.0, 1.0]])  # background never leads
    still, right = torch.zeros(4), torch.tensor([5.0, 0.0, 0.0, 0.0])
    deltas = torch.stack([torch.cat([still, still, right]), torch.cat([still, right, still])])

    [moved] = refine_boxes(heads.stages[0], boxes, scores, deltas, [(64, 64)])

    assert moved.tolist() == [[20, 10, 40, 30], [50, 0, 64, 20]]


def test_a_shared_regression_has_a_number_for_each_side_and_none_for_a_class() -> None:
    def weights(class_agnostic: bool) -> list[int]:
        spec = tiny("cascade_rcnn", cascade_class_agnostic=class_agnostic)
        heads = heads_of(build_detector(spec, InitSpec(), 3, seed=0))
        return [stage.box_predictor.bbox_pred.out_features for stage in heads.stages]

    assert weights(True) == [4, 4, 4]
    assert weights(False) == [16, 16, 16]


def test_stages_draw_for_themselves_and_the_same_at_the_same_position() -> None:
    detector = build_detector(tiny("cascade_mask_rcnn"), InitSpec(), 3, seed=0)

    first, again, later = (losses_at(detector, step) for step in (4, 4, 5))

    assert set(first) == {
        *("loss_objectness", "loss_rpn_box_reg", "loss_mask"),
        *("loss_classifier", "loss_classifier_2", "loss_classifier_3"),
        *("loss_box_reg", "loss_box_reg_2", "loss_box_reg_3"),
    }
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["loss_classifier_2"], later["loss_classifier_2"])
    purposes = [stage.fg_bg_sampler.purpose for stage in heads_of(detector).stages]
    assert purposes == ["box", "box_2", "box_3"]


def test_stages_that_join_late_neither_learn_nor_find_before() -> None:
    spec = tiny("cascade_mask_rcnn", cascade_from=2, score_threshold=0.0)
    detector = build_detector(spec, InitSpec(), 3, seed=0)
    late = [p for s in list(heads_of(detector).stages)[1:] for p in s.parameters()]

    before = losses_at(detector, step=1)
    torch.stack(list(before.values())).sum().backward()
    assert "loss_classifier_2" not in before
    assert all(p.grad is None for p in late)
    alone = detector.detect(pictures(1))[0]["scores"]

    after = losses_at(detector, step=2)
    torch.stack(list(after.values())).sum().backward()
    assert "loss_classifier_3" in after
    assert all(p.grad is not None for p in late)
    together = detector.detect(pictures(1))[0]["scores"]
    assert alone.shape != together.shape or not torch.equal(alone, together)

    fresh = build_detector(spec, InitSpec(), 3, seed=1)
    fresh.load_state_dict(detector.state_dict())
    assert torch.equal(fresh.detect(pictures(1))[0]["scores"], together)


def test_until_it_joins_a_cascade_is_the_detector_without_one() -> None:
    plain = build_detector(tiny("mask_rcnn", cascade_class_agnostic=True), InitSpec(), 3, seed=0)
    waiting = build_detector(
        tiny("cascade_mask_rcnn", cascade_class_agnostic=False, cascade_from=9),
        InitSpec(),
        3,
        seed=1,
    )
    known = waiting.state_dict()
    waiting.load_state_dict({**known, **plain.state_dict()})

    expected, found = losses_at(plain, 3), losses_at(waiting, 3)

    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_cascade_that_joins_after_the_shortest_length_is_refused() -> None:
    recipe = Recipe().model_copy(update={"detector": tiny("cascade_rcnn", cascade_from=180_000)})

    with pytest.raises(SpecError, match="180000 updates of the shortest length"):
        check_recipe(recipe, "study.yaml")
