"""The study file, key by key. What the keys mean together stands in ``rules``."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rethink_ray.spec.claim import Claim
from rethink_ray.spec.recipe import DecaySpec, PositiveFloat, PositiveInt, Spec
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from rethink_ray.spec.rules.rule import Rule, refuse_value
from rethink_ray.spec.space import Parameter

Count = Annotated[int, Field(ge=0)]


Metric = Literal[
    "ap",
    "ap50",
    "ap75",
    "ap_s",
    "ap_m",
    "ap_l",
    "mask_ap",
    "mask_ap50",
    "mask_ap75",
    "mask_ap_s",
    "mask_ap_m",
    "mask_ap_l",
    "keypoint_ap",
    "keypoint_ap50",
    "keypoint_ap75",
    "keypoint_ap_m",
    "keypoint_ap_l",
]
"""Higher is better in all of them."""


class TeacherFile(Spec):
    """A detector that was trained elsewhere, in one file of weights."""

    file: Annotated[str, Field(min_length=1)]
    """A model of ours (``export --weights``, ``train``), or a detector's state dict under our names
    or torchvision's."""
    set: dict[str, Any] = {}
    """Where it differs from the arm's own settings of ``detector``, ``evaluation``, ``batch_size``
    (of labelling) and ``precision``."""


class ArmSpec(Spec):
    """One contender: a named bundle of settings, with search parameters of its own."""

    set: dict[str, Any] = {}
    search: dict[str, Parameter] = {}
    stands_for: dict[Literal["init"], str] = Field({}, exclude_if=lambda said: not said)
    """What the papers' claims take it for, where no setting says it: ``{init: larger_upstream}`` or
    ``{init: self_supervised}`` for a classifier from a file. No number depends on it."""
    teacher: str | TeacherFile | None = None
    """The arm whose incumbent teaches this one (``labels.kind``), in the same regime: trained again
    for every replicate, as long as its longest length. Or ``{file: ...}``: one and the same for all
    of them."""


class StudySchedule(Spec):
    """The study's own schedule; what is left out comes from the recipe."""

    unit: PositiveInt | None = None
    lengths: tuple[PositiveFloat, ...] | None = None
    converged: PositiveFloat | None = None
    """Points: a round whose best score on ``select_on`` gains less than this over the length before
    has converged and runs no longer one; its cell is then judged at its best length (Zoph et al.
    2020 train every model until it converges). Without it all lengths are run."""
    warmup: Count | None = None
    decay: DecaySpec | None = None


class ObjectiveSpec(Spec):
    """The metric that search and findings look at."""

    metric: Metric = "ap"

    @model_validator(mode="before")
    @classmethod
    def _goal_is_always_higher(cls, tree: Any) -> Any:
        """Study files and records of version 0.1 name a direction, which every metric shares."""
        if not isinstance(tree, dict) or "goal" not in tree:
            return tree
        if tree["goal"] != "maximize":
            raise refuse_value(
                "must be left out", tree["goal"], "goal", "In every metric higher is better."
            )
        return {key: value for key, value in tree.items() if key != "goal"}


class BudgetSpec(Spec):
    """Effort per cell: rounds of ``keep[0]`` trials; ``keep[i]`` of them go on to length i."""

    trials: PositiveInt = 8
    keep: tuple[PositiveInt, ...] | None = None
    audit: Count = 0
    """Losers of the first round that run the whole ladder all the same."""
    replicates: Count = 3
    searches: PositiveInt = 1
    """Independent searches per cell, each with proposals, halving, incumbents and replicates of its
    own. With several of them findings are about arms tuned so, each search being one value."""

    rules = (
        Rule(
            key="keep",
            broken=lambda budget: any(b > a for a, b in pairwise(budget.keep or ())),
            must="must never grow",
        ),
    )


class ReplicateSpec(Spec):
    """What a replicate changes about the run that it repeats."""

    vary: tuple[Literal["seed", "subset"], ...] = ("seed",)
    """``subset``: each replicate trains on another draw of its regime's images, of the same size,
    so that intervals cover the draw too. The search keeps the regime's own; replicate i of all arms
    has the same draw; there is only one draw of all images."""

    rules = (
        Rule(
            key="vary",
            broken=lambda replicate: replicate.vary not in (("seed",), ("seed", "subset")),
            must="must be [seed] or [seed, subset]",
        ),
    )


class CopyFrom(Spec):
    """He et al.'s protocol: tune one arm, copy its values to the others."""

    copy_from: str


class ResourceSpec(Spec):
    """What one trial gets of the cluster."""

    workers: Count = 0
    """0 = in the trial's own process; 1 and more = Ray Train."""
    cpus_per_worker: PositiveInt = 1
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    images_per_step: PositiveInt | None = None
    """Images of one worker in a forward pass; its share of a batch is worked off so many at a time,
    with the gradient of the whole batch (stochastic depth draws anew for each pass). ``None`` = all
    at once. Part of a trial's identity, as ``workers`` is."""
    loader_workers: Count = 0
    retries: Count = 3
    """Machine failures of one job before its round is blocked."""
    deterministic: bool = False
    """GPU: deterministic algorithms, so that training repeats bit for bit."""

    rules = (
        Rule(  # Ray gives a share of one GPU, or whole ones
            key="gpus_per_worker",
            broken=lambda resources: (
                resources.gpus_per_worker > 1 and not resources.gpus_per_worker.is_integer()
            ),
            must="must be a part of one GPU or a whole number",
        ),
        Rule(  # NCCL refuses two ranks on one GPU
            key="gpus_per_worker",
            reads=("workers",),
            broken=lambda resources: resources.workers > 1 and 0 < resources.gpus_per_worker < 1,
            must="must be whole where workers share a trial",
        ),
    )


class CheckpointSpec(Spec):
    """Which files of its trials a study keeps. Nothing here changes a number."""

    models: Literal["incumbents", "all", "none"] = "incumbents"
    """Weights of finished rungs: of each cell's best per length, of every rung, of none."""
    trunks: Literal["promotable", "unfinished", "all"] = "promotable"
    """What a trial goes on from: kept while the study, or the study with longer lengths
    (``promotable``), may take the trial further. What is gone is trained again, bit for bit."""
    detections: Literal["replicates", "none"] = "replicates"
    """Boxes that replicates found in the report split, for statements about other images like
    these: at most 100 a label and image, about 20 bytes each before compression."""


class Study(Spec):
    """One question, one YAML file, one directory."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    question: str = ""
    data: DataSpec
    regimes: Annotated[dict[str, RegimeSpec], Field(min_length=1)]
    recipe: str
    settings: dict[str, Any] = {}
    arms: Annotated[dict[str, ArmSpec], Field(min_length=1)]
    search: dict[str, Parameter] = {}
    schedule: StudySchedule = StudySchedule()
    objective: ObjectiveSpec = ObjectiveSpec()
    budget: BudgetSpec = BudgetSpec()
    replicate: ReplicateSpec = ReplicateSpec()
    tuning: Literal["per_cell"] | CopyFrom = "per_cell"
    sampler: Literal["auto", "tpe", "gp", "quasi_random", "random"] = "auto"
    margin: PositiveFloat = 0.5
    """AP points below which two results count as equal."""
    resources: ResourceSpec = ResourceSpec()
    checkpoints: CheckpointSpec = CheckpointSpec()
    claims: dict[str, Claim] = {}
    """Sentences to hold this study against, beside the papers'; fixed before the first result."""
    seed: int = 0
