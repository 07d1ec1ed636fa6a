"""The catch-up bracket: two fixed sequences, each stopped by its first failure."""

import numpy as np

from rethink_ray.judge.crossover import catch_up
from rethink_ray.judge.statistics import Estimate, welch


def _leads(*values: float | None, se: float = 0.1) -> list[tuple[float, Estimate]]:
    """Leads at 2x, 4x, ...; None = too few replicates."""
    return [
        (
            2.0 * (i + 1),
            Estimate(value=v or 0.0, se=None if v is None else se, df=8.0, nums=(5, 5)),
        )
        for i, v in enumerate(values)
    ]


def test_a_curve_that_closes_in_is_bracketed_by_the_last_behind_and_the_first_caught_up() -> None:
    found = catch_up(_leads(4.0, 2.0, 0.4, 0.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (6.0, 8.0)


def test_an_undecided_rung_between_widens_the_bracket() -> None:
    found = catch_up(_leads(4.0, 0.2, 0.4, 0.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (2.0, 8.0)


def test_a_chaser_still_behind_at_the_longest_rung_has_no_upper_end() -> None:
    found = catch_up(_leads(4.0, 3.0, 2.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (6.0, None)


def test_a_chaser_never_behind_has_caught_up_from_the_first_rung() -> None:
    found = catch_up(_leads(-1.0, 0.0, -2.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (None, 2.0)


def test_a_later_parity_does_not_count_while_a_longer_rung_is_open() -> None:
    found = catch_up(_leads(4.0, 0.0, None), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (2.0, None)


def test_a_lead_shown_but_smaller_than_the_margin_counts_as_caught_up_not_as_behind() -> None:
    found = catch_up(_leads(0.3, 0.3, se=0.05), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (None, 2.0)


def test_the_bracket_holds_the_planted_crossover_in_at_least_95_of_100_studies() -> None:
    """Lead 3 at 2x, falling by 1 per rung: within the margin of 0.5 from 8x on, not at 6x."""
    lengths, leads = (2.0, 4.0, 6.0, 8.0, 10.0), (3.0, 2.0, 1.0, 0.0, 0.0)
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        rungs = []
        for length, lead in zip(lengths, leads, strict=True):
            estimate = welch(list(lead + 0.3 * rng.normal(size=5)), list(0.3 * rng.normal(size=5)))
            assert estimate is not None
            rungs.append((length, estimate))
        found = catch_up(rungs, margin=0.5)
        low_holds = found.behind_up_to is None or found.behind_up_to <= 6.0
        high_holds = found.caught_up_from is None or found.caught_up_from >= 8.0
        held += low_holds and high_holds
    assert held / 400 >= 0.95
