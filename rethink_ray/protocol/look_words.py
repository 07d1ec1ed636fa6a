"""What the looks of a study say so far, as sentences that ``status`` shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from rethink_ray.protocol.looks import Axis, StudyLooks, sequential_axis
from rethink_ray.records.types import ComparisonState, ComparisonVerdict, LookTaken
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a comparison stands after the looks so far."""

    verdict: ComparisonVerdict
    number: int
    """Replicates (or searches) of each arm at the look that stopped it, or at the last one; 0
    before the first."""
    most: int
    """How many the last look has."""
    more: int | None = None
    """Of an open one: so many more replicates per arm decide it, four times in five, if the
    difference is as observed; None: the looks to come do not reach that."""


def describe_looks(looks: StudyLooks) -> Iterator[str]:
    """Where each primary comparison stands, and when the next look comes."""
    if looks.taken:
        last = looks.taken[-1]
        yield from (_describe(looks, last, comparison) for comparison in last.comparisons)
    if looks.due is not None:
        yield f"the next look comes at {looks.due.replicates} {looks.axis} of {_say_who(looks)}"


def say_standing(standing: Standing, unit: str) -> str:
    """Where a comparison stands, as a clause: ``stopped at 5 of 9 replicates: decided``.

    Args:
        standing: of the comparison.
        unit: ``replicates`` or ``searches``.
    """
    number, most, more = standing.number, standing.most, standing.more
    if standing.verdict == "futile":
        return f"stopped at {number} of {most} {unit}: {most} could not decide it"
    if standing.verdict != "open":
        return f"stopped at {number} of {most} {unit}: decided"
    if number >= most:
        return f"stopped at {most} of {most} {unit}: they did not decide it"
    if not number:
        return f"the first look is still to come, of up to {most} {unit}"
    so_far = f"after {number} of {most} {unit}"
    if more is None:
        return f"{so_far} it is open, and {most} may not decide it"
    return f"{so_far}, {more} more would decide with 80 %"


def _describe(looks: StudyLooks, last: LookTaken, comparison: ComparisonState) -> str:
    """``on full, frozen ends above scratch: stopped at 5 of 9 replicates: decided (supported)``."""
    standing = Standing(
        verdict=comparison.verdict,
        number=comparison.stopped_at or last.replicates,
        most=max(looks.plan.to, last.replicates),
        more=comparison.more,
    )
    words = say_standing(standing, looks.axis or "replicates")
    is_decided = comparison.verdict not in ("open", "futile")
    verdict = f" ({comparison.verdict})" if is_decided else ""
    return f"{_name_of(comparison)}: {words}{verdict}"


def _name_of(comparison: ComparisonState) -> str:
    """``on full, frozen ends above scratch``, or ``claims.NAME`` of a claim of the study file."""
    name, _, number = comparison.key.removeprefix("claim:").rpartition("#")
    return f"claims.{name}" if number and comparison.key.startswith("claim:") else comparison.key


def _say_who(looks: StudyLooks) -> str:
    if not looks.planned:
        return "each cell"
    return ", ".join(looks.left_open or looks.planned[-1].running)


def say_count(study: Study, axis: Axis) -> str:
    """``3 to 9`` or ``3``: how many replicates of an incumbent, or searches of a cell, may come."""
    plan = study.budget.sequential
    if plan is not None and sequential_axis(study) == axis:
        return f"{plan.first} to {plan.to}"
    return f"{study.budget.num_replicates if axis == 'replicates' else study.budget.num_searches}"


def describe_plan(study: Study) -> Iterator[str]:
    """When a study looks at its results, and what runs on; nothing if it has plain numbers."""
    plan = study.budget.sequential
    if plan is not None:
        looks = f"{', '.join(map(str, plan.looks[:-1]))} and {plan.looks[-1]}"
        yield (
            f"the study looks at {looks} {sequential_axis(study)}, and an arm runs on while a "
            f"comparison of it is open: the counts above are those of {plan.to}"
        )
