"""Where this program loses, and why, in plain sentences with the numbers of a tally."""

from collections.abc import Iterator, Sequence

from rethink_ray.search.costs import ladder_steps
from rethink_ray.spec.resolve import base_recipe, cells_of
from verdicts.program import BY_RULE, FIXED, build_study
from verdicts.sequential import SEQUENTIAL
from verdicts.surfaces import LENGTHS
from verdicts.tables import FULL_RUN, RIVALS
from verdicts.tally import (
    LEADS,
    MOST_UPDATES,
    Kind,
    Point,
    Tally,
    rate_against_rivals,
    share_open,
)

FEWEST_REPLICATES = 3
OWN = (FIXED, SEQUENTIAL)


def say_losses(tally: Tally) -> Iterator[str]:
    """Each sentence is one line."""
    yield from say_cheapest(tally)
    yield from say_floor(tally)
    for policy in OWN:
        yield say_goal(tally, policy)
    yield from say_search_share(tally)
    yield from say_open(tally)
    yield from say_false(tally)
    yield say_rule(tally)


def count_floor() -> float:
    """Updates of a study that searches nothing and trains each arm three times, in units of 1x."""
    study = build_study(1, 0)
    cells = cells_of(study)
    schedule = base_recipe(study, cells[0]).schedule
    return FEWEST_REPLICATES * len(cells) * ladder_steps(schedule, LENGTHS) / schedule.unit


def say_cheapest(tally: Tally) -> Iterator[str]:
    """What rivals answer for less than our cheapest budget."""
    runs = {point: mean_runs(tally, point) for point in tally.points}
    least = min(runs[point] for point in tally.points if point[0] in OWN)
    cheaper = [p for p in tally.points if p[0] in RIVALS and runs[p] < least]
    yield f"- Below {least:.0f} runs of 6x we have no answer."
    if cheaper:
        best = max(cheaper, key=lambda p: mean_right(tally, p))
        yield (
            f"- The best answer for less is {name(best)}: {100 * mean_right(tally, best):.0f} % of "
            f"its verdicts are right for {runs[best]:.0f} runs."
        )


def say_floor(tally: Tally) -> Iterator[str]:
    """On which kinds no budget of ours could meet the goal, whatever it finds."""
    floor = count_floor()
    out_of_reach = [
        kind for kind in tally.scores if floor > MOST_UPDATES * rival_updates(tally, kind)
    ]
    yield (
        f"- Three replicates of every arm at three lengths cost {floor / FULL_RUN:.0f} runs of 6x "
        "without any search."
    )
    yield (
        f"- On {len(out_of_reach)} of {len(tally.scores)} kinds that alone is more than "
        f"{MOST_UPDATES:g} of the best rival's updates, so the goal is out of reach there"
        f"{': ' + list_kinds(out_of_reach) if out_of_reach else ''}."
    )


def say_goal(tally: Tally, policy: str) -> str:
    """On how many kinds a policy of ours meets the goal, and on how many it could."""
    goals = {kind: rate_against_rivals(tally, [kind], policy, RIVALS) for kind in tally.scores}
    met = [kind for kind, goal in goals.items() if goal.is_met]
    cheaper = [kind for kind, goal in goals.items() if goal.ratio < 1.0]
    return (
        f"- {policy}: the goal is met on {len(met)} of {len(goals)} kinds"
        f"{' (' + list_kinds(met) + ')' if met else ''}, and fewer updates than the best rival's "
        f"are enough on {len(cheaper)}."
    )


def say_search_share(tally: Tally) -> Iterator[str]:
    """How much of each budget of ours chooses configurations and decides nothing."""
    for point in tally.points:
        if point[0] == FIXED:
            search = float(tally.values(point, lambda s: s.updates_search).mean()) / FULL_RUN
            runs = mean_runs(tally, point)
            yield (
                f"- {name(point)}: {search:.0f} of {runs:.0f} runs are search "
                f"({100 * search / runs:.0f} %), and {100 * mean_right(tally, point):.0f} % of the "
                "verdicts are right."
            )


def say_open(tally: Tally) -> Iterator[str]:
    """Which true leads stay open at the budget of ours with the most right verdicts."""
    best = max((p for p in tally.points if p[0] in OWN), key=lambda p: mean_right(tally, p))
    parts = []
    for size in LEADS:
        right, false, asked = (
            float(tally.values(best, lambda s, size=size, i=i: s.by_lead[size][i]).sum())  # type: ignore[misc]
            for i in range(3)
        )
        if asked:
            parts.append(f"{100 * (asked - right - false) / asked:.0f} % of leads of {size} AP")
    yield f"- What {name(best)} leaves open: {', '.join(parts)}."


def say_false(tally: Tally) -> Iterator[str]:
    """How often a study of ours says something false, and whether the search is to blame."""
    for point in tally.points:
        if point[0] in OWN:
            any_false = 100 * float(tally.values(point, lambda s: s.by_rule.any_false).mean())
            false = 100 * float(tally.values(point, lambda s: s.by_rule.false).mean())
            of_pair = 100 * float(tally.values(point, lambda s: s.by_rule.false_of_winners).mean())
            yield (
                f"- {name(point)}: {any_false:.0f} % of studies have a false verdict. Of all "
                f"verdicts {false:.1f} % are false about the arms, and {of_pair:.1f} % about the "
                "configurations compared."
            )


def say_rule(tally: Tally) -> str:
    """How far the findings of fixed replicates and the rule for rivals agree."""
    differences = []
    for policy, budget in tally.points:
        if policy == FIXED:
            ours, ruled = (
                share_open(
                    tally.values((one, budget), lambda s: s.by_rule.right),
                    tally.values((one, budget), lambda s: s.by_rule.false),
                )
                for one in (FIXED, BY_RULE)
            )
            differences.append(100 * float(abs(ours - ruled).mean()))
    return (
        "- Findings of fixed replicates and the rule for rivals leave different shares open by "
        f"{max(differences):.1f} points at most."
    )


def name(point: Point) -> str:
    """Policy and budget in words."""
    return f"{point[0]}, {point[1]}"


def list_kinds(kinds: Sequence[Kind]) -> str:
    """Kinds in words."""
    return ", ".join(" ".join(kind) for kind in kinds)


def mean_runs(tally: Tally, point: Point) -> float:
    """Mean cost in runs of 6x."""
    return float(tally.values(point, lambda s: s.updates).mean()) / FULL_RUN


def mean_right(tally: Tally, point: Point) -> float:
    """Mean share of right verdicts."""
    return float(tally.values(point, lambda s: s.by_rule.right).mean())


def rival_updates(tally: Tally, kind: Kind) -> float:
    """What the best rival as asked spends on a kind of surfaces, in units of 1x."""
    best = rate_against_rivals(tally, [kind], FIXED, RIVALS).rival
    return float(tally.values(best, lambda s: s.updates, [kind]).mean())
