"""The recipe: the complete method of one run, as frozen data.

Three axes that detection code bases like to mix up are kept apart here: which weights a run starts
from (``init.source``), which normalisation it uses (``detector.norm``), and which stages never
train (``init.frozen``). Combinations that mean nothing are refused by ``rules``.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rethink_ray.spec.networks import Backbone
from rethink_ray.spec.rules.rule import Breach, Rule, find_breach, refusal_of

Norm = Literal["gn", "bn", "sync_bn", "frozen_bn"]
Family = Literal[
    "retinanet",
    "fcos",
    "faster_rcnn",
    "cascade_rcnn",
    "mask_rcnn",
    "cascade_mask_rcnn",
    "keypoint_rcnn",
]
Neck = Literal["fpn", "nas_fpn", "bifpn"]
Frozen = Literal["none", "stem", "layer1", "layer2", "layer3", "layer4", "backbone"]
Source = Literal["random", "torchvision", "file", "upstream", "direct"]
Precision = Literal["fp32", "tf32", "bf16"]

WITH_MASKS = frozenset({"mask_rcnn", "cascade_mask_rcnn"})
"""Families that learn from ``masks`` and find them."""
WITH_KEYPOINTS = frozenset({"keypoint_rcnn"})
"""Families that learn from ``keypoints`` and find them."""
TWO_STAGE = frozenset({"faster_rcnn", "cascade_rcnn"}) | WITH_MASKS | WITH_KEYPOINTS
"""Families with a proposal network; the others look at every place once."""

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Spec(BaseModel):
    """What we say: frozen, and strict about names and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    rules: ClassVar[tuple[Rule[Any], ...]] = ()
    """What the keys of this group mean together."""

    @model_validator(mode="after")
    def _breaks_no_rule(self) -> Self:
        if explanation := find_breach(self.rules, self, dict(self)):
            raise refusal_of(explanation)
        return self


class DetectorSpec(Spec):
    """Which network, and every count inside it that changes its numbers or its cost."""

    family: Family = "retinanet"
    backbone: Backbone = "resnet50"
    """A name (``resnet50``, ``efficientnet_b7``, ``swin_t``), ``timm:<name>``, or
    ``package.module:function`` for one of your own."""
    norm: Norm = "gn"
    norm_batch: PositiveInt | None = None
    """A check: how many images ``bn`` or ``sync_bn`` must normalise together (``bn``: batch /
    workers, or ``images_per_step``). ``None`` = any number."""
    padding_group: PositiveInt = 2
    """Neighbours in a training batch that are padded to one size: GroupNorm sees the padding. 2 as
    published (Detectron and detectron2 put two images on a GPU). Under ``bn`` and ``sync_bn`` the
    images that are normalised together are padded together. Scoring pads no image to another."""
    head_norm: Literal["same", "none"] = "same"
    """Of pyramid and heads: the backbone's norm, or none (most published ``bn`` recipes). Under
    ``frozen_bn`` there is none either way."""
    width: PositiveInt = 64
    """Channels of the last stage of the ``tiny`` backbone; other backbones fix their own."""
    adapters: Fraction = 0.0
    """Residual adapters behind every block of a frozen backbone (Rebuffi et al. 2017): the width of
    their bottleneck as a share of the block's channels; 0 is none."""
    neck: Neck = "fpn"
    """The pyramid: Lin et al. 2017, Ghiasi et al. 2019 or Tan et al. 2020. The latter two stand on
    P3 to P7 in every family, as published; with ``tiny`` on the levels that its FPN has."""
    neck_repeats: PositiveInt | None = None
    """How often NAS-FPN or BiFPN repeats its cell; ``None`` = as published, 7 and 3."""
    neck_channels: PositiveInt = 256
    head_convs: Annotated[int, Field(ge=0)] = 4
    """Convolutions in each one-stage head (RetinaNet, FCOS) or in the box head (two stages)."""
    box_head: Literal["2fc", "4conv1fc"] | None = None
    """Two-stage box head by its usual name: two fully connected layers, or four convolutions and
    one of those (He et al. 2018). ``None``: ``head_convs`` convolutions and one, or 2fc without."""
    box_head_features: PositiveInt = 1024
    """Width of the fully connected part of a two-stage box head."""
    cascade_ious: Annotated[tuple[Fraction, ...], Field(min_length=2)] = (0.5, 0.6, 0.7)
    """Cascade R-CNN: the overlap that makes a positive, stage by stage (Cai & Vasconcelos 2018)."""
    cascade_class_agnostic: bool = True
    """Cascade R-CNN: one box regression for all classes, as published, instead of one for each."""
    cascade_from: Annotated[int, Field(ge=0)] = 0
    """Cascade R-CNN: the update at which the later stages join; until then the first one is all
    there is (He et al. 2018, sec. 4.1: 540,000 of 810,000 from scratch). Counted from the start, so
    that all lengths share their trunk."""
    mask_head_convs: Annotated[int, Field(ge=0)] = 4
    mask_head_channels: PositiveInt = 256
    """Mask R-CNN: width of the mask head's convolutions (He et al. 2017, fig. 4)."""
    keypoint_head_convs: Annotated[int, Field(ge=0)] = 8
    keypoint_head_channels: PositiveInt = 512
    """Keypoint R-CNN: width of the keypoint head's convolutions (He et al. 2017, sec. 5)."""
    num_keypoints: PositiveInt = 17
    """Keypoints of an object in the data set: 17 in COCO, 5 in ``shapes``."""
    min_side_px: PositiveInt = 800
    max_side_px: PositiveInt = 1333
    anchor_base_px: PositiveInt = 32
    """Anchor side on the finest pyramid level; doubles per level (FCOS: the regression ranges)."""
    foreground_iou: Fraction = 0.5
    background_iou: Fraction = 0.4
    rpn_pre_nms: PositiveInt = 2000
    rpn_post_nms: PositiveInt = 1000
    rpn_batch: PositiveInt = 256
    """Anchors sampled per image for the proposal network's loss."""
    box_batch: PositiveInt = 512
    """Proposals sampled per image for the box head's loss."""
    candidates: PositiveInt = 1000
    """One-stage detectors: top scores per pyramid level that reach NMS."""
    score_threshold: Fraction = 0.05
    nms_iou: Fraction = 0.5
    detections: PositiveInt = 100


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
