"""Claims as data: which numbers a sentence compares, in which direction, and by how much.

A claim selects rows of a table by their columns, of a paper's table and of a study's replicates
alike. The papers' claims lie in ``claims/``; a study file may add its own.
"""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.recipe import PositiveInt, Spec
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.space import Value
from rethink_ray.spec.yaml_text import parse_yaml

COLUMNS = (
    "source",
    "table",
    "detector",
    "backbone",
    "norm",
    "init",
    "frozen",
    "augment",
    "method",
    "regime",
    "images",
    "schedule",
    "metric",
    "value",
    "split",
    "batch",
    "seeds",
    "tuning",
    "note",
)
"""The columns of a table of published numbers, in order."""
NUMBERS = ("images", "value", "seeds")
MATCHED = (
    "source",
    "detector",
    "backbone",
    "norm",
    "init",
    "frozen",
    "augment",
    "method",
    "regime",
    "metric",
    "split",
)
"""What is equal on both sides of a claim that does not say ``match``, unless it selects by it."""
WHERE = ("source", "regime", "metric", "split")
"""The same, where both sides are named arms."""
STUDY_COLUMNS = ("arm", "dataset", "low_rate", "stage_1_px", "stage_2_px", "passes")
"""Columns beyond those that a study, or a table with more columns, may have. ``dataset``: ``coco``,
``voc``, ... (of a published table, how its regime begins). ``low_rate``: the part of a schedule
after the first decay, in units of 1x."""
RATIO_MARGIN = 0.05
"""Costs within this share of each other count as equal where a claim does not say."""
PAPERS = (
    "he_2018",
    "li_2019",
    "wang_2020",
    "zoph_2020",
    "li_2021",
    "vasconcelos_2022",
    "lee_2022",
    "muralidharan_2025",
)
"""Files in ``claims/``, papers in time order."""
Selector = dict[str, Value | tuple[Value, ...]]
"""Column, or dotted path of the recipe -> the value it must have, or the values it may have."""


ONE_OF_THEM, BOTH, NEITHER = (Breach(came=w) for w in ("one of them", "both", "neither"))


class Along(Spec):
    """The difference, followed along the values of one column."""

    column: str
    """The column whose values are followed, such as ``images`` or ``schedule``."""
    order: tuple[Value, ...] | None = None
    """The values from first to last. Null sorts them as numbers, rising."""
    trend: Literal["falls", "rises", "flat"]
    """How the difference at the last value compares with that at the first."""


class ImageRange(Spec):
    """How many training images a claim is about."""

    at_least: PositiveInt = 1
    """Smallest number of training images."""
    at_most: PositiveInt | None = None
    """Largest number of training images. Null sets no limit."""

    def holds(self, images: int) -> bool:
        """Whether a regime of this size is meant."""
        return self.at_least <= images and (self.at_most is None or images <= self.at_most)


