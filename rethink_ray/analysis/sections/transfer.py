"""What the best configuration of one regime costs in another.

Told only from trials that exist: a search trial of the same arm, in the other regime, with the same
sampled values, that ran the same length. All else is *not tested*. Of several searches of a cell
the first one's best is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.trials import CellRecord, Trial
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.wording import metric_name, signed, times
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One arm's best configuration of one regime, in another."""

    arm: str
    came_from: str
    """Regime whose best configuration it is."""
    into: str
    length: float
    trial_id: str
    """Of the same values in the other regime; empty where nobody tried them."""
    cost: float | None
    """How far it ends below that regime's own best on the select split; None: not tested."""
    untested: str
    """Why; empty where it is tested."""


def transfers(study: Study, records: Mapping[Cell, CellRecord]) -> tuple[Transfer, ...]:
    """Each arm, ordered pair of regimes and their longest shared length."""
    found = []
    for arm in study.arms:
        if arm in find_twins(study):
            continue
        for source in study.regimes:
            for target in study.regimes:
                here, there = (records[Cell(r, arm)].of_search(0) for r in (source, target))
                shared = [n for n in here.lengths if n in there.lengths]
                if source != target and shared:
                    found.append(_transfer(study, here, there, max(shared)))
    return tuple(found)


def _transfer(study: Study, here: CellRecord, there: CellRecord, length: float) -> Transfer:
    best, own = here.incumbent(length), there.incumbent(length)
    twin = _same_values(best, there.search) if best else None
    cost, why = None, ""
    if best is None or own is None:
        why = f"no trial has finished {times(length)} in both"
    elif twin is None:
        why = "nobody tried these values there"
    else:
        score, top = (there.scores.get((t.trial_id, length)) for t in (twin, own))
        if score is None or score.select is None or top is None or top.select is None:
            yet = twin.state == "waiting"
            why = f"not yet at {times(length)} there" if yet else f"{twin.state} there earlier"
        else:
            cost = top.select - score.select
    return Transfer(
        arm=here.cell.arm,
        came_from=here.cell.regime,
        into=there.cell.regime,
        length=length,
        trial_id=twin.trial_id if twin else "",
        cost=cost,
        untested=why,
    )


def _same_values(wanted: Trial, among: Sequence[Trial]) -> Trial | None:
    """The first trial with the same sampled values."""
    return next((t for t in among if dict(t.params) == dict(wanted.params)), None)


def transfer_sheet(study: Study, found: Sequence[Transfer]) -> Sheet:
    """One row per arm and ordered pair of regimes."""
    rows = [
        (
            *(one.arm, one.came_from, one.into, times(one.length)),
            f"not tested: {one.untested}" if one.cost is None else signed(-one.cost),
            one.trial_id or "-",
        )
        for one in found
    ]
    return Sheet(
        title="The best configuration of one regime in another",
        note=(
            f"Minus the other regime's own best, on {study.data.select_split}; single search "
            "trials, and the own best is the best of many, so losses are overstated. 0: it is the "
            "best in both. Only from trials that exist with equal sampled values."
        ),
        columns=(
            *("arm", "best of", "used in", "length", f"difference ({metric_name(study)})"),
            "trial",
        ),
        rows=tuple(rows),
        numeric=frozenset({3, 4}),
    )
