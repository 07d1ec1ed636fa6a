"""Whether a ladder's lengths, warm-up and decay points fit into one another."""

from itertools import pairwise

from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import LENGTH_PATH

MAX_UPDATES = 10**9
"""More is a typing error, and would not fit the tables."""


def _joins_too_late(run: Run) -> bool | Breach:
    detector, schedule = run.recipe.detector, run.recipe.schedule
    if "cascade" not in detector.family or not detector.cascade_from:
        return False
    ends_at = schedule.steps(min(schedule.lengths, default=0.0))
    return ends_at <= detector.cascade_from and Breach(
        came=detector.cascade_from, words={"ends_at": ends_at}
    )


def _is_no_ladder(recipe: Recipe) -> bool:
    lengths = recipe.schedule.lengths
    return not lengths or any(b <= a for a, b in pairwise(lengths))


def _is_endless(run: Run) -> bool | Breach:
    schedule = run.recipe.schedule
    longest = schedule.lengths[-1]
    return longest * schedule.unit > MAX_UPDATES and Breach(
        came=f"{longest:g}x of {schedule.unit:,}"
    )


def _lacks_decay_points(run: Run) -> bool | Breach:
    """The first length that ``before_end`` has no entry for."""
    decay = run.recipe.schedule.decay
    if decay.kind not in ("step", "one_minus_sqrt") or not isinstance(decay.before_end, dict):
        return False
    names = [f"{length:g}" for length in run.recipe.schedule.lengths]
    missing = [name for name in names if name not in decay.before_end]
    return bool(missing) and Breach(came=list(decay.before_end), words={"length": missing[0]})


def _never_decays(run: Run) -> bool | Breach:
    """The first length that ``one_minus_sqrt`` has no point to begin at."""
    schedule = run.recipe.schedule
    if schedule.decay.kind != "one_minus_sqrt":
        return False
    endless = [length for length in schedule.lengths if not schedule.decay.points(length)]
    return bool(endless) and Breach(came=[], words={"length": f"{endless[0]:g}"})


def _is_too_short(run: Run) -> bool | Breach:
    """The first length in which the rate never reaches its peak before it falls."""
    schedule = run.recipe.schedule
    for length in schedule.lengths:
        first = max(schedule.points(length), default=0)
        warmup = max(schedule.warmup, 1)
        if schedule.steps(length) - first < warmup:
            came = f"{warmup} + {first} > {schedule.steps(length)} updates"
            return Breach(came=came, words={"length": f"{length:g}"})
    return False


def _unfreezes_outside_the_trunk(run: Run) -> bool | Breach:
    """The switch lies before the first update, or behind the trunk that all lengths share.

    A cosine shares no trunk, and its first decay point is its warm-up: there the switch only has to
    lie inside the shortest length.
    """
    schedule, unfreeze = run.recipe.schedule, run.recipe.init.unfreeze
    if unfreeze is None or not schedule.lengths:
        return False
    shortest = min(schedule.lengths)
    latest = schedule.steps(shortest) - max(schedule.points(shortest), default=1)
    switch = unfreeze.first_update(schedule.unit)
    return not 1 <= switch <= latest and Breach(
        came=unfreeze.after,
        words={
            "latest": latest,
            "switch": switch,
            "shortest": f"{shortest:g}",
            "least": 1 / schedule.unit,
            "most": latest / schedule.unit,
        },
    )


SCHEDULE_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.cascade_from",
        reads=("detector.family", LENGTH_PATH, "schedule.unit"),
        broken=_joins_too_late,
        must="must be under the {ends_at} updates of the shortest length",
        remedy="Start the ladder at a longer length, or let the cascade join earlier.",
    ),
    Rule(
        key="schedule.lengths",
        reads=(LENGTH_PATH,),
        broken=lambda run: _is_no_ladder(run.recipe),
        must="must be increasing, at least one",
    ),
    Rule(
        key="schedule.lengths",
        reads=(LENGTH_PATH, "schedule.unit"),
        broken=_is_endless,
        must=f"must end within {MAX_UPDATES:,} updates",
    ),
    Rule(
        key="schedule.decay.before_end",
        reads=(LENGTH_PATH, "schedule.decay.kind"),
        broken=_lacks_decay_points,
        must="must have an entry '{length}'",
    ),
    Rule(
        key="schedule.decay.before_end",
        reads=(LENGTH_PATH, "schedule.decay.kind"),
        broken=_never_decays,
        must="must say where the decay of {length}x begins, under one_minus_sqrt",
        remedy="Such as [0.667], or take schedule.decay.kind: constant.",
    ),
    Rule(
        key="schedule",
        reads=(LENGTH_PATH, "schedule.unit", "schedule.warmup", "schedule.decay.kind"),
        broken=_is_too_short,
        must="must fit warm-up (at least one update) + first decay point into {length}x",
        remedy="Start the ladder at a longer length, or shorten the warm-up.",
    ),
    Rule(
        key="init.unfreeze",
        reads=(LENGTH_PATH, "schedule.unit", "schedule.decay.kind"),
        broken=_unfreezes_outside_the_trunk,
        must="must begin within updates 1 to {latest}, before the rate of {shortest}x first falls",
        remedy="This is update {switch}. Write a number between {least:g} and {most:g} as after.",
    ),
)
