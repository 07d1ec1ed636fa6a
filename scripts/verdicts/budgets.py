"""Which budget of this program decides most for its updates, on surfaces that compare no policies.

The calibration surfaces choose, and the check surfaces, of other numbers again, say what the choice
gains. All of them are drawn as those of the comparison are.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from verdicts.program import answer_fixed, run_study
from verdicts.sequential import answer_until_decided
from verdicts.surfaces import FAMILIES, NOISE_SDS, Surface, draw_surface
from verdicts.tables import by_rule_table, kinds_table
from verdicts.tally import Point, Score, Tally, score_answers

SurfaceSet = Literal["calibration", "check"]
FIRST_NUMBER: dict[SurfaceSet, int] = {"calibration": 1000, "check": 2000}
"""Number of the first surface of each kind; the comparison counts from zero."""
TRIALS: dict[SurfaceSet, tuple[int, ...]] = {"calibration": (1, 2, 4, 8), "check": (4, 8)}
"""Search trials of each cell; 8 is the default of a study file."""
REPLICATES = (3, 5, 9)
UNTIL_DECIDED = ((3, 5), (3, 7), (3, 9))


def list_surfaces(chosen: SurfaceSet, num: int) -> Iterator[Surface]:
    """``num`` surfaces of every kind."""
    first = FIRST_NUMBER[chosen]
    for family in FAMILIES:
        for noise in NOISE_SDS:
            for seed in range(first, first + num):
                yield draw_surface(family, noise, seed)


def try_budgets(surface: Surface, trials: Sequence[int]) -> list[tuple[Point, Score]]:
    """The scores of this program at every budget with so many search trials, on one surface."""
    answers = []
    for searched in trials:
        run = run_study(surface, searched)
        answers += [answer_fixed(run, searched, num, surface.seed) for num in REPLICATES]
        answers += [
            answer_until_decided(run, searched, surface.seed, looks) for looks in UNTIL_DECIDED
        ]
    return score_answers(answers, surface)


def budget_tables(tally: Tally) -> Iterator[str]:
    """Shares, updates and regret of every budget; then kind by kind."""
    yield from by_rule_table(tally)
    yield ""
    yield from kinds_table(tally)
