"""How fast an H100 trains the detectors of large studies: a guess from published numbers.

None of it was measured with this program, which has never had a GPU. ``simulate_cluster.py`` uses
it until ``--pace FILE`` says better.
"""

from dataclasses import dataclass

from rethink_ray.search.measured_paces import asset_pace_key
from rethink_ray.search.paces import ANY_ARM, Pace
from rethink_ray.spec.batches import images_by_kind
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.recipe import TWO_STAGE, Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.spec.study import Study

V100_SECONDS = {
    "retinanet": 0.200,
    "faster_rcnn": 0.210,
    "mask_rcnn": 0.261,
    "cascade_rcnn": 0.210 * 0.317 / 0.261,
    "cascade_mask_rcnn": 0.317,
}
"""Seconds of an update of 16 images, ResNet-50 with FPN and a frozen norm at 800 x 1333, on 8 V100
in fp32. Source: detectron2, MODEL_ZOO.md (box cascade: Faster R-CNN times the mask cascade over
Mask R-CNN). NAS-FPN counts as FPN: mmdetection, configs/nas_fpn, scores 23.0 and 22.9 images a
second with them."""
NORM_FACTORS = {"frozen_bn": 1.0, "gn": 0.400 / 0.261, "sync_bn": 0.371 / 0.261}
"""Of a whole network with that norm and a 4conv1fc head over one with a frozen norm and 2fc.
Source: as above, "Ablations for normalization methods"."""
FROZEN_FACTORS = {"layer1": 0.356 / 0.400, "backbone": 0.75}
"""Of a network whose first stages are frozen over one that trains whole. ``layer1``: as above, GN
and GN (scratch). ``backbone`` is an assumption, for which nothing was published."""
H100_PER_V100 = 11.37 / 3.77 * 14.4 / 7.8
"""5.6: Mask R-CNN on 8 V100 in fp32 took 11.37 hours, on 8 A100 in mixed precision 3.77 (NVIDIA,
DeepLearningExamples, TensorFlow2/Segmentation/MaskRCNN); ResNet-50 on 16 A100 took 14.4 minutes, on
16 H100 7.8 (MLPerf Training 3.0, Dell)."""
V100_SECONDS_PER_SCORED_IMAGE = 0.06
"""Mask R-CNN with GroupNorm 0.069, a cascade 0.053. Source: detectron2, MODEL_ZOO.md."""
SCALING = 7.68 / 8
"""Share of its speed that a GPU keeps among eight. Source: NVIDIA, DeepLearningExamples,
PyTorch/Segmentation/MaskRCNN (8 V100, 8 images each). With two images a GPU it may be less."""
COUNTING_FACTOR = 4 / 3
"""Of an update in micro-batches over one in a single pass, in two-stage families: all images pass
forward once more to count what losses are divided by (``training.micro_batches``). A forward pass
has a third of an update's operations."""
SECONDS_TO_START = 60.0
"""An assumption: Ray Train starts in 30 to 45 s on two busy cores; network, indexes, files."""
COCO_SHAPE = 1.35
"""Mean of the longer side over the shorter one, for sizes on a square canvas."""
SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGpus:
    """What a job has."""

    num: int
    images_per_step: int | None = None
    """Most images of a GPU in one pass."""

    @property
    def speed(self) -> float:
        """Over that of one GPU."""
        return self.num * (SCALING if self.num > 1 else 1.0)


def guess_paces(study: Study, facts: DataFacts, gpus_per_job: int) -> dict[str, Pace]:
    """The paces of every cell and of the assets that a study learns from its own images.

    Arithmetic counts as bf16, also where the study says fp32.

    Args:
        study: on COCO, with one of the detectors above.
        facts: of its data.
        gpus_per_job: GPUs that share a trial.
    """
    gpus = JobGpus(num=gpus_per_job, images_per_step=study.resources.images_per_step)
    speed = gpus.speed
    paces: dict[str, Pace] = {}
    for cell in cells_of(study):
        recipe = base_recipe(study, cell)
        paces[f"{cell.regime}/{cell.arm}"] = _pace(seconds_per_update(recipe, gpus), speed)
        if recipe.init.source == "direct":
            first = direct_recipe(recipe, facts.regime_sizes[cell.regime])
            paces[asset_pace_key("direct")] = _pace(seconds_per_update(first, gpus), speed)
        if recipe.labels.has_pseudo:
            pool = facts.split_sizes["train"] * V100_SECONDS_PER_SCORED_IMAGE / H100_PER_V100
            paces[asset_pace_key("pseudo_labels")] = _pace(0.0, speed, pool / speed)
    plain = base_recipe(study, cells_of(study)[0])
    paces[asset_pace_key("teacher")] = _pace(seconds_per_update(plain, gpus), speed)
    paces[ANY_ARM] = paces[asset_pace_key("teacher")]
    return paces


def _pace(update: float, speed: float, more_seconds: float = 0.0) -> Pace:
    return Pace(
        seconds_per_update=update,
        seconds_per_scored_image=V100_SECONDS_PER_SCORED_IMAGE / H100_PER_V100 / speed,
        seconds_to_start=SECONDS_TO_START + more_seconds,
        spread=SPREAD,
    )


def seconds_per_update(recipe: Recipe, gpus: JobGpus) -> float:
    """Seconds of an update of the whole batch on the GPUs of a job.

    Images with human and with pseudo labels pass the network apart.
    """
    per_image, seconds = seconds_per_image(recipe), 0.0
    for num_images in images_by_kind(recipe):
        share = num_images / gpus.num
        at_once = min(share, gpus.images_per_step or share)
        counting = recipe.detector.family in TWO_STAGE and at_once < share
        seconds += share * per_image * (COUNTING_FACTOR if counting else 1.0)
    return seconds * gpus.num / gpus.speed  # a share is trained on by each of them


def seconds_per_image(recipe: Recipe) -> float:
    """Seconds of one H100 for an image of an update, when the GPU is full."""
    detector = recipe.detector
    per_image = V100_SECONDS[detector.family] * 8 / 16 / H100_PER_V100
    per_image *= NORM_FACTORS["sync_bn" if detector.norm == "bn" else detector.norm]
    return per_image * FROZEN_FACTORS.get(recipe.init.frozen, 1.0) * _relative_area(recipe)


def _relative_area(recipe: Recipe) -> float:
    """Mean area of an image over that at 800 x 1333."""
    detector, augment = recipe.detector, recipe.augment
    if augment.canvas == "square":
        return detector.max_side_px**2 / (COCO_SHAPE * 800**2)
    low = high = detector.min_side_px
    if augment.short_side_px is not None:
        low, high = augment.short_side_px[0], augment.short_side_px[-1]
    return (low**2 + low * high + high**2) / 3 / 800**2
