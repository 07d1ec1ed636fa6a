"""The arms of a study for a folder: which network, which starts, which ranges.

On a CPU a small network at small sides, so that a study ends on the same day; on GPUs torchvision's
ResNet-50 detectors, for which there are COCO weights. Every arm has the same network and the same
norm, so that the start alone differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rethink_ray.drafting.folder import SeenFolder
from rethink_ray.drafting.sides import PictureSides, choose_sides
from rethink_ray.drafting.weights import AvailableWeights
from rethink_ray.spec.detector import TWO_STAGE, Family
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.settings import nearest
from rethink_ray.spec.study import Metric

SMALL_BATCH, LARGE_BATCH = 8, 16
SMALL_RATES, LARGE_RATES = (0.005, 0.1), (0.0005, 0.08)
"""Lowest and highest learning rate that is tried. Recipes have 0.05 and 0.02."""
BACKBONE_RATES = (0.05, 1.0)
"""Factors on the rate of a pre-trained backbone. Source: 0.1 in detr and mmdetection."""
ARMS = ("scratch", "finetuned", "detector", "frozen", "detector_frozen", "glyphs")
"""Arms by importance: where the hours are few, later ones are left out first."""
COCO_KEYPOINTS = 17
GLYPH_CLASSIFIER = {"classes": 10, "images": 3000, "steps": 800, "lr": 0.005}
"""The classifier of drawn glyphs that the program trains itself, as in the study ``bccd``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contenders:
    """The arms of a study with their network and ranges, before lengths and effort are chosen."""

    recipe: str
    settings: Mapping[str, Any]
    """Differences from the recipe: dotted path and value."""
    search: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    """Name of each arm that can run here -> the arm, the most important first."""
    absent: Mapping[str, str]
    """Name of each arm that cannot -> why, and what would help."""
    metric: Metric
    batch_size: int
    rates: tuple[float, float]
    sides: PictureSides
    is_small: bool
    """For a CPU."""

    @property
    def upstream_steps(self) -> int:
        """Updates of the classifier that the study trains itself, for arms that start from it."""
        return int(self.settings.get("upstream", {}).get("steps", 0))

    @property
    def rate_range(self) -> float:
        """The highest learning rate over the lowest."""
        return self.rates[1] / self.rates[0]


def choose_family(seen: SeenFolder, *, is_small: bool) -> Family:
    """The family that learns all that the objects have: keypoints, else masks, else boxes."""
    if seen.num_keypoints:
        return "keypoint_rcnn"
    if seen.has_masks:
        return "mask_rcnn"
    return "retinanet" if is_small else "faster_rcnn"


def propose_contenders(
    seen: SeenFolder, weights: AvailableWeights, *, is_small: bool, has_amx: bool = False
) -> Contenders:
    """The arms that make sense for these pictures with these weights.

    Args:
        seen: the folder.
        weights: those that are here.
        is_small: for a CPU.
        has_amx: the CPU computes bf16 faster than fp32. The file then says so, because the numbers
            of a study must not depend on the machine that happens to run it.
    """
    family = choose_family(seen, is_small=is_small)
    sides = choose_sides(seen.overview, is_small=is_small)
    rates = SMALL_RATES if is_small else LARGE_RATES
    settings = _settings_of(family, weights, sides, is_small=is_small)
    if seen.num_keypoints:
        settings["detector.num_keypoints"] = seen.num_keypoints
    if is_small and has_amx:
        settings["precision"] = "bf16"
    return Contenders(
        recipe=f"tiny_{family}" if is_small else f"{family}_r50_v1",
        settings=settings,
        search={"optimizer.lr": {"log_uniform": [*rates]}},
        arms=_arms_of(seen, weights),
        absent=_absent_arms(seen, weights, is_small=is_small),
        metric=_metric_of(family),
        batch_size=SMALL_BATCH if is_small else LARGE_BATCH,
        rates=rates,
        sides=sides,
        is_small=is_small,
    )


def _metric_of(family: Family) -> Metric:
    metrics: dict[Family, Metric] = {"mask_rcnn": "mask_ap", "keypoint_rcnn": "keypoint_ap"}
    return metrics.get(family, "ap")


