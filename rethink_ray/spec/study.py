"""The study file, key by key. What the keys mean together stands in ``rules``."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from rethink_ray.spec.claim import Claim
from rethink_ray.spec.recipe import DecaySpec, Lengths, PositiveFloat, PositiveInt, Recipe, Spec
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from rethink_ray.spec.rules.rule import Breach, Rule, refuse_value
from rethink_ray.spec.sequential import SequentialReplicates, most_of
from rethink_ray.spec.space import Parameter, Value

Count = Annotated[int, Field(ge=0)]
FirstValues = Annotated[dict[str, Value], Field(min_length=1)]
"""Dotted path of a search parameter -> the value that it has in one configuration."""


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
    "voc_ap50",
    "voc07_ap50",
]
"""Higher is better in all of them."""


class TeacherFile(Spec):
    """A detector that was trained elsewhere, in one file of weights."""

    file: Annotated[str, Field(min_length=1)]
    """Path of the weights: a model of ours (``export --weights``, ``train``), or a detector's state
    dict under our names or torchvision's."""
    set: dict[str, Any] = {}
    """Where the teacher differs from the arm's own settings: paths of ``detector`` and
    ``evaluation``, ``batch_size`` (of labelling), ``precision``, and ``init.input`` of a state dict
    that is not ours and not ImageNet's."""


class ArmSpec(Spec):
    """One contender: a named bundle of settings, with search parameters of its own."""

    set: dict[str, Any] = {}
    """Settings of this arm: dotted path of the recipe and its value."""
    search: dict[str, Parameter] = {}
    """Search parameters of this arm alone, beside the study's: dotted path and range."""
    try_first: tuple[FirstValues, ...] = Field((), exclude_if=lambda said: not said)
    """Configurations that this arm alone tries first, after the study's ``try_first``."""
    stands_for: dict[Literal["init"], str] = Field({}, exclude_if=lambda said: not said)
    """How the papers' claims classify this arm where no setting does: ``{init: larger_upstream}``
    or ``{init: self_supervised}`` for a classifier from a file. No number depends on it."""
    teacher: str | TeacherFile | None = None
    """The arm whose incumbent labels images for this one (``labels.kind``): trained again for every
    replicate, to its longest length, in the same regime. ``{file: PATH}`` names one detector for
    all of them."""


class StudySchedule(Spec):
    """The study's own schedule; what is left out comes from the recipe."""

    unit: PositiveInt | None = None
    """Updates in 1x. Null takes the recipe's."""
    lengths: Lengths | None = None
    """The lengths of the ladder in units of 1x, rising. Null takes the recipe's."""
    converged: PositiveFloat | None = None
    """Points that a round must gain on ``select_on`` from one length to the next; a round that
    gains less runs no longer length, and its cell is judged at its best length. Null runs all
    lengths. Source: Zoph et al. 2020 train every model until it converges."""
    warmup: Count | None = None
    """Updates in which the rate rises linearly to its peak. Null takes the recipe's."""
    decay: DecaySpec | None = None
    """How the rate falls at the end of each length. Null takes the recipe's."""


