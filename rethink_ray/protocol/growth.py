"""What may still grow once a study has taken a look.

A look compares configurations that the search had found by then, and decides which arms run on. A
longer search, a longer ladder or another arm would change what was compared after the fact.
"""

from collections.abc import Iterable, Iterator

from rethink_ray.protocol.looks import derive_looks, sequential_axis
from rethink_ray.records.types import LookTaken
from rethink_ray.spec.errors import Explanation, SpecError, explain
from rethink_ray.spec.study import Study


def require_same_comparisons(before: Study, after: Study, taken: Iterable[LookTaken]) -> None:
    """A study that has taken a look grows only beyond its last one.

    Args:
        before: the study as it was last continued.
        after: the study as it is to be continued.
        taken: its looks.

    Raises:
        SpecError: something else would grow, or nothing is left to decide.
    """
    looks = derive_looks(before, taken)
    if looks is None or not looks.taken:
        return
    if grown := ", ".join(_list_grown(before, after)):
        must = "must keep its trials, lengths, arms and regimes once it has taken a look"
        remedy = "Looks compared what there was. Give the larger study another --out."
        raise SpecError(Explanation.of("study", must, f"more {grown}", remedy))
    before_plan, after_plan = before.budget.sequential, after.budget.sequential
    if before_plan != after_plan and looks.is_over and not looks.left_open:
        must = "must have a comparison that the looks left open"
        number = after_plan.extended_to if after_plan else None
        remedy = "Every one was decided, or had hardly a chance to be: rethink-ray answer DIR."
        raise SpecError(explain(f"resume --{looks.axis}", must, number, remedy))


def _list_grown(before: Study, after: Study) -> Iterator[str]:
    """What the larger study has more of, besides what its looks count."""
    old, new = before.budget, after.budget
    if new.trials > old.trials:
        yield "trials"
    if after.schedule.lengths != before.schedule.lengths:
        yield "lengths"
    if sequential_axis(before) == "searches" and new.num_replicates > old.num_replicates:
        yield "replicates"
    if sequential_axis(before) == "replicates" and new.num_searches > old.num_searches:
        yield "searches"
    if len(after.arms) > len(before.arms):
        yield "arms"
    if len(after.regimes) > len(before.regimes):
        yield "regimes"
