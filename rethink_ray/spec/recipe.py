"""The recipe: the complete method of one run, as frozen data.

Three axes that detection code bases like to mix up are kept apart here: which weights a run starts
from (``init.source``), which normalisation it uses (``detector.norm``), and which stages never
train (``init.frozen``). Combinations that mean nothing are refused by ``rules``.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from rethink_ray.spec.detector import TWO_STAGE as TWO_STAGE
from rethink_ray.spec.detector import WITH_KEYPOINTS as WITH_KEYPOINTS
from rethink_ray.spec.detector import WITH_MASKS as WITH_MASKS
from rethink_ray.spec.detector import DetectorSpec as DetectorSpec
from rethink_ray.spec.detector import Family as Family
from rethink_ray.spec.detector import Neck as Neck
from rethink_ray.spec.detector import Norm as Norm
from rethink_ray.spec.detector import UpperNorm as UpperNorm
from rethink_ray.spec.ema import EmaSpec as EmaSpec
from rethink_ray.spec.freezing import Frozen as Frozen
from rethink_ray.spec.freezing import UnfreezeSpec as UnfreezeSpec
from rethink_ray.spec.labels import LabelsSpec as LabelsSpec
from rethink_ray.spec.model import Fraction as Fraction
from rethink_ray.spec.model import Lengths as Lengths
from rethink_ray.spec.model import PositiveFloat as PositiveFloat
from rethink_ray.spec.model import PositiveInt as PositiveInt
from rethink_ray.spec.model import Spec as Spec
from rethink_ray.spec.pixel_input import InputSpec as InputSpec
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.upstream import UpstreamDetectorSpec as UpstreamDetectorSpec
from rethink_ray.spec.upstream import UpstreamSpec as UpstreamSpec

Source = Literal["random", "torchvision", "file", "upstream", "direct", "detector", "timm", "hub"]
KeepClasses = Literal["by_name", "none"]
Precision = Literal["fp32", "tf32", "bf16"]


class InitSpec(Spec):
    """Where the weights come from, and which of them never train."""

    source: Source = "random"
    """Weights before the first update: random ones, a torchvision classifier, a file, a classifier
    that this program trains first (``upstream``), direct pre-training on the regime's images
    (``direct``), a whole ``detector`` that was trained before on other images, weights of timm by
    their tag (``timm``), or timm's network in a repository of the Hugging Face hub (``hub``)."""
    weights: str | None = None
    """The name of torchvision weights (``IMAGENET1K_V1``), the path of a file, a tag of timm's
    weights (``lvd142m``), or a repository of the hub (``org/name`` or ``org/name@revision``). With
    ``source: detector`` it is the name of torchvision's detector weights
    (``FasterRCNN_ResNet50_FPN_Weights.COCO_V1``; of FCOS and Keypoint R-CNN ``COCO_V1`` is enough),
    the path of a detector's file, or ``upstream_detector``. Null for every other source."""
    keep_classes: KeepClasses = "by_name"
    """With ``source: detector``: the rows of categories whose name the loaded detector shares are
    kept (``by_name``; case does not count, and ``sofa`` is ``couch``), or all are as the seed drew
    them (``none``). All other weights are loaded either way."""
    weights_norm: Literal["gn", "bn"] | None = None
    """The normalisation that the network in a file was trained with. It is required there, so that
    weights of batch norm never end up under GroupNorm; networks with norms of their own need none.
    """
    input: InputSpec | None = None
    """Mean, deviation and channel order of the pixels that the weights were trained on: the word
    ``imagenet``, or numbers. It belongs to the network, and exported models carry it. Null takes
    what torchvision's weights, timm's (``timm:<name>.<tag>``), a hub's ``config.json`` and models
    of ours say, and ImageNet's for weights that are drawn or trained here; any other file must have
    it stated. A stated input that contradicts known weights is refused."""
    frozen: Frozen = "none"
    """The last part that never trains: this part and those before it have no gradient, no moving
    statistics, and no place in the optimizer. ``neck`` is the backbone and the pyramid; ``heads``
    adds the proposal network and the hidden layers of all heads, so that only the last layers of
    box, class, mask and keypoint branches train. Both need a whole detector to start from. Source:
    Wang et al. 2020 (arXiv 2003.06957), ucbdrive/few-shot-object-detection,
    fsdet/modeling/meta_arch/rcnn.py (``heads``)."""
    unfreeze: UnfreezeSpec | None = None
    """When everything that is frozen begins to train, with fresh momentum. Null is never."""
    zero_init_residual: bool = False
    """The last norm of each residual block starts at zero, so that the block starts as its
    shortcut; random weights only. Source: Goyal et al. 2017."""


