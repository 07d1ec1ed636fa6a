"""What every detector keeps, whatever its family, norm, neck and start."""

import itertools
from typing import get_args

import pytest
import torch

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.meaning import check_recipe
from rethink_ray.spec.recipe import DetectorSpec, Family, Frozen, InitSpec, Neck, Norm, Recipe
from rethink_ray.training.effective import read_detector, require_as_asked
from tests.detection.test_detectors import pictures, snapshot, tiny, total

FAMILIES, NORMS, NECKS = get_args(Family), get_args(Norm), get_args(Neck)
STARTS: tuple[tuple[str, Frozen], ...] = (
    ("random", "none"),
    ("upstream", "none"),
    ("upstream", "layer2"),
    ("upstream", "backbone"),
)
"""Where the weights come from, and which of them never move."""
Combination = tuple[Family, Norm, Neck, tuple[str, Frozen]]


def means_something(combination: Combination) -> bool:
    family, norm, neck, (source, frozen) = combination
    recipe = Recipe(
        detector=tiny(family, norm, neck=neck),
        init=InitSpec.model_validate({"source": source, "frozen": frozen}),
    )
    try:
        check_recipe(recipe, "contract")
    except SpecError:
        return False
    return True


ALL = [c for c in itertools.product(FAMILIES, NORMS, NECKS, STARTS) if means_something(c)]


def in_turn(combinations: list[Combination]) -> list[Combination]:
    """Few of them: every family meets every norm, neck and start, the other two taking turns."""
    chosen: list[Combination] = []
    for number, family in enumerate(FAMILIES):
        own = [c for c in combinations if c[0] == family]
        for place in (1, 2, 3):
            for value in dict.fromkeys(c[place] for c in own):
                fitting = [c for c in own if c[place] == value]
                if not any(c in chosen for c in fitting):
                    chosen.append(fitting[(5 * number + 3 * len(chosen)) % len(fitting)])
    return chosen


def built(combination: Combination, seed: int = 0) -> Detector:
    family, norm, neck, (source, frozen) = combination
    spec = tiny(family, norm, neck=neck, neck_repeats=None if neck == "fpn" else 1)
    init = InitSpec.model_validate({"source": source, "frozen": frozen})
    if source == "random":
        return build_detector(spec, init, 3, seed=seed)
    state = build_classifier(spec, 4, seed=9).backbone_state()
    return build_detector(spec, init, 3, seed=seed, weights=state)


def trained(detector: Detector) -> None:
    """Two updates: a layer behind a zero-initialised one gets its gradient in the second."""
    decayed, norms = detector.decayed_and_norm_parameters()
    # Adam moves whatever has a gradient at all, however small
    optimizer = torch.optim.Adam(decayed + norms, lr=0.01, eps=1e-30)
    for step in range(2):
        loss = total(detector, step)
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def require_contract(combination: Combination) -> None:
    _, norm, _, _ = combination
    detector = built(combination)
    before = snapshot(detector)

    trained(detector)

    fixed = tuple(f"{part}." for part in detector.frozen_parts)
    for name, value in detector.state_dict().items():
        stays = name.startswith(fixed) or (norm == "frozen_bn" and is_backbone_norm(name))
        assert torch.equal(value, before[name]) == stays, name
    again = built(combination, seed=1)
    again.load_state_dict(detector.state_dict())
    found, twin = detector.detect(pictures(1))[0], again.detect(pictures(1))[0]
    assert all(torch.equal(value, twin[name]) for name, value in found.items())
    require_effective(combination, detector)


def is_backbone_norm(name: str) -> bool:
    parts = (".bn1.", ".bn2.", ".downsample.1.")
    return ".body." in name and any(part in name for part in parts)


def require_effective(combination: Combination, detector: Detector) -> None:
    family, norm, neck, _ = combination
    recipe = Recipe(detector=tiny(family, norm, neck=neck, neck_repeats=None))
    found = read_detector(detector)
    require_as_asked(recipe, found)
    assert {"detector.family", "detector.norm", "detector.neck"} <= set(found)


@pytest.mark.parametrize("combination", in_turn(ALL), ids=repr)
def test_a_detector_keeps_the_contract(combination: Combination) -> None:
    """Builds, learns with a finite loss, moves exactly what is not frozen, statistics included,
    comes back from a state dict bit for bit, and is what was asked for."""
    require_contract(combination)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_combination_keeps_the_contract(family: Family) -> None:
    own = [c for c in ALL if c[0] == family]
    assert len(own) == 39
    for combination in own:
        require_contract(combination)


@pytest.mark.parametrize(
    ("settings", "path", "value"),
    [
        ({"family": "cascade_rcnn"}, "cascade_ious", (0.4, 0.6)),
        ({"family": "cascade_rcnn"}, "cascade_class_agnostic", False),
        ({"family": "cascade_mask_rcnn"}, "box_batch", 6),
        ({"family": "mask_rcnn"}, "mask_head_convs", 0),
        ({"family": "mask_rcnn"}, "mask_head_channels", 8),
        ({"family": "mask_rcnn"}, "foreground_iou", 0.6),
        ({"family": "keypoint_rcnn"}, "keypoint_head_convs", 3),
        ({"family": "keypoint_rcnn"}, "keypoint_head_channels", 8),
        ({"family": "keypoint_rcnn"}, "num_keypoints", 5),
        ({"family": "keypoint_rcnn"}, "detections", 7),
    ],
)
def test_a_setting_of_the_heads_is_read_back_from_the_network(
    settings: dict[str, str], path: str, value: object
) -> None:
    spec: DetectorSpec = tiny(**settings, **{path: value})

    found = read_detector(build_detector(spec, InitSpec(), 3, seed=0))

    assert found[f"detector.{path}"] == value
    require_as_asked(Recipe(detector=spec), found)
