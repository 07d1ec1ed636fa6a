"""What a study needs of its images and annotations, once the data set has been read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.direct import direct_steps
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Recipe
from rethink_ray.spec.regime import HOLDOUTS, num_images
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.study import Study

BOXES_ALONE = "The training annotations hold boxes alone (no `segmentation` that can be read)"


@dataclass(frozen=True, slots=True)
class StudyImages:
    """A study, and how many training images there are outside the hold-out."""

    study: Study
    available: int | None
    """``None``: the data set has not been read yet."""

    @property
    def words(self) -> Mapping[str, Any]:
        """What the sentences of a rule are filled from."""
        num_cut = len(HOLDOUTS & {self.study.data.select_split, self.study.data.report_split})
        left = ("there are", "that the hold-out leaves", "that the hold-outs leave")[num_cut]
        return {"images": f"{self.available} training images {left}"}

    def leaves_images_out(self) -> bool:
        """Whether some regime is less than all images; assumed of a number before it is known."""
        most = 10**9 if self.available is None else self.available
        regimes = self.study.regimes.values()
        return any(num_images(regime.images, most) < most for regime in regimes)


@dataclass(frozen=True, slots=True)
class RunOnImages:
    """A recipe and the images that it trains on."""

    recipe: Recipe
    facts: DataFacts
    num_images: int
    """Of its regime."""

    @property
    def words(self) -> Mapping[str, Any]:
        """What the sentences of a rule are filled from."""
        return {**dict(self.recipe), "facts": self.facts, "boxes_alone": BOXES_ALONE}


def _leaves_no_image(images: StudyImages) -> bool | Breach:
    if images.available is None:
        return False
    for name, regime in images.study.regimes.items():
        if num_images(regime.images, images.available) == 0:
            return Breach(key=f"regimes.{name}.images", came=regime.images)
    return False


def _asks_for_too_many(images: StudyImages) -> bool | Breach:
    if images.available is None:
        return False
    for name, regime in images.study.regimes.items():
        if num_images(regime.images, images.available) > images.available:
            return Breach(key=f"regimes.{name}.images", came=regime.images)
    return False


IMAGE_RULES: tuple[Rule[StudyImages], ...] = (
    Rule(
        key="regimes",
        broken=_asks_for_too_many,
        must="must be at most the {images}",
        remedy="Write a smaller number, or all.",
    ),
    Rule(
        key="regimes",
        broken=_leaves_no_image,
        must="must leave at least one of the {images}",
        remedy="Write a larger share, or a number of images.",
    ),
    Rule(
        key="replicate.vary",
        reads=("regimes",),
        broken=lambda images: (
            "subset" in images.study.replicate.vary and not images.leaves_images_out()
        ),
        must="must be [seed] where every regime is all images, of which there is one draw",
        remedy="Give a regime fewer images, or leave subset out.",
    ),
)


def _ends_in_warm_up(run: RunOnImages) -> bool | Breach:
    """The first stage of direct pre-training lasts longer than its warm-up, by at least one
    update."""
    if run.recipe.init.source != "direct":
        return False
    steps = direct_steps(run.recipe, run.num_images)
    warmup = run.recipe.direct.warmup
    return steps <= warmup and Breach(came=warmup, words={"steps": steps})


PASSES_RULES: tuple[Rule[RunOnImages], ...] = (
    Rule(
        key="direct.warmup",
        reads=("init.source", "direct.passes", "direct.batch_size"),
        broken=_ends_in_warm_up,
        must="must end within the first stage's {steps} updates",
        remedy="Shorten it, ask for more direct.passes, or make direct.batch_size smaller.",
    ),
)


def _needs(run: RunOnImages, families: frozenset[str]) -> bool:
    return run.recipe.detector.family in families


def _lacks_keypoints(run: RunOnImages) -> bool | Breach:
    """Training objects share no keypoints, or objects that score have others."""
    num, predicted = run.facts.num_keypoints, run.recipe.detector.num_keypoints
    if not _needs(run, WITH_KEYPOINTS) or num is None or num not in (0, predicted):
        return False
    who = "Objects of a split that scores" if num else "Training objects"
    is_same = num == predicted and run.facts.scored_keypoints in (None, num)
    return not is_same and Breach(came=run.recipe.detector.family, words={"who": who})


@dataclass(frozen=True, slots=True)
class ScoredStudy:
    """A study and the facts about the splits on which it is scored."""

    study: Study
    facts: DataFacts

    def is_never_a_number(self) -> bool | Breach:
        """Whether the metric of the objective counts no object of a split that scores."""
        metric = self.study.objective.metric
        for split, undefined in self.facts.undefined_metrics.items():
            if metric in undefined:
                return Breach(came=metric, words={"split": split})
        return False


OBJECTIVE_RULES: tuple[Rule[ScoredStudy], ...] = (
    Rule(
        key="objective.metric",
        reads=("data.select_on", "data.report_on"),
        broken=ScoredStudy.is_never_a_number,
        must="must be a metric that counts objects of split {split}",
        remedy="No object there has that size or keypoints. Choose another metric, such as ap.",
    ),
)

ANNOTATION_RULES: tuple[Rule[RunOnImages], ...] = (
    Rule(
        key="detector.family",
        broken=lambda run: (
            _needs(run, WITH_MASKS)
            and run.facts.has_masks is not False
            and run.facts.scored_masks is False
        ),
        must="must be a family without masks",
        remedy="A split that scores has boxes alone, so masks could not be scored.",
    ),
    Rule(
        key="detector.family",
        broken=lambda run: _needs(run, WITH_MASKS) and run.facts.has_masks is False,
        must="must be a family without masks",
        remedy="{boxes_alone}; such as faster_rcnn or cascade_rcnn.",
    ),
    Rule(
        key="augment.copy_paste",
        broken=lambda run: run.facts.has_masks is False and run.recipe.augment.copy_paste > 0,
        must="must be 0 without masks",
        remedy="{boxes_alone}, and objects are pasted by their masks.",
    ),
    Rule(
        key="direct.augment.copy_paste",
        reads=("init.source",),
        broken=lambda run: (
            run.facts.has_masks is False
            and run.recipe.init.source == "direct"
            and run.recipe.direct.augment.copy_paste > 0
        ),
        must="must be 0 without masks",
        remedy="{boxes_alone}, and objects are pasted by their masks.",
    ),
    Rule(
        key="detector.family",
        reads=("detector.num_keypoints",),
        broken=_lacks_keypoints,
        must="must be a family without keypoints",
        remedy="{who} have none, or others: all of them must share the same.",
    ),
    Rule(
        key="detector.num_keypoints",
        reads=("detector.family",),
        broken=lambda run: (
            _needs(run, WITH_KEYPOINTS)
            and run.facts.num_keypoints not in (None, 0, run.recipe.detector.num_keypoints)
        ),
        must="must be the {facts.num_keypoints} keypoints that the training objects have",
    ),
)
"""Facts that an older version did not gather (``None``) refuse nothing."""
