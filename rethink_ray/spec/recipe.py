"""The recipe: the complete method of one run, as frozen data.

Three axes that detection code bases like to mix up are kept apart here: which weights a run starts
from (``init.source``), which normalisation it uses (``detector.norm``), and which stages never
train (``init.frozen``). Combinations that mean nothing are refused in ``Recipe``.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rethink_ray.spec.detector import TWO_STAGE as TWO_STAGE
from rethink_ray.spec.detector import WITH_KEYPOINTS as WITH_KEYPOINTS
from rethink_ray.spec.detector import WITH_MASKS as WITH_MASKS
from rethink_ray.spec.detector import DetectorSpec as DetectorSpec
from rethink_ray.spec.detector import Family as Family
from rethink_ray.spec.detector import Neck as Neck
from rethink_ray.spec.detector import Norm as Norm
from rethink_ray.spec.model import Fraction as Fraction
from rethink_ray.spec.model import PositiveFloat as PositiveFloat
from rethink_ray.spec.model import PositiveInt as PositiveInt
from rethink_ray.spec.model import Spec as Spec

Frozen = Literal["none", "stem", "layer1", "layer2", "layer3", "layer4", "backbone"]
Source = Literal["random", "torchvision", "file", "upstream", "direct"]
Precision = Literal["fp32", "tf32", "bf16"]


class InitSpec(Spec):
    """Where the weights come from, and which of them never move."""

    source: Source = "random"
    weights: str | None = None
    """A torchvision weights name (``torchvision``) or a path (``file``); nothing otherwise."""
    weights_norm: Literal["gn", "bn"] | None = None
    """The normalisation a ``file`` was trained with; required there, so that BN weights never end
    up under GroupNorm."""
    frozen: Frozen = "none"
    """Everything up to and including this stage: no gradient, no statistics, no optimizer."""
    zero_init_residual: bool = False
    """Random weights: the last norm of each residual block starts at zero (Goyal et al. 2017)."""


class AugmentSpec(Spec):
    """Training-time augmentation; evaluation never augments."""

    level: Literal["s1", "s2", "s3", "s4"] | None = None
    """Zoph et al. 2020's names for bundles of the keys below, which then must not be set."""
    flip: Fraction = 0.5
    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Scale jitter, uniform, as a factor of the target size, cropped or padded to it; (1, 1) is
    none. Large-scale jitter is [0.1, 2.0] (Ghiasi et al. 2021)."""
    short_side_px: tuple[PositiveInt, PositiveInt] | None = None
    """The shorter side, uniform in pixels, nothing cropped (He et al. 2018: [640, 800])."""
    canvas: Literal["image", "square"] = "image"
    """What jitter crops and pads to: the target size in the image's own shape, or a square of
    ``detector.max_side_px``."""
    copy_paste: Fraction = 0.0
    """How often objects of another training image are pasted on; needs masks (Ghiasi: 1.0)."""
    policy: Literal["none", "autoaugment", "randaugment"] = "none"
    """AutoAugment: the one learned for detection (Zoph et al. 2019). Both come before the rest."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 10.0
    """RandAugment: how strong each operation is."""
    operations: PositiveInt = 1
    """RandAugment: how many per image (Cubuk et al. 2019, sec. 4.4)."""
    color: Fraction = 0.0
    """Strength of brightness, contrast and saturation jitter; 0 is none."""

    @model_validator(mode="after")
    def _sizes_are_drawn_once(self) -> Self:
        for name in ("scale", "short_side_px"):
            given = getattr(self, name)
            if given is not None and given[0] > given[1]:
                raise ValueError(f"{name} must be [low, high] with low <= high|{given}")
        if self.short_side_px is not None and (self.scale != (1.0, 1.0) or self.canvas != "image"):
            must = "short_side_px must stand alone: scale and canvas give the size too"
            raise ValueError(f"{must}|{self.short_side_px}")
        return self

    @model_validator(mode="after")
    def _level_says_it_all(self) -> Self:
        if self.level is None:
            return self
        for name in ("scale", "short_side_px", "policy", "magnitude", "operations"):
            given = getattr(self, name)
            if given != type(self).model_fields[name].default:
                raise ValueError(f"{name} must be left out beside level, which sets it|{given}")
        return self

    def unbundled(self) -> "AugmentSpec":
        """The same in single keys, without ``level``."""
        if self.level is None:
            return self
        return self.model_copy(update={"level": None} | AUGMENT_LEVELS[self.level])


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
    lr: PositiveFloat = 0.02
    momentum: Fraction = 0.9
    """SGD's momentum, AdamW's beta1."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    norm_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decay on norm weights and on biases of norms (He et al. 2018: none)."""
    clip_norm: PositiveFloat | None = None


class DecaySpec(Spec):
    """How a rung ends. Points count from the *end*, in units of 1x, and are the same for every
    length (He et al. 2018, sec. 3), or are given per length."""

    kind: Literal["step", "constant", "cosine"] = "step"
    before_end: tuple[PositiveFloat, ...] | dict[str, tuple[PositiveFloat, ...]] = (0.667, 0.222)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1

    def points(self, length: float) -> tuple[float, ...]:
        """Decay points of one length, in units of 1x before its end; empty unless ``step``."""
        if self.kind != "step":
            return ()
        if isinstance(self.before_end, dict):
            return self.before_end[f"{length:g}"]
        return self.before_end


