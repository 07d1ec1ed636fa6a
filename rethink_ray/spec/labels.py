"""Which labels a run learns from: human ones, and pseudo labels beside them."""

from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.model import Fraction, PositiveFloat, Spec


class LabelsSpec(Spec):
    """What a run learns from: human labels alone, or pseudo labels of a teacher beside them.

    Zoph et al. 2020, sec. 3: a teacher labels unlabelled images, scores below a hard threshold are
    dropped, and the student learns from human and pseudo labels in one batch.
    """

    kind: Literal["human", "self_training", "continued"] = "human"
    """Human labels alone, or a teacher's pseudo labels beside them. ``continued`` is the control:
    the teacher goes on with human labels alone, for as many updates as the student. With half of
    the student's ``batch_size`` it sees as many human labels as the student, with all of it as many
    images. Source: Zoph et al. 2020, sec. 3."""
    threshold: Fraction = 0.5
    """Detections of the teacher that score below this are no labels. Source: Zoph et al. 2020, sec.
    3."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The share of each batch that has pseudo labels; ``batch_size`` counts both kinds."""
    alpha: PositiveFloat = 1.0
    """Weight of the loss on pseudo labels: (L_human + alpha L_pseudo) / (1 + alpha). Source: Zoph
    et al. 2020."""
    normalise: bool = True
    """The loss on pseudo labels is scaled to the loss on human ones by the ratio of their moving
    averages. Source: Zoph et al. 2020, appendix B."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """The share of its last value that a moving average keeps at each update. Source: ours; the
    paper does not say."""
    start: Literal["teacher", "init"] = "teacher"
    """The student's weights before its first update: the teacher's, or those that ``init``
    gives."""
    keep_empty: bool = False
    """Images on which the teacher found nothing are used, as background alone. False leaves them
    out."""
    pool: Literal["unlabelled", "rest"] = "unlabelled"
    """The images that the teacher labels: ``data.unlabelled``, or the training images outside the
    regime, whose own labels are not read."""