class ObjectiveSpec(Spec):
    """The metric that search and findings look at."""

    metric: Metric = "ap"
    """The metric that halving, search and headlines look at. Higher is better in all of them.
    ``voc_ap50`` (the area under the curve, VOC 2010 and later) and ``voc07_ap50`` (11 points) are
    the VOC devkit's: an object that is *difficult*, or a crowd, is ignored by overlap. COCO's
    metrics treat a difficult object as a crowd. Source: VOCdevkit, ``VOCevaldet.m``."""

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
    """Search trials of each cell."""
    keep: tuple[PositiveInt, ...] | None = None
    """How many trials of a round run each length: ``[4, 2, 1]`` starts four, and the best two, then
    the best one go on. Null halves the trials from length to length."""
    audit: Count = 0
    """Trials of the first round that halving stopped and that run the whole ladder all the same.
    They measure what halving costs."""
    replicates: Count | SequentialReplicates = 3
    """How often each incumbent is trained again with a new seed. Findings rest on these runs alone;
    below three there is no interval. ``{from: 3, to: 9, until: decided}`` looks at 3, 5, 7 and 9
    replicates, and an arm runs on only while one of its primary comparisons is open."""
    searches: PositiveInt | SequentialReplicates = 1
    """Independent searches of each cell, each with its own proposals, halving, incumbents and
    replicates. With several, findings are about the arms, and each search is one value. ``{from: 3,
    to: 9, until: decided}`` adds searches as it adds replicates above."""

    rules = (
        Rule(
            key="keep",
            broken=lambda budget: any(b > a for a, b in pairwise(budget.keep or ())),
            must="must never grow",
        ),
        Rule(
            key="searches",
            reads=("replicates",),
            broken=lambda budget: (
                isinstance(budget.searches, SequentialReplicates)
                and isinstance(budget.replicates, SequentialReplicates)
                and Breach(came=budget.searches.as_written)
            ),
            must="must be a plain number where replicates are added until a comparison is decided",
            remedy="Each search is one value, and only one of the two can wait for a decision: "
            "write replicates: 3.",
        ),
        Rule(
            key="replicates",
            reads=("searches",),
            broken=lambda budget: (
                isinstance(budget.replicates, SequentialReplicates)
                and budget.num_searches > 1
                and Breach(came=budget.replicates.as_written)
            ),
            must="must be a plain number where a cell is searched several times",
            remedy="Each search is one value there: write searches: {{from: 3, to: 9, until: "
            "decided}} and a plain number of replicates.",
        ),
    )

    @property
    def num_replicates(self) -> int:
        """How often an incumbent is trained again; of a sequential budget the most."""
        return most_of(self.replicates)

    @property
    def num_searches(self) -> int:
        """Independent searches of each cell; of a sequential budget the most."""
        return most_of(self.searches)

    @property
    def sequential(self) -> SequentialReplicates | None:
        """The budget that ends when it has decided, of replicates or of searches; None: neither."""
        budgets = (self.replicates, self.searches)
        return next((b for b in budgets if isinstance(b, SequentialReplicates)), None)


class ReplicateSpec(Spec):
    """What a replicate changes about the run that it repeats."""

    vary: tuple[Literal["seed", "subset"], ...] = ("seed",)
    """What differs between replicates. With ``subset`` replicate i of every arm trains on draw i of
    its regime's images, so that intervals cover the draw too; the search keeps the regime's own
    images."""

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
    """The arm that is searched; the others take over its values. Source: the protocol of He et al.
    2018."""


class ResourceSpec(Spec):
    """What one trial gets of the cluster."""

    workers: Count = 0
    """Training processes of a trial: 0 trains in the trial's own process, 1 and more start Ray
    Train."""
    cpus_per_worker: PositiveInt = 1
    """CPUs, and threads, of each worker."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of each worker. A share of one GPU lets several trials use it."""
    images_per_step: PositiveInt | None = None
    """Images of a worker in one forward pass. The gradient is that of the whole batch (stochastic
    depth draws anew for each pass), and the number is part of a trial's id. Null passes all images
    at once."""
    loader_workers: Count = 0
    """Processes of each worker that read and augment images. 0 reads in the worker itself."""
    retries: Count = 3
    """How often a job that a machine failed is tried again before its round is blocked."""
    deterministic: bool = False
    """GPUs use deterministic algorithms, so that training repeats bit for bit."""

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
    """Weights of finished rungs that are kept: those of each cell's best trial per length, of every
    rung, or none."""
    trunks: Literal["promotable", "unfinished", "all"] = "promotable"
    """Which checkpoints are kept for trials to go on from: those that the study with longer lengths
    may need (``promotable``), those that the study as it is may need (``unfinished``), or all. A
    missing one is trained again, bit for bit."""
    detections: Literal["replicates", "none"] = "replicates"
    """Boxes in the report split that are kept, so that findings can speak of other images like
    these: at most 100 for each label and image, about 20 bytes each before compression."""