class ScheduleSpec(Spec):
    """Schedule lengths in units of 1x; ``unit`` says how many updates 1x is."""

    unit: PositiveInt = 90_000
    lengths: tuple[PositiveFloat, ...] = (2.0,)
    warmup: Annotated[int, Field(ge=0)] = 500
    """Linear warm-up, in updates."""
    decay: DecaySpec = DecaySpec()

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


class UpstreamSpec(Spec):
    """How this program trains the classifier that ``init.source: upstream`` starts from."""

    classes: PositiveInt = 20
    images: PositiveInt = 6000
    image_px: PositiveInt = 64
    labels: Literal["true", "shuffled"] = "true"
    figures: Literal["glyphs", "shapes"] = "glyphs"
    """What the built-in set shows: figures that the ``shapes`` scenes do not have, or the scenes'
    own six, one a picture (the control *same classes*; write ``classes: 6``)."""
    steps: PositiveInt = 1800
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 0.003
    """AdamW's peak rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    seed: int = 0


class DirectSpec(Spec):
    """Direct pre-training (Li et al. 2021): the first stage of ``init.source: direct``.

    The whole detector learns from random weights on the regime's own images, smaller, in large
    batches at a constant rate; the recipe then goes on from all of it with a fresh optimizer. The
    defaults are the paper's P1x of a two-stage detector. Deviations: a crop keeps the image's shape
    where the paper's is square, and what is not named here (heads, anchors) is the recipe's.
    """

    passes: PositiveFloat = 48.0
    """Over the regime's images: 48 is P1x, 144 is P3x."""
    resolution: PositiveFloat = 0.56
    """Of the recipe's side lengths: the paper's 448 of 800 px. The next two take its place."""
    min_side_px: PositiveInt | None = None
    max_side_px: PositiveInt | None = None
    norm: Literal["gn", "bn", "sync_bn"] = "bn"
    norm_batch: PositiveInt | None = None
    """Images per normalisation group, as ``detector.norm_batch``: the paper's is 8."""
    batch_size: PositiveInt = 64
    warmup: Annotated[int, Field(ge=0)] = 500
    """Linear warm-up, in updates; the rate is constant from there on."""
    optimizer: OptimizerSpec = OptimizerSpec(lr=0.08)
    augment: AugmentSpec = AugmentSpec(flip=0.5, scale=(0.8, 1.2))


class LabelsSpec(Spec):
    """What a run learns from: human labels alone, or pseudo labels of a teacher beside them.

    Zoph et al. 2020, sec. 3: a teacher labels unlabelled images, scores below a hard threshold are
    dropped, and the student learns from human and pseudo labels in one batch.
    """

    kind: Literal["human", "self_training", "continued"] = "human"
    """``continued`` is the control: the teacher goes on with human labels alone, for as many
    updates as the student."""
    threshold: Fraction = 0.5
    """A hard one: detections that score below it are no labels."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of each batch, so much is pseudo-labelled; ``batch_size`` counts both kinds."""
    alpha: PositiveFloat = 1.0
    """Weight of the pseudo-labelled loss: (L_human + alpha L_pseudo) / (1 + alpha)."""
    normalise: bool = True
    """Scale the pseudo-labelled loss to the human one by the ratio of their moving averages
    (appendix B)."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """What a moving average keeps of itself at each update. The paper does not say; ours."""
    start: Literal["teacher", "init"] = "teacher"
    """The student's weights before its first update: the teacher's, or what ``init`` says."""
    keep_empty: bool = False
    """Whether images on which the teacher found nothing are learnt from, as pure background."""
    pool: Literal["unlabelled", "rest"] = "unlabelled"
    """``data.unlabelled``, or the training images outside the regime, their labels unused."""


class EvaluationSpec(Spec):
    """Test-time augmentation: every scoring looks at an image in these ways and merges by NMS."""

    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1.0,)
    """Factors of the detector's input size (He et al. 2018's 400 to 1200 px of 800: 0.5 to 1.5)."""
    flip: bool = False
    """Each size mirrored, too."""

    @model_validator(mode="after")
    def _scales_differ(self) -> Self:
        if len(set(self.scales)) != len(self.scales):
            raise ValueError(f"scales must each stand once|{self.scales}")
        return self


class JointSpec(Spec):
    """Joint training (Zoph et al. 2020): the backbone classifies upstream images at the same time.

    Each update adds ``weight`` times the cross-entropy on a batch of ``upstream``'s images. Batch
    statistics (``bn``) then see both kinds of image; ``gn`` does not mind.
    """

    weight: Annotated[float, Field(ge=0)] = 0.0
    """Of the classification loss beside the detector's; 0 is none."""
    batch_size: PositiveInt = 32
    """Upstream images beside each batch, over all workers."""


class Recipe(Spec):
    """The complete method of one run."""

    detector: DetectorSpec = DetectorSpec()
    init: InitSpec = InitSpec()
    augment: AugmentSpec = AugmentSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    batch_size: PositiveInt = 16
    precision: Precision = "fp32"
    """Of convolutions and matrix products both. ``tf32`` (GPUs only) rounds their float32 inputs to
    10 bits; ``bf16`` keeps feature maps in bfloat16, statistics of norms and losses in float32."""
    evaluation: EvaluationSpec = EvaluationSpec()
    upstream: UpstreamSpec = UpstreamSpec()
    labels: LabelsSpec = LabelsSpec()
    joint: JointSpec = JointSpec()
    direct: DirectSpec = DirectSpec()