class Claim(Spec):
    """``side`` minus ``against`` is as ``expect`` says."""

    says: Annotated[str, Field(min_length=1)]
    """The claim as a sentence, without its full stop."""
    side: Selector
    """Rows that the claim is about: column, or dotted path of the recipe, and the value or values
    it must have."""
    against: Selector | None = None
    """Rows that ``side`` is compared with. Null compares nothing: the claim follows ``side`` along
    a column."""
    where: Selector = {}
    """Conditions that hold for both sides."""
    images: ImageRange = ImageRange()
    """Sizes of regimes that the claim is about."""
    match: tuple[str, ...] | None = None
    """Columns that must be equal on both sides. Null takes regime, metric and split where both
    sides name an arm, and all columns that describe a method elsewhere."""
    rung: Literal["longest", "shortest", "best", "each"] = "longest"
    """The schedules that are compared: the longest or shortest that both sides share, each side's
    best, or every shared one."""
    expect: Literal["above", "not_below", "equal", "catches_up"] = "above"
    """What is claimed of ``side`` minus ``against``: above zero, not below zero by the margin,
    within the margin, or level from some length on."""
    leader: Literal["same", "best"] = "same"
    """What ``catches_up`` compares with: ``against`` at the same length, or its best over
    lengths."""
    more: Selector | None = None
    """With ``than``: the claim is about the difference under these conditions minus the difference
    under those of ``than``."""
    than: Selector | None = None
    """The conditions that ``more`` is compared with."""
    along: Along | None = None
    """The difference is followed along a column."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Points that count as equal; with ``scale: ratio`` a share. Null takes the study's margin, or
    0.05 for a ratio."""
    goal: Literal["maximize", "minimize"] = "maximize"
    """Direction of the metric: a difference is positive where ``side`` is better."""
    scale: Literal["points", "ratio"] = Field("points", exclude_if=lambda v: v == "points")
    """``ratio`` compares one side as a multiple of the other, for costs."""
    caveats: tuple[str, ...] = ()
    """Sentences that stand beside the verdict."""
    source: str = ""
    """Paper and section or table that make the claim."""
    primary: bool = False
    """The claim is corrected for multiple testing together with the study's headlines; claims of a
    study file only."""

    rules = (
        Rule(
            key="",
            reads=("more", "than"),
            broken=lambda claim: (claim.more is None) != (claim.than is None) and ONE_OF_THEM,
            must="more and than must be given together",
        ),
        Rule(
            key="",
            reads=("more", "than", "along"),
            broken=lambda claim: claim.more is not None and claim.along is not None and BOTH,
            must="must have more and than, or along, not both",
        ),
        Rule(
            key="",
            reads=("against", "along"),
            broken=lambda claim: claim.against is None and claim.along is None and NEITHER,
            must="must have against, or along, or both",
        ),
        Rule(
            key="expect",
            reads=("more", "along", "against"),
            broken=lambda claim: claim.expect == "catches_up" and not _has_two_sides(claim),
            must="must compare two sides and nothing else to be catches_up",
        ),
        Rule(
            key="expect",
            reads=("along",),
            broken=lambda claim: claim.along is not None and claim.expect != "above",
            must="must be left out along a column, where trend says what is expected",
        ),
        Rule(
            key="scale",
            reads=("more", "along", "against", "expect"),
            broken=lambda claim: (
                claim.scale == "ratio"
                and not (_has_two_sides(claim) and claim.expect != "catches_up")
            ),
            must="must compare two sides and nothing else to be ratio",
        ),
    )

    def margin_within(self, of_study: float) -> float:
        """What counts as equal, on the claim's scale: points, or a difference of logarithms."""
        if self.scale == "ratio":
            return math.log1p(RATIO_MARGIN if self.margin is None else self.margin)
        return of_study if self.margin is None else self.margin

    @property
    def selected(self) -> frozenset[str]:
        """Columns that one side, or one difference, selects by; both sides need not agree there."""
        groups = (self.side, self.against, self.more, self.than)
        named = {column for group in groups if group for column in group}
        return frozenset(named | ({self.along.column} if self.along else set()))

    @property
    def matched(self) -> tuple[str, ...]:
        """Columns in which the numbers that are compared agree."""
        if self.match is not None:
            return self.match
        columns: tuple[str, ...] = MATCHED
        if "arm" in self.side and "arm" in (self.against or {}):
            columns = WHERE  # two named arms are compared in all they differ in
        return tuple(column for column in columns if column not in self.selected)

    @property
    def names_a_metric(self) -> bool:
        """Whether some selector says which numbers are meant."""
        groups = (self.side, self.against, self.where, self.more, self.than)
        return any("metric" in group for group in groups if group)


def _has_two_sides(claim: Claim) -> bool:
    return claim.more is None and claim.along is None and claim.against is not None


def about(metric: str, claims: Mapping[str, Claim]) -> dict[str, Claim]:
    """The claims, about ``metric`` where they name none."""
    return {
        name: claim
        if claim.names_a_metric
        else claim.model_copy(update={"where": {**claim.where, "metric": metric}})
        for name, claim in claims.items()
    }


def as_text(value: object) -> str:
    """A value as tables spell it: ``0.1``, ``true``, ``none``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def allowed(values: Value | tuple[Value, ...]) -> frozenset[str]:
    """The spellings a selector accepts in one column."""
    return frozenset(as_text(v) for v in (values if isinstance(values, tuple) else (values,)))


@cache
def paper_claims() -> Mapping[str, Claim]:
    """``he_2018/catch-up`` -> claim, for every claim of a paper, papers in time order."""
    claims: dict[str, Claim] = {}
    for stem in PAPERS:
        text = (Path(__file__).parent / "claims" / f"{stem}.yaml").read_text(encoding="utf-8")
        tree: dict[str, Any] = parse_yaml(text, stem)["claims"]
        for name, entry in tree.items():
            claims[f"{stem}/{name}"] = Claim.model_validate_json(json.dumps(entry))
    return claims


def claims_digest(claims: Mapping[str, Claim]) -> str:
    """16 hex digits over the papers' claims and the study's: it shows whether one has changed."""
    trees = {n: c.model_dump(mode="json") for n, c in {**paper_claims(), **claims}.items()}
    return digest_of(trees)
