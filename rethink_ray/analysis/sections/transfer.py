"""What the best configuration of one regime costs in another.

It is read off trials that exist: a search trial of the same arm, in the other regime, with the same
sampled values, that ran the same length. Every other case is *not tested*. Of several searches of a
cell, the first one's best is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.judge.wording import metric_name, signed, times
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One arm's best configuration of one regime, in another."""

    arm: str
    best_of: str
    """Regime whose best configuration it is."""
    used_in: str
    length: float
    trial_id: str
    """Of the same values in the other regime; empty if no trial has them."""
    cost: float | None
    """How far it ends below that regime's own best on the select split; None: not tested."""
    untested: str
    """Why; empty where it is tested."""


def derive_transfer(given: SectionInput) -> tuple[Transfer, ...]:
    """Each arm, ordered pair of regimes and their longest shared length."""
    return tuple(
        _transfer(here, there, length)
        for arm in given.study.arms
        if arm not in find_twins(given.study)
        for here, there, length in _regime_pairs(given, arm)
    )


def _regime_pairs(given: SectionInput, arm: str) -> Iterator[tuple[CellRecord, CellRecord, float]]:
    """(an arm's first search in one regime, in another, their longest shared length)."""
    first = [given.records[Cell(regime, arm)].of_search(0) for regime in given.study.regimes]
    for here in first:
        for there in first:
            shared = [length for length in here.lengths if length in there.lengths]
            if here is not there and shared:
                yield here, there, max(shared)


def _transfer(here: CellRecord, there: CellRecord, length: float) -> Transfer:
    best, best_there = here.incumbent(length), there.incumbent(length)
    same = _same_values(best, there.search) if best else None
    cost, why = None, ""
    if best is None or best_there is None:
        why = f"no trial has finished {times(length)} in both"
    elif same is None:
        why = "no trial has these values there"
    else:
        cost = _loss(there, same, best_there, length)
        if cost is None:
            waits = same.state == "waiting"
            why = f"not yet at {times(length)} there" if waits else f"{same.state} there earlier"
    return Transfer(
        arm=here.cell.arm,
        best_of=here.cell.regime,
        used_in=there.cell.regime,
        length=length,
        trial_id=same.trial_id if same else "",
        cost=cost,
        untested=why,
    )


def _loss(record: CellRecord, trial: Trial, best: Trial, length: float) -> float | None:
    """How far a trial ends below the best one on the select split; None without both scores."""
    score, top = (record.scores.get((t.trial_id, length)) for t in (trial, best))
    if score is None or score.select is None or top is None or top.select is None:
        return None
    return top.select - score.select


def _same_values(trial: Trial, among: Sequence[Trial]) -> Trial | None:
    """The first trial with the same sampled values."""
    return next((t for t in among if dict(t.params) == dict(trial.params)), None)


def _build(given: SectionInput, rows: Sequence[Transfer]) -> Sheet:
    metric = metric_name(given.study)
    return Sheet(
        title=TRANSFER.title,
        note=(
            "How far the configuration ends from the other regime's own best, on "
            f"{given.study.data.select_split}; 0: it is the best in both. Single search trials, "
            "and a regime's own best is the best of many, so losses are overstated. Only trials "
            "that exist, with equal sampled values, are compared."
        ),
        columns=("arm", "best of", "used in", "length", f"difference ({metric})", "trial"),
        rows=tuple(
            (
                row.arm,
                row.best_of,
                row.used_in,
                times(row.length),
                f"not tested: {row.untested}" if row.cost is None else signed(-row.cost),
                row.trial_id or "-",
            )
            for row in rows
        ),
        numeric=frozenset({3, 4}),
    )


TRANSFER = Section(
    key="transfer",
    title="The best configuration of one regime in another",
    part="search",
    derive_rows=derive_transfer,
    build_sheet=_build,
)