class AugmentSpec(Spec):
    """Training-time augmentation; evaluation never augments."""

    level: Literal["s1", "s2", "s3", "s4"] | None = None
    """A bundle of the keys below under its published name, ``s1`` (weakest) to ``s4``. A key that
    the bundle sets must then be left out. Source: Zoph et al. 2020."""
    flip: Fraction = 0.5
    """Probability that left and right change places. Source: all four papers."""
    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Range of scale jitter: a uniform factor of the target size, then cropped or padded to it. [1,
    1] is none. Source: Li et al. 2021 ([0.8, 1.2]), Ghiasi et al. 2021 ([0.1, 2.0])."""
    short_side_px: tuple[PositiveInt, PositiveInt] | None = None
    """Range of the shorter side in pixels, drawn uniformly; nothing is cropped. Null leaves the
    size to the detector. Source: He et al. 2018 ([640, 800])."""
    canvas: Literal["image", "square"] = "image"
    """What jitter crops and pads to: the target size in the image's own shape, or a square of
    ``detector.max_side_px``. Source: Li et al. 2021, Zoph et al. 2020 (squares)."""
    copy_paste: Fraction = 0.0
    """Probability that objects of another training image are pasted on; it needs masks. Source:
    Ghiasi et al. 2021 (1.0)."""
    policy: Literal["none", "autoaugment", "randaugment"] = "none"
    """AutoAugment (the policy learned for detection) or RandAugment. Either comes before all other
    augmentation. Source: Zoph et al. 2019, Cubuk et al. 2019."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 10.0
    """RandAugment: the strength of each operation, 0 to 10. Source: Cubuk et al. 2019."""
    operations: PositiveInt = 1
    """RandAugment: operations per image. Source: Cubuk et al. 2019, sec. 4.4."""
    color: Fraction = 0.0
    """Strength of brightness, contrast and saturation jitter. 0 is none."""

    rules = (
        Rule(
            key="scale",
            broken=lambda augment: augment.scale[0] > augment.scale[1],
            must="must be [low, high] with low <= high",
        ),
        Rule(
            key="short_side_px",
            broken=lambda a: sorted(a.short_side_px or ()) != [*(a.short_side_px or ())],
            must="must be [low, high] with low <= high",
        ),
        Rule(
            key="short_side_px",
            reads=("scale", "canvas"),
            broken=lambda augment: (
                augment.short_side_px is not None
                and (augment.scale != (1.0, 1.0) or augment.canvas != "image")
            ),
            must="must stand alone: scale and canvas give the size too",
        ),
        Rule(
            key="level",
            reads=("scale", "short_side_px", "policy", "magnitude", "operations"),
            broken=lambda augment: _set_beside_level(augment),
            must="must be left out beside level, which sets it",
        ),
    )

    def unbundled(self) -> "AugmentSpec":
        """The same in single keys, without ``level``."""
        if self.level is None:
            return self
        return self.model_copy(update={"level": None} | AUGMENT_LEVELS[self.level])

    @property
    def repeats_pixels(self) -> bool:
        """Whether training shows each picture in two versions only: as it is and mirrored."""
        one = self.unbundled()
        has_one_size = one.short_side_px is None or len(set(one.short_side_px)) == 1
        is_laid_out_once = one.scale == (1.0, 1.0) and one.canvas == "image"
        is_unchanged = one.policy == "none" and not one.color and not one.copy_paste
        return has_one_size and is_laid_out_once and is_unchanged


def _set_beside_level(augment: AugmentSpec) -> bool | Breach:
    """The first key beside ``level`` that is not at its default."""
    if augment.level is None:
        return False
    for name in ("scale", "short_side_px", "policy", "magnitude", "operations"):
        value = getattr(augment, name)
        if value != AugmentSpec.model_fields[name].default:
            return Breach(key=name, came=list(value) if isinstance(value, tuple) else value)
    return False


AUGMENT_LEVELS: dict[str, dict[str, Any]] = {
    "s1": {"scale": (0.8, 1.2)},
    "s2": {"scale": (0.8, 1.2), "policy": "autoaugment"},
    "s3": {"scale": (0.5, 2.0), "policy": "autoaugment"},
    "s4": {"scale": (0.5, 2.0), "policy": "randaugment", "magnitude": 10.0},
}
"""Zoph et al. 2020: FlipCrop, AutoAugment, AutoAugment with wider jitter, RandAugment with wider
jitter. Their tables name the four; the ranges are as reported second-hand."""


