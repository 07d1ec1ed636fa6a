"""Which norms, necks, heads and adapters go together in one detector."""

from collections.abc import Collection
from itertools import pairwise

from rethink_ray.spec.networks import BACKBONES, RESIDUAL, has_own_norm, is_plain_vit_name
from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import TWO_STAGE
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.trial_config import uses_upstream_detector

LOADS_A_DETECTOR: Collection[str] = ("detector", "direct")
"""``init.source`` of runs whose pyramid and heads come from a trained detector."""


def _freezes_above(run: Run) -> bool | Breach:
    """Whether heads or pyramid have frozen batch norms; names the key that says so."""
    detector = run.recipe.detector
    for name, norm in (("head_norm", detector.head_norm), ("neck_norm", detector.neck_norm)):
        if norm == "frozen_bn":
            return Breach(key=f"detector.{name}", came=norm)
    return False


HEAD_NORM_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.head_norm",
        reads=("detector.neck", "detector.neck_norm"),
        broken=lambda run: (
            run.recipe.detector.head_norm == "none"
            and run.recipe.detector.neck_norm is None
            and run.recipe.detector.neck not in ("fpn", "simple")
        ),
        must="must be same under {detector.neck}",
        remedy="Write same.",
    ),
    Rule(
        key="detector.neck_norm",
        reads=("detector.neck",),
        broken=lambda run: (
            run.recipe.detector.neck_norm == "none"
            and run.recipe.detector.neck not in ("fpn", "simple")
        ),
        must="must be same or gn under {detector.neck}",
        remedy="Write same.",
    ),
    Rule(
        key="detector.head_norm",
        reads=("detector.family", "detector.norm"),
        broken=lambda run: (
            run.recipe.detector.head_norm == "none"
            and run.recipe.detector.family == "fcos"
            and run.recipe.detector.norm == "gn"
        ),
        must="must be same for fcos under gn: its towers are built with GroupNorm",
        remedy="Write same.",
    ),
    Rule(
        key="detector.head_norm",
        reads=("detector.family",),
        broken=lambda run: (
            run.recipe.detector.head_norm == "frozen_bn"
            and run.recipe.detector.family not in TWO_STAGE
        ),
        must="must be same, none or gn for {detector.family}: its heads learn batch statistics of "
        "each level",
        remedy="Write same or gn; neck_norm: frozen_bn freezes those of the pyramid.",
    ),
    Rule(
        key="detector.head_norm",
        reads=("detector.norm", "detector.neck_norm"),
        broken=lambda run: run.recipe.detector.norm != "frozen_bn" and _freezes_above(run),
        must="must be same, none or gn under detector.norm: {detector.norm}",
        remedy="Set detector.norm: frozen_bn as well.",
    ),
    Rule(
        key="detector.head_norm",
        reads=("init.source", "detector.neck_norm"),
        broken=lambda run: run.recipe.init.source not in LOADS_A_DETECTOR and _freezes_above(run),
        must="must be same, none or gn unless a whole detector is loaded: a frozen norm that was "
        "never trained changes nothing",
        remedy="Set init.source: detector, or write same.",
    ),
)
NETWORK_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.neck",
        reads=("detector.backbone",),
        broken=lambda run: (
            run.recipe.detector.neck == "simple" and run.recipe.detector.backbone in BACKBONES
        ),
        must="must be fpn, nas_fpn or bifpn: {detector.backbone} has maps of four strides",
        remedy="simple is the pyramid of plain ViTs, such as timm:vit_small_patch16_dinov3.",
    ),
    Rule(
        key="detector.neck",
        reads=("detector.backbone",),
        broken=lambda run: (
            run.recipe.detector.neck != "simple" and is_plain_vit_name(run.recipe.detector.backbone)
        ),
        must="must be simple: {detector.backbone} is a plain ViT, which has maps of one stride",
        remedy="Write detector.neck: simple.",
    ),
    Rule(
        key="detector.norm",
        reads=("detector.backbone",),
        broken=lambda run: (
            run.recipe.detector.norm == "frozen_bn" and has_own_norm(run.recipe.detector.backbone)
        ),
        must="must be gn, bn or sync_bn: {detector.backbone} has no batch norm to freeze",
        remedy="The norm is then used in neck and heads alone.",
    ),
    Rule(
        key="detector.norm",
        reads=("detector.neck",),
        broken=lambda run: (
            run.recipe.detector.norm == "frozen_bn" and run.recipe.detector.neck != "fpn"
        ),
        must="must have a norm that learns under detector.neck: {detector.neck}",
        remedy="Use gn, bn or sync_bn; with init.frozen: backbone the backbone's own statistics "
        "and scales stay fixed under bn and sync_bn too.",
    ),
    Rule(
        key="detector.adapters",
        reads=("init.frozen",),
        broken=lambda run: (
            run.recipe.detector.adapters > 0 and run.recipe.init.frozen != "backbone"
        ),
        must="must be 0 unless init.frozen is backbone: adapters learn in its place",
        remedy="Set init.frozen: backbone.",
    ),
    Rule(
        key="detector.adapters",
        reads=("init.source",),
        broken=lambda run: run.recipe.detector.adapters > 0 and run.recipe.init.source == "direct",
        must="must be 0 with init.source: direct: its first stage would train them as well",
        remedy="Start from a classifier, or leave adapters out.",
    ),
    Rule(
        key="detector.adapters",
        reads=("init.source", "init.weights"),
        broken=lambda run: run.recipe.detector.adapters > 0 and uses_upstream_detector(run.recipe),
        must="must be 0 with init.weights: upstream_detector, which would train them as well",
        remedy="Start from a classifier, or leave adapters out.",
    ),
    Rule(
        key="init.zero_init_residual",
        reads=("init.source", "detector.backbone"),
        broken=lambda run: (
            run.recipe.init.zero_init_residual
            and (run.recipe.init.source != "random" or run.recipe.detector.backbone not in RESIDUAL)
            and Breach(
                came=f"true with init.source {run.recipe.init.source} and detector.backbone "
                f"{run.recipe.detector.backbone}"
            )
        ),
        must="must be false unless a residual network starts from random weights",
        remedy="Leave it out.",
    ),
)
HEAD_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.background_iou",
        reads=("detector.family", "detector.foreground_iou"),
        broken=lambda run: (
            run.recipe.detector.family == "retinanet"
            and run.recipe.detector.background_iou > run.recipe.detector.foreground_iou
        ),
        must="must be at most detector.foreground_iou = {detector.foreground_iou:g}",
    ),
    Rule(
        key="detector.box_head",
        reads=("detector.family",),
        broken=lambda run: (
            run.recipe.detector.box_head is not None and run.recipe.detector.family not in TWO_STAGE
        ),
        must="must be left out: {detector.family} has no box head",
    ),
    Rule(
        key="detector.box_loss",
        reads=("detector.family",),
        broken=lambda run: (
            run.recipe.detector.family == "fcos"
            and run.recipe.detector.box_loss not in (None, "giou")
        ),
        must="must be giou or left out: fcos has no anchors that deltas could be taken from",
    ),
    Rule(
        key="detector.cascade_ious",
        broken=lambda run: any(b < a for a, b in pairwise(run.recipe.detector.cascade_ious)),
        must="must not fall from stage to stage",
    ),
)
