"""What a claim may select by: columns that exist, and arms and regimes of the study."""

from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.spec.claim import COLUMNS, STUDY_COLUMNS, Claim, allowed
from rethink_ray.spec.metrics import VOC_METRICS
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import known_paths, nearest


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """A claim, and the values that there are in some columns."""

    claim: Claim
    values: Mapping[str, list[str]]
    """Column -> every value that a claim may select."""
    objective: str | None = None
    """``objective.metric`` of the study; ``None`` if it is not known."""


def _selects_by_no_column(named: ClaimNames) -> bool | Breach:
    known = [*COLUMNS, *STUDY_COLUMNS, *known_paths()]
    claim = named.claim
    unknown = sorted({*claim.selected, *claim.where, *claim.matched} - set(known))
    return bool(unknown) and Breach(came=unknown[0], words={"nearest": nearest(unknown[0], known)})


def _selects_no_value(named: ClaimNames) -> bool | Breach:
    claim = named.claim
    selectors = (claim.side, claim.against, claim.where, claim.more, claim.than)
    for column, values in named.values.items():
        selected = {v for s in selectors if s and column in s for v in allowed(s[column])}
        for value in sorted(selected - set(values)):
            return Breach(came=value, words={"column": column, "nearest": nearest(value, values)})
    return False


def _selects_an_unscored_metric(named: ClaimNames) -> bool | Breach:
    """VOC's metrics are scored where one of them is the objective."""
    claim = named.claim
    if named.objective is None or named.objective in VOC_METRICS:
        return False
    selectors = (claim.side, claim.against, claim.where, claim.more, claim.than)
    selected = {v for s in selectors if s and "metric" in s for v in allowed(s["metric"])}
    unscored = sorted(selected & set(VOC_METRICS))
    words = {"objective": named.objective, "metric": unscored[0]} if unscored else {}
    return bool(unscored) and Breach(came=unscored[0], words=words)


CLAIM_NAME_RULES: tuple[Rule[ClaimNames], ...] = (
    Rule(
        key="",
        broken=_selects_by_no_column,
        must="must select by a column or a path of the recipe",
        remedy="{nearest}",
    ),
    Rule(
        key="",
        broken=_selects_no_value,
        must="must name one of the study's {column}s",
        remedy="{nearest}",
    ),
    Rule(
        key="",
        broken=_selects_an_unscored_metric,
        must="must name a metric that is scored where objective.metric is {objective}",
        remedy="Make it the objective: objective: {{metric: {metric}}}.",
    ),
)