class OptimizerSpec(Spec):
    """The optimizer. ``lr`` is the peak rate for the recipe's *global* batch size."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent with momentum, or AdamW with a beta2 of 0.999."""
    lr: PositiveFloat = 0.02
    """The peak learning rate for the *global* batch size; it does not depend on the number of
    workers or passes. Source: Goyal et al. 2017 (0.02 for 16 images)."""
    momentum: Fraction = 0.9
    """Momentum of SGD, or beta1 of AdamW. Source: Detectron."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay of every trained parameter outside norms. Source: Detectron."""
    norm_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the scales and shifts of norms. Source: He et al. 2018 (none)."""
    backbone_rate: PositiveFloat = 1.0
    """Factor on the learning rate of the backbone's parameters; neck, heads and adapters keep
    ``lr``. Source: facebookresearch/detr, main.py (1e-5 beside 1e-4: 0.1); open-mmlab/mmdetection,
    configs/detr/detr_r50_8xb2-150e_coco.py (``lr_mult`` 0.1)."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each stage of the backbone to the one before: ``layer4`` has
    this factor, ``layer3`` its square, ``stem`` its fifth power; of a plain transformer each block
    counts. It multiplies with ``backbone_rate``. Source: facebookresearch/detectron2,
    projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py (0.7 over 12 blocks) and
    mask_rcnn_vitdet_l_100ep.py (0.8 over 24)."""
    clip_norm: PositiveFloat | None = None
    """Upper limit for the norm of the whole gradient; a longer gradient is scaled down to it. Null
    clips nothing."""
    ema: EmaSpec | None = None
    """An exponential moving average of the weights, which is scored and kept in place of the last
    weights: ``{half_life: 0.1}``. Null averages nothing."""


class DecaySpec(Spec):
    """How a rung ends. Points count from the *end*, in units of 1x, and are the same for every
    length (He et al. 2018, sec. 3), or are given per length."""

    kind: Literal["step", "constant", "cosine", "one_minus_sqrt"] = "step"
    """How the rate falls before the end: in steps, not at all, along a half cosine to zero, or as 1
    - sqrt(t), with t the part of the decay that is done. A cosine falls over the whole length, so
    that lengths share no updates; ``one_minus_sqrt`` begins at the earliest point of
    ``before_end``, where a constant rate ends, so that lengths share their trunk as under ``step``.
    Source: Loshchilov & Hutter 2017 (cosine); Hägele et al. 2024, arXiv 2405.18392, and
    epfml/schedules-and-scaling, src/optim/utils.py (1 - sqrt)."""
    before_end: tuple[PositiveFloat, ...] | dict[str, tuple[PositiveFloat, ...]] = (0.667, 0.222)
    """When ``step`` lowers the rate, in units of 1x before the end: the same points for every
    length, or a mapping of each length (``'2'``) to its points. The decay of ``one_minus_sqrt``
    begins at the earliest and ends at zero; it passes over later points. Source: He et al. 2018,
    sec. 3 (60,000 and 20,000 updates)."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """``step``: each of these points multiplies the rate by this. Source: He et al. 2018, sec.
    3."""

    def points(self, length: float) -> tuple[float, ...]:
        """Points of one length at which a constant rate ends or falls, in units of 1x before its
        end; empty for ``constant`` and ``cosine``."""
        if self.kind in ("constant", "cosine"):
            return ()
        points = self.before_end
        if isinstance(points, dict):
            points = points[f"{length:g}"]
        return points if self.kind == "step" else tuple(sorted(points)[-1:])


class ScheduleSpec(Spec):
    """Schedule lengths in units of 1x; ``unit`` says how many updates 1x is."""

    unit: PositiveInt = 90_000
    """Updates in 1x. Source: Detectron (90,000 updates of 16 images)."""
    lengths: Lengths = (2.0,)
    """The lengths of the ladder in units of 1x, rising. Each is one rung. Source: He et al. 2018
    (2x to 6x)."""
    warmup: Annotated[int, Field(ge=0)] = 500
    """Updates in which the rate rises linearly to its peak. Source: Goyal et al. 2017,
    Detectron."""
    decay: DecaySpec = DecaySpec()
    """How the rate falls at the end of each length."""

    def steps(self, length: float) -> int:
        """Updates in a run of this length."""
        return round(length * self.unit)

    def points(self, length: float) -> tuple[int, ...]:
        """Decay points of one length, in updates before its end, longest first."""
        return tuple(
            sorted((round(p * self.unit) for p in self.decay.points(length)), reverse=True)
        )

    def branch_at(self, length: float) -> int:
        """The update at which the rung of this length leaves the trunk.

        ``cosine`` has no constant part, so its branch begins at zero: nothing is shared.
        """
        if self.decay.kind == "cosine":
            return 0
        return self.steps(length) - max(self.points(length), default=0)


class DirectSpec(Spec):
    """Direct pre-training (Li et al. 2021): the first stage of ``init.source: direct``.

    The whole detector learns from random weights on the regime's own images, smaller, in large
    batches at a constant rate; the recipe then goes on from all of it with a fresh optimizer. The
    defaults are the paper's P1x of a two-stage detector, on squares of 448 px. Deviations: an image
    lies anywhere on its square, where the authors' code puts it at the top left, and the settings
    that are not named here (heads, anchors) are the recipe's. Source: wxzs5/direct-pretraining,
    configs/_base_/datasets/coco_instance_direct_size448.py.
    """

    passes: PositiveFloat = 48.0
    """How often the first stage sees each of the regime's images. Source: Li et al. 2021 (48 is
    P1x, 144 is P3x)."""
    resolution: PositiveFloat = 0.56
    """Side lengths of the first stage as a share of the recipe's. Source: Li et al. 2021 (448 of
    800 px)."""
    min_side_px: PositiveInt | None = None
    """The shorter side in the first stage, in pixels. Null follows from ``resolution``."""
    max_side_px: PositiveInt | None = None
    """Upper limit of the longer side in the first stage, in pixels, and the side of a square
    ``augment.canvas``. Null is the shorter side on a square canvas, and follows from ``resolution``
    on others. Source: Li et al. 2021 (448 px both)."""
    norm: Literal["gn", "bn", "sync_bn"] = "bn"
    """The normalisation of the first stage. The second stage must be able to take it over: ``bn``
    goes on as ``bn``, ``sync_bn`` or ``frozen_bn``, and ``gn`` as ``gn``. Source: Li et al.
    2021."""
    norm_batch: PositiveInt | None = None
    """A check, as ``detector.norm_batch``: how many images the first stage must normalise together.
    Source: Li et al. 2021 (8 images)."""
    batch_size: PositiveInt = 64
    """Images in an update of the first stage, over all workers. Source: Li et al. 2021."""
    warmup: Annotated[int, Field(ge=0)] = 500
    """Updates in which the rate of the first stage rises linearly; then it stays constant. Source:
    Li et al. 2021."""
    optimizer: OptimizerSpec = OptimizerSpec(lr=0.08)
    """The optimizer of the first stage."""
    augment: AugmentSpec = AugmentSpec(flip=0.5, scale=(0.8, 1.2), canvas="square")
    """The augmentation of the first stage. Source: wxzs5/direct-pretraining (factors 0.8 to 1.2,
    crops and padding to a square)."""


class EvaluationSpec(Spec):
    """Test-time augmentation: each image is scored in all views, and NMS merges the detections."""

    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1.0,)
    """Sizes at which each image is scored, as factors of the detector's input size. Source: He et
    al. 2018 (400 to 1200 px of 800: 0.5 to 1.5)."""
    flip: bool = False
    """Each size is scored mirrored as well. Source: He et al. 2018."""

    rules = (
        Rule(
            key="scales",
            broken=lambda evaluation: len(set(evaluation.scales)) != len(evaluation.scales),
            must="must each stand once",
        ),
    )


class JointSpec(Spec):
    """Joint training (Zoph et al. 2020): the backbone classifies upstream images at the same time.

    Each update adds ``weight`` times the cross-entropy on a batch of ``upstream``'s images. Batch
    statistics (``bn``) then see both kinds of image; ``gn`` is not affected.
    """

    weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the classification loss beside the detector's. 0 is no joint training. Source: Zoph
    et al. 2020."""
    batch_size: PositiveInt = 32
    """Upstream images beside each batch, over all workers."""


