"""Which labels a run learns from: human ones, and pseudo labels beside them."""

from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.model import Fraction, PositiveFloat, Spec


class LabelsSpec(Spec):
    """What a run learns from: human labels alone, or pseudo labels beside them.

    Zoph et al. 2020, sec. 3: a teacher labels unlabelled images, scores below a hard threshold are
    dropped, and the student learns from human and pseudo labels in one batch. ``imported`` labels
    are another tool's detections in a file, used in the same way.
    """

    kind: Literal["human", "self_training", "continued", "imported"] = "human"
    """Human labels alone, or pseudo labels beside them: a teacher's (``self_training``), or those
    of ``file`` (``imported``). ``continued`` is the control: the teacher goes on with human labels
    alone, for as many updates as the student. With half of the student's ``batch_size`` it sees as
    many human labels as the student, with all of it as many images. Source: Zoph et al. 2020, sec.
    3."""
    file: str | None = None
    """``imported``: path of detections in COCO's results format, a JSON list of ``{image_id,
    category_id, bbox, score}`` and perhaps ``segmentation``. Its content is part of the ids. Null
    for every other kind. Source: cocodataset.org, results format."""
    threshold: Fraction = 0.5
    """Detections that score below this are no labels. Source: Zoph et al. 2020, sec. 3."""
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
    gives. ``imported`` labels have no teacher: their runs always start as ``init`` says."""
    keep_empty: bool = False
    """Images without a detection above ``threshold`` are used, as background alone. False leaves
    them out."""
    pool: Literal["unlabelled", "rest"] = "unlabelled"
    """The images with pseudo labels: ``data.unlabelled``, or the training images outside the
    regime, whose own labels are not read."""

    @property
    def has_teacher(self) -> bool:
        """Whether another run's detector labels images, or hands on its weights."""
        return self.kind in ("self_training", "continued")

    @property
    def has_pseudo(self) -> bool:
        """Whether a part of each batch has pseudo labels."""
        return self.kind in ("self_training", "imported")

    @property
    def goes_on(self) -> bool:
        """Whether the run starts from its teacher's weights."""
        return self.has_teacher and self.start == "teacher"
