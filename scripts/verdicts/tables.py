"""Prints the tally as Markdown: shares by policy and budget, the goal, and where we lose."""

from collections.abc import Callable, Iterator, Sequence

from verdicts.program import FIXED
from verdicts.rivals import ASHA_MORE_SEEDS, ASHA_PER_ARM, GRID, SWEEP
from verdicts.sequential import SEQUENTIAL
from verdicts.tally import (
    LEADS,
    MOST_FALSE,
    MOST_UPDATES,
    Counts,
    Floats,
    Goal,
    Kind,
    Point,
    Score,
    Tally,
    mean_with_interval,
    rate_against_rivals,
    ratio_with_interval,
    share_open,
)

RIVALS = (SWEEP, ASHA_PER_ARM, GRID)
"""As asked for: three seeds of each winner."""
ALL_RIVALS = (*RIVALS, ASHA_MORE_SEEDS)
OWN = (FIXED, SEQUENTIAL)
FULL_RUN = 6.0
"""Updates are printed in runs of 6x."""


def all_tables(tally: Tally) -> Iterator[str]:
    """Every line of every table."""
    num = sum(len(next(iter(points.values()))) for points in tally.scores.values())
    yield f"\n## By policy and budget: {num} surfaces, {len(tally.scores)} kinds\n"
    yield from by_rule_table(tally)
    yield "\n## The same, short\n"
    yield from short_table(tally)
    yield "\n## By the size of the true lead, right and false\n"
    yield from by_lead_table(tally)
    yield "\n## The four comparisons at 6x alone\n"
    yield from longest_table(tally)
    yield "\n## Without abstaining: signs of means, equal within the margin\n"
    yield from from_means_table(tally)
    for policy in OWN:
        for rivals, name in ((RIVALS, "rivals as asked"), (ALL_RIVALS, "with more seeds too")):
            yield f"\n## {policy}: updates for the best rival's right verdicts, {name}\n"
            yield from goal_table(tally, policy, rivals)
    yield "\n## Right verdicts by kind of surface\n"
    yield from kinds_table(tally)
    yield "\n## Where we lose: a rival has more right verdicts for no more updates\n"
    yield from losses(tally)


def by_rule_table(tally: Tally) -> Iterator[str]:
    """Shares of the twelve verdicts by the one rule, and what they cost."""
    yield (
        "| policy | budget | runs of 6x | of these search | right | false | open "
        "| studies with a false one | false of the pair compared | regret (AP) "
        "| right per 100 runs |"
    )
    yield "|---" * 11 + "|"
    for point in tally.points:
        right, false = (
            tally.values(point, lambda s, name=name: getattr(s.by_rule, name))  # type: ignore[misc]
            for name in ("right", "false")
        )
        runs = tally.values(point, lambda s: s.updates) / FULL_RUN
        cells = [
            f"{runs.mean():.0f}",
            f"{tally.values(point, lambda s: s.updates_search).mean() / FULL_RUN:.0f}",
            percent(right),
            percent(false),
            percent(share_open(right, false)),
            percent(tally.values(point, lambda s: s.by_rule.any_false)),
            percent(tally.values(point, lambda s: s.by_rule.false_of_winners)),
            points_of_ap(tally.values(point, lambda s: s.regret)),
            f"{100.0 * 12.0 * right.mean() / runs.mean():.1f}",
        ]
        yield f"| {point[0]} | {point[1]} | " + " | ".join(cells) + " |"


def short_table(tally: Tally) -> Iterator[str]:
    """The table of ``docs/benchmarks.md``."""
    yield (
        "| way | budget | runs of 6x, search | right | false | studies with a false one "
        "| regret (AP) |"
    )
    yield "|---" * 7 + "|"
    before = ""
    for policy, budget in tally.points:
        point = (policy, budget)
        runs, search = (
            tally.values(point, read).mean() / FULL_RUN
            for read in (lambda s: s.updates, lambda s: s.updates_search)
        )
        cells = [
            f"{runs:.0f}, {search:.0f}",
            percent(tally.values(point, lambda s: s.by_rule.right), 0),
            percent(tally.values(point, lambda s: s.by_rule.false)),
            percent(tally.values(point, lambda s: s.by_rule.any_false), 0),
            points_of_ap(tally.values(point, lambda s: s.regret)),
        ]
        yield f"| {policy if policy != before else ''} | {budget} | " + " | ".join(cells) + " |"
        before = policy


def by_lead_table(tally: Tally) -> Iterator[str]:
    """Where verdicts stay open: shares of right and of false ones by the size of the true lead."""
    sizes = {
        size: tally.values(tally.points[0], lambda s, size=size: s.by_lead[size][2])  # type: ignore[misc]
        for size in LEADS
    }
    sizes = {size: num for size, num in sizes.items() if num.any()}
    shown = (f"{size} AP ({num.sum():.0f})" for size, num in sizes.items())
    yield "| policy | budget | " + " | ".join(shown) + " |"
    yield "|---" * (2 + len(sizes)) + "|"
    for point in tally.points:
        cells = []
        for size, num in sizes.items():
            right, false = (
                tally.values(point, lambda s, size=size, i=i: s.by_lead[size][i])  # type: ignore[misc]
                for i in (0, 1)
            )
            mean, low, high = (100.0 * x for x in ratio_with_interval(right, num))
            wrong = 100.0 * ratio_with_interval(false, num)[0]
            cells.append(f"{mean:.0f} % [{low:.0f}, {high:.0f}], {wrong:.1f} %")
        yield f"| {point[0]} | {point[1]} | " + " | ".join(cells) + " |"