class StudyEdit(Spec):
    """What one edit of the file added to a study that had results."""

    arms: tuple[str, ...] = ()
    """Names of the arms that it added."""
    regimes: tuple[str, ...] = ()
    """Names of the regimes that it added."""
    claims: tuple[str, ...] = ()
    """Names of the claims that it added: they are post hoc."""


class BaseRecipes(dict[tuple[str, str], Recipe]):
    """(Regime, arm) -> base recipe of one study object, filled by ``resolve.base_recipe``.

    It is no part of the study's value: any two are equal, and a copy or a pickle starts empty.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseRecipes)

    def __deepcopy__(self, memo: object) -> "BaseRecipes":
        return BaseRecipes()

    def __reduce__(self) -> tuple[type["BaseRecipes"], tuple[()]]:
        return (BaseRecipes, ())


class Study(Spec):
    """One question, one YAML file, one directory."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Name of the study: letters, digits, ``_``, ``.`` and ``-``."""
    question: str = ""
    """The question that the study asks, as a sentence. It heads the report."""
    data: DataSpec
    """Images and boxes, and which split decides."""
    regimes: Annotated[dict[str, RegimeSpec], Field(min_length=1)]
    """Name of each amount of data. A smaller regime lies inside a larger one."""
    recipe: str
    """Name of the base recipe."""
    settings: dict[str, Any] = {}
    """Where every cell differs from the base recipe: dotted path and value."""
    arms: Annotated[dict[str, ArmSpec], Field(min_length=1)]
    """Name of each contender. Every arm is tuned and trained in every regime."""
    search: dict[str, Parameter] = {}
    """The search space of every cell: dotted path of the recipe and its range. A path that a regime
    or an arm sets leaves the space there."""
    try_first: tuple[FirstValues, ...] = Field((), exclude_if=lambda said: not said)
    """Configurations that a search tries right after the recipe's own values, in this order:
    ``[{optimizer.lr: 0.04, schedule.decay.factor: 0.02}]``. An entry holds for every cell that
    searches all of its paths; a path that it leaves out has the recipe's value. They count in
    ``budget.trials``, and values that a cell has tried already are not tried twice."""
    schedule: StudySchedule = StudySchedule()
    """The ladder of lengths."""
    objective: ObjectiveSpec = ObjectiveSpec()
    """The metric that decides."""
    budget: BudgetSpec = BudgetSpec()
    """Effort for each cell."""
    replicate: ReplicateSpec = ReplicateSpec()
    """What differs between replicates."""
    tuning: Literal["per_cell"] | CopyFrom = "per_cell"
    """Each cell is searched on its own (``per_cell``), or one arm is searched and the others copy
    its values."""
    sampler: Literal["auto", "tpe", "gp", "quasi_random", "random"] = "auto"
    """How configurations are proposed. ``auto`` takes Sobol points and, from 12 finished trials of
    a cell on, TPE."""
    margin: PositiveFloat = 0.5
    """Points of the metric below which two results count as equal."""
    resources: ResourceSpec = ResourceSpec()
    """Processes, CPUs and GPUs of each trial."""
    checkpoints: CheckpointSpec = CheckpointSpec()
    """Files of its trials that the study keeps."""
    claims: dict[str, Claim] = {}
    """Name of each claim that this study is held against, beside the papers' claims. They are fixed
    once the study has started; one that is added after the first result is *post hoc*."""
    edits: tuple[StudyEdit, ...] = Field(
        (), exclude_if=lambda said: not said, json_schema_extra={"readOnly": True}
    )
    """What ``resume --study`` added after the first result, one entry for each time. The program
    writes it into ``resolved.json``; a study file leaves it out."""
    seed: int = 0
    """Seed from which proposals and the seeds of trials are made."""
    _base_recipes: BaseRecipes = PrivateAttr(default_factory=BaseRecipes)

    @property
    def base_recipes(self) -> BaseRecipes:
        """What this object has resolved so far; a changed copy has none of it."""
        return self._base_recipes

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._base_recipes = BaseRecipes()
        return copied
