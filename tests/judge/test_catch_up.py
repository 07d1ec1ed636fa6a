"""The catch-up bracket: two fixed sequences, each stopped by its first failure."""

from dataclasses import replace

import numpy as np

from rethink_ray.judge.catch_up import find_bracket
from rethink_ray.judge.measurements import Difference
from rethink_ray.judge.statistics import Estimate
from tests.judge.two_groups import welch


def _behind(lead: Estimate | None) -> Difference:
    """Chaser minus chased, from the lead of the chased."""
    assert lead is not None
    effect = replace(lead, value=-lead.value)
    return Difference(terms=(), scale="points", effect=effect)


def _leads(*values: float | None, se: float = 0.1) -> list[tuple[float, Difference]]:
    """Leads of the chased arm at 2x, 4x, ...; None: too few replicates."""
    return [
        (
            2.0 * (i + 1),
            _behind(Estimate(value=v or 0.0, se=None if v is None else se, df=8.0, nums=(5, 5))),
        )
        for i, v in enumerate(values)
    ]


def test_a_curve_that_closes_in_is_bracketed_by_the_last_behind_and_the_first_caught_up() -> None:
    found = find_bracket(_leads(4.0, 2.0, 0.4, 0.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (6.0, 8.0)


def test_an_undecided_rung_between_widens_the_bracket() -> None:
    found = find_bracket(_leads(4.0, 0.2, 0.4, 0.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (2.0, 8.0)


def test_a_chaser_still_behind_at_the_longest_rung_has_no_upper_end() -> None:
    found = find_bracket(_leads(4.0, 3.0, 2.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (6.0, None)


def test_a_chaser_never_behind_has_caught_up_from_the_first_rung() -> None:
    found = find_bracket(_leads(-1.0, 0.0, -2.0), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (None, 2.0)


def test_a_later_parity_does_not_count_while_a_longer_rung_is_open() -> None:
    found = find_bracket(_leads(4.0, 0.0, None), margin=0.5)
    assert (found.behind_up_to, found.caught_up_from) == (2.0, None)


def test_a_lead_shown_but_smaller_than_the_margin_counts_as_caught_up_not_as_behind() -> None:
    found = find_bracket(_leads(0.3, 0.3, se=0.05), margin=0.5)
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
            rungs.append((length, _behind(estimate)))
        found = find_bracket(rungs, margin=0.5)
        low_holds = found.behind_up_to is None or found.behind_up_to <= 6.0
        high_holds = found.caught_up_from is None or found.caught_up_from >= 8.0
        held += low_holds and high_holds
    assert held / 400 >= 0.95
