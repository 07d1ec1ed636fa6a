"""Caveats of a study with looks: what no look plans, and looks that are decided otherwise now."""

from collections.abc import Iterator, Sequence

from rethink_ray.judge.looks import LookDecisions
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import unit_name
from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.records.types import LookTaken
from rethink_ray.spec.study import Study

COVERAGE = "93 to 97"
"""Of 100 plain 95 % intervals so many hold, of other lengths and other pairs of arms in a study
that stops when it has decided (3 to 9 replicates, two and six arms, noise 0.3 and 1)."""
COVERAGE_EARLY = "90 to 97"
"""The same, of other lengths of comparisons that a look decided before the last one."""

BEST_INSIDE = 96
"""The least of 22 designs, of two and five arms (``scripts/benchmark_answer.py --sequential`` has
more of them)."""


def find_unplanned(study: Study) -> Iterator[Caveat]:
    """One for a study that stops when it has decided."""
    if has_looks(study):
        yield Caveat(
            key="unplanned",
            text=(
                f"{unit_name(study)} were added until headlines and primary claims were decided. "
                "Their verdicts, p values and intervals allow for that. Those of all else (other "
                "lengths, other pairs of arms, twins, other claims, means of arms) do not: of such "
                f"95 % intervals {COVERAGE} of 100 held in simulated studies ({COVERAGE_EARLY} "
                "where the comparison stopped early, at numbers that flatter the leader). The "
                "answer compares arms as they stopped, at different numbers: the true best was "
                f"among those that may be the best in {BEST_INSIDE} of 100 simulated studies, or "
                "more."
            ),
        )


def find_changed_looks(
    looks: Sequence[LookTaken], decisions: LookDecisions | None
) -> Iterator[Caveat]:
    """One if this version decides a recorded look otherwise than the version that took it.

    Args:
        looks: as they were recorded.
        decisions: of the same looks, taken again from the same scores.
    """
    if not looks or decisions is None:
        return
    now = {outcome.key: (outcome.verdict, outcome.decided_at) for outcome in decisions.comparisons}
    changed = [
        one.key
        for one in looks[-1].comparisons
        if now.get(one.key, (one.verdict, one.stopped_at)) != (one.verdict, one.stopped_at)
    ]
    if changed:
        text = (
            f"the look at {looks[-1].replicates} was taken by a version that decided otherwise "
            f"about: {'; '.join(changed)}. What ran follows from that version, and the verdicts "
            "here are this one's."
        )
        yield Caveat(key="changed-looks", text=text)


def say_unplanned(names: str) -> str:
    """The same for effects that are compared across sources; ``names``: those with looks."""
    return (
        f"{names}: replicates were added until comparisons were decided, and these plain intervals "
        f"do not allow for that ({COVERAGE} of 100 held in simulated studies, not 95)."
    )