def _settings_of(
    family: Family, weights: AvailableWeights, sides: PictureSides, *, is_small: bool
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "detector.min_side_px": sides.min_side_px,
        "detector.max_side_px": sides.max_side_px,
    }
    if not is_small:
        settings |= {
            "detector.norm": "bn",
            "detector.norm_batch": LARGE_BATCH,
            "detector.norm_epsilon": None,
            "detector.head_norm": "none",
            "init": {"source": "random", "weights": None, "frozen": "none"},
            "batch_size": LARGE_BATCH,
        }
    if weights.classifier is None and weights.detector is None:
        return settings | {"upstream": GLYPH_CLASSIFIER}
    if weights.classifier is not None:
        settings["detector.backbone"] = weights.classifier.backbone
    if is_small:
        settings["detector.norm"] = "bn"
        if family not in TWO_STAGE:
            settings["detector.head_norm"] = "gn"
    return settings


def _arms_of(seen: SeenFolder, weights: AvailableWeights) -> dict[str, dict[str, Any]]:
    """Every arm that can run, the most important first."""
    slower = {"optimizer.backbone_rate": {"log_uniform": [*BACKBONE_RATES]}}
    arms: dict[str, dict[str, Any]] = {"scratch": {}}
    if weights.classifier is not None:
        init = dict(weights.classifier.init)
        arms["finetuned"] = {"set": {"init": init}, "search": slower}
        arms["frozen"] = {"set": {"init": init, "init.frozen": "backbone"}}
    if weights.detector is not None and not _refuse_detector(seen, weights):
        init = dict(weights.detector.init)
        arms["detector"] = {"set": {"init": init}, "search": slower}
        arms["detector_frozen"] = {"set": {"init": init, "init.frozen": "backbone"}}
    if len(arms) == 1:
        arms["glyphs"] = {"set": {"init.source": "upstream"}}
    return {name: arms[name] for name in ARMS if name in arms}


def _refuse_detector(seen: SeenFolder, weights: AvailableWeights) -> str:
    """Why a whole detector that is here cannot start this study's runs; empty if it can."""
    if seen.num_keypoints not in (0, COCO_KEYPOINTS):
        return (
            f"COCO's detectors have {COCO_KEYPOINTS} keypoints, these objects {seen.num_keypoints}"
        )
    kinds = [one for one in (weights.classifier, weights.detector) if one is not None]
    if len({one.backbone for one in kinds}) > 1:
        return f"{kinds[1].name} has another backbone than {kinds[0].name}"
    return ""


def _absent_arms(seen: SeenFolder, weights: AvailableWeights, *, is_small: bool) -> dict[str, str]:
    """Arms that one would expect, and why they cannot run here."""
    absent: dict[str, str] = {}
    if weights.classifier is None:
        names = ", ".join(one.name for one in weights.missing_classifiers)
        why = f"no classifier's weights are on this machine (looked for {names})"
        absent |= dict.fromkeys(("finetuned", "frozen"), why)
    why = _refuse_detector(seen, weights)
    if weights.detector is None:
        why = "the weights of a COCO detector are not on this machine"
        if is_small:
            why = "torchvision's COCO detectors have a ResNet-50 at 800 px, too slow for a CPU"
    return absent | (dict.fromkeys(("detector", "detector_frozen"), why) if why else {})


def select_arms(contenders: Contenders, names: tuple[str, ...]) -> Contenders:
    """The same with the named arms alone, in the order of importance.

    Raises:
        SpecError: an arm is not known or cannot run here, or there are fewer than two.
    """
    for name in names:
        if name in contenders.absent:
            must = "must be arms whose weights are here"
            remedy = f"Its reason: {contenders.absent[name]}. Give a file with --weights."
            raise SpecError(explain("--arms", must, name, remedy))
        if name not in contenders.arms:
            must = f"must be among {', '.join(contenders.arms)}"
            raise SpecError(explain("--arms", must, name, nearest(name, [*contenders.arms])))
    if len(set(names)) < 2:
        remedy = f"For instance --arms {','.join([*contenders.arms][:2])}."
        raise SpecError(explain("--arms", "must name two arms or more", ",".join(names), remedy))
    arms = {name: arm for name, arm in contenders.arms.items() if name in names}
    return replace(contenders, arms=arms)