class Recipe(Spec):
    """The complete method of one run."""

    detector: DetectorSpec = DetectorSpec()
    """The network."""
    init: InitSpec = InitSpec()
    """The weights before the first update, and which of them never move."""
    augment: AugmentSpec = AugmentSpec()
    """Augmentation in training."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """The optimizer."""
    schedule: ScheduleSpec = ScheduleSpec()
    """Lengths, and the learning rate over each of them."""
    batch_size: PositiveInt = 16
    """Images in an update, over all workers. Source: He et al. 2018."""
    precision: Precision = "fp32"
    """The type of convolutions and matrix products. ``tf32`` (GPUs only) rounds their float32
    inputs to 10 bits; ``bf16`` keeps feature maps in bfloat16, statistics of norms and losses in
    float32."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """Views of each image in scoring."""
    upstream: UpstreamSpec = UpstreamSpec()
    """The classifier that ``init.source: upstream`` starts from."""
    labels: LabelsSpec = LabelsSpec()
    """Human labels, or pseudo labels beside them."""
    joint: JointSpec = JointSpec()
    """Classification beside detection."""
    direct: DirectSpec = DirectSpec()
    """The first stage of ``init.source: direct``."""
    upstream_detector: UpstreamDetectorSpec = UpstreamDetectorSpec()
    """The detector of ``init.weights: upstream_detector``."""
