"""The label settings of a run, read back from the live batches, losses and files."""

from collections.abc import Mapping
from typing import Any

from rethink_ray.data.loader import TrainBatches
from rethink_ray.data.mixing import MixedBatches
from rethink_ray.training.joint import JointImages
from rethink_ray.training.live import Live
from rethink_ray.training.pseudo_labels import PseudoLabels


def read_labels(
    live: Live, batches: TrainBatches, pseudo: PseudoLabels | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Dotted path -> live value for a student; empty for a run on human labels alone.

    ``settings``: read as if all labels were of one kind. Each kind is normalised by itself, so
    ``detector.norm_batch`` is read again here.
    """
    if live.balance is None or pseudo is None or not isinstance(batches, MixedBatches):
        return {}
    parts, balance = batches.parts, live.balance
    label_settings = {
        "labels.kind": pseudo.kind,
        "labels.share": parts.pseudo / (parts.human + parts.pseudo),
        "labels.alpha": balance.alpha,
        "labels.normalise": balance.normalise,
        "labels.average": balance.average,
        "labels.threshold": pseudo.threshold,
        "labels.keep_empty": pseudo.keep_empty,
        "labels.pool": pseudo.pool,
    }
    if "detector.norm_batch" in settings:
        label_settings["detector.norm_batch"] = live.images_normalised_together(parts.human_share)
    return label_settings


def read_joint(live: Live, joint: JointImages | None) -> dict[str, Any]:
    """Dotted path -> live value for a run that classifies upstream images; empty for any other."""
    if live.joint is None or joint is None:
        return {}
    return {
        "joint.weight": live.joint.weight,
        "joint.batch_size": joint.order.batch_size,
        "upstream.classes": live.joint.head.out_features,
    }
