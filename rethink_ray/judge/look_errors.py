"""The errors that the looks of a study may spend, and what a p value at one of them is worth.

    errors = read_look_errors(study)        # None: the study has a plain number of replicates
    errors.overall([0.2, 0.003])            # sequential p of a two-sided test at two looks
    errors.at_look(1, 0.05)                 # the level of the test at the second look

A study may keep a part of its error for one look beyond the last planned one (``reserve``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.rules import ALPHA, DecisionRule
from rethink_ray.judge.spending import (
    LookPlan,
    nominal_levels,
    sequential_p,
    sequential_p_one_sided,
)
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class LookErrors:
    """How the error of 5 % is shared by the planned looks and one look beyond them."""

    plan: LookPlan
    reserve: float = 0.0
    """The part of 5 % that the look beyond the plan may spend."""

    @property
    def most(self) -> int:
        """Replicates at the last planned look."""
        return self.plan.looks[-1]

    @property
    def num_deciding(self) -> int:
        """How many looks may decide anything: later ones only describe."""
        return len(self.plan.looks) + (self.reserve > 0.0)

    def overall(self, p_values: Sequence[float]) -> float:
        """The smallest overall error at which a look so far rejects, by two-sided p values."""
        return self._combine(sequential_p(self.plan, self._planned(p_values)), p_values)

    def overall_one_sided(self, p_values: Sequence[float]) -> float:
        """The same for p values of one-sided tests."""
        return self._combine(sequential_p_one_sided(self.plan, self._planned(p_values)), p_values)

    def at_look(self, look: int, error: float) -> float:
        """The two-sided level of one look that belongs to an overall error.

        Args:
            look: number of the look, from zero.
            error: two-sided, of all looks together.
        """
        kept = self.reserve / ALPHA
        if look >= len(self.plan.looks):
            return kept * error
        return nominal_levels(self.plan, (1.0 - kept) * error)[look]

    def _planned(self, p_values: Sequence[float]) -> Sequence[float]:
        return p_values[: len(self.plan.looks)]

    def _combine(self, planned: float, p_values: Sequence[float]) -> float:
        """Each part of the error counts by its share of 5 % (Bonferroni)."""
        overall = planned * ALPHA / (ALPHA - self.reserve)
        if self.reserve and len(p_values) > len(self.plan.looks):
            overall = min(overall, p_values[len(self.plan.looks)] * ALPHA / self.reserve)
        return min(1.0, overall)


def read_look_errors(study: Study) -> LookErrors | None:
    """The looks of a study that stops when it has decided; None for any other."""
    budget = study.budget.sequential
    if budget is None:
        return None
    return LookErrors(
        plan=LookPlan(looks=budget.looks, spending=budget.spending), reserve=budget.reserve
    )


def rule_at_last_look(errors: LookErrors, rule: DecisionRule) -> DecisionRule:
    """How the last planned look decides a primary comparison.

    Args:
        errors: that the looks may spend.
        rule: how it is decided with a plain number of replicates.
    """
    last = len(errors.plan.looks) - 1
    return replace(
        rule,
        apart=errors.at_look(last, rule.apart),
        margin_error=errors.at_look(last, 2.0 * rule.margin_error) / 2.0,
    )