def longest_table(tally: Tally) -> Iterator[str]:
    """The headlines alone, and what a policy that asks nothing else pays for them."""
    yield from _short_table(tally, lambda s: s.longest, lambda s: s.updates_longest)


def from_means_table(tally: Tally) -> Iterator[str]:
    """Every mean taken at its word."""
    yield from _short_table(tally, lambda s: s.from_means, lambda s: s.updates)


def _short_table(
    tally: Tally, counts: Callable[[Score], Counts], updates: Callable[[Score], float]
) -> Iterator[str]:
    yield "| policy | budget | runs of 6x | right | false | open | studies with a false one |"
    yield "|---" * 7 + "|"
    for point in tally.points:
        right = tally.values(point, lambda s: counts(s).right)
        false = tally.values(point, lambda s: counts(s).false)
        any_false = tally.values(point, lambda s: counts(s).any_false)
        runs = tally.values(point, updates).mean() / FULL_RUN
        yield (
            f"| {point[0]} | {point[1]} | {runs:.0f} | {percent(right)} | {percent(false)} | "
            f"{percent(share_open(right, false))} | {percent(any_false)} |"
        )


def goal_table(tally: Tally, policy: str, rivals: Sequence[str]) -> Iterator[str]:
    """Kind by kind, then over all surfaces, then the sentence that the goal asks for."""
    yield "| surfaces | best rival | right | our updates / its | our false | studies | met |"
    yield "|---" * 7 + "|"
    goals = {kind: rate_against_rivals(tally, [kind], policy, rivals) for kind in tally.scores}
    for kind, goal in goals.items():
        yield _goal_row(" ".join(kind), goal)
    yield _goal_row("all", rate_against_rivals(tally, list(tally.scores), policy, rivals))
    met = sum(goal.is_met for goal in goals.values())
    yield (
        f"\nMet (at most {MOST_UPDATES} of the updates, at most {100 * MOST_FALSE:g} % false) on "
        f"{met} of {len(goals)} kinds; asked: the larger half."
    )


def _goal_row(name: str, goal: Goal) -> str:
    return (
        f"| {name} | {goal.rival[0]}, {goal.rival[1]} | {percent(goal.rival_right)} | "
        f"{_ratio_text(goal.ratio)} [{_ratio_text(goal.low)}, {_ratio_text(goal.high)}] | "
        f"{percent(goal.false)} | {percent(goal.any_false)} | "
        f"{'yes' if goal.is_met else 'no'} |"
    )


def _ratio_text(ratio: float) -> str:
    return "not reached" if ratio == float("inf") else f"{ratio:.2f}"


def kinds_table(tally: Tally) -> Iterator[str]:
    """Shares of right and of false verdicts for each kind of surface."""
    kinds = list(tally.scores)
    yield "| policy | budget | " + " | ".join(" ".join(kind) for kind in kinds) + " |"
    yield "|---" * (2 + len(kinds)) + "|"
    for point in tally.points:
        cells = []
        for kind in kinds:
            right = tally.values(point, lambda s: s.by_rule.right, [kind])
            false = tally.values(point, lambda s: s.by_rule.false, [kind])
            cells.append(f"{percent(right, 0)}, {percent(false, 0)}")
        yield f"| {point[0]} | {point[1]} | " + " | ".join(cells) + " |"


def losses(tally: Tally) -> Iterator[str]:
    """Rivals that get more right verdicts than every budget of ours that costs no more."""
    yield "| surfaces | rival | runs of 6x | right | our best for no more | difference (points) |"
    yield "|---" * 6 + "|"
    our_points = [point for point in tally.points if point[0] in OWN]
    for kind in tally.scores:
        for point in tally.points:
            if point[0] in ALL_RIVALS:
                row = _loss(tally, kind, point, our_points)
                if row:
                    yield row


def _loss(tally: Tally, kind: Kind, rival: Point, our_points: Sequence[Point]) -> str | None:
    rights = {p: tally.values(p, lambda s: s.by_rule.right, [kind]) for p in (rival, *our_points)}
    runs = {
        p: tally.values(p, lambda s: s.updates, [kind]).mean() / FULL_RUN
        for p in (rival, *our_points)
    }
    affordable = [point for point in our_points if runs[point] <= runs[rival]]
    ours = max(affordable, key=lambda point: float(rights[point].mean()), default=None)
    shown, lead = "nothing so cheap", rights[rival]
    if ours is not None:
        shown, lead = f"{percent(rights[ours], 0)} ({ours[0]}, {ours[1]})", lead - rights[ours]
    if lead.mean() <= 0.0:
        return None
    mean, low, high = (100.0 * x for x in mean_with_interval(lead))
    return (
        f"| {' '.join(kind)} | {rival[0]}, {rival[1]} | {runs[rival]:.0f} | "
        f"{percent(rights[rival], 0)} | {shown} | +{mean:.0f} [{low:.0f}, {high:.0f}] |"
    )


def percent(values: Floats, digits: int = 1) -> str:
    """Mean and 95 % interval, in percent."""
    mean, low, high = (100.0 * x for x in mean_with_interval(values))
    return f"{mean:.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def points_of_ap(values: Floats) -> str:
    """Mean and 95 % interval, in AP."""
    mean, low, high = mean_with_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
