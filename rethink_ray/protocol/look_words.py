"""What the looks of a study say so far, as sentences that ``status`` shows."""

from collections.abc import Iterator

from rethink_ray.protocol.looks import Axis, StudyLooks, sequential_axis
from rethink_ray.records.types import ComparisonState, LookTaken
from rethink_ray.spec.study import Study


def describe_looks(looks: StudyLooks) -> Iterator[str]:
    """Where each primary comparison stands, and when the next look comes."""
    if looks.taken:
        last = looks.taken[-1]
        yield from (_describe(looks, last, comparison) for comparison in last.comparisons)
    if looks.due is not None:
        yield f"the next look comes at {looks.due.replicates} {looks.axis} of {_say_who(looks)}"


def _describe(looks: StudyLooks, last: LookTaken, comparison: ComparisonState) -> str:
    """``full/frozen against full/scratch: stopped at 5 of 9 replicates: decided (supported)``."""
    most = max(looks.plan.to, last.replicates)
    stopped_at = comparison.stopped_at or last.replicates
    so_far = f"{stopped_at} of {most} {looks.axis}"
    if comparison.verdict == "futile":
        words = f"stopped at {so_far}: {most} could not decide it"
    elif comparison.verdict != "open":
        words = f"stopped at {so_far}: decided ({comparison.verdict})"
    elif last.replicates >= looks.plan.to:
        words = f"all {most} {looks.axis} did not decide it"
    elif comparison.more is not None:
        words = f"open after {so_far}; {comparison.more} more would decide with 80 %"
    else:
        words = f"open after {so_far}, and {most} may not decide it"
    return f"{_name_of(comparison)}: {words}"


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
            "comparison of it is open"
        )
