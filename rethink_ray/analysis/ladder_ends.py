"""Where each cell's ladder ended, and how that affects comparisons (``schedule.converged``)."""

from collections.abc import Iterator, Mapping

from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import listed, metric_name, times
from rethink_ray.protocol.cell_rules import least_gain, may_end_early
from rethink_ray.spec.resolve import Cell, copied_cell
from rethink_ray.spec.study import Study


def find_ladder_caveats(study: Study, records: Mapping[Cell, CellRecord]) -> Iterator[Caveat]:
    """One per cell whose search is over, and one per regime whose arms ended apart."""
    if not may_end_early(study):
        return
    for cell, record in records.items():
        yield from _of_cell(study, cell, record)
    for regime in study.regimes:
        ends = {
            c.arm: r.convergence.length
            for c, r in records.items()
            if c.regime == regime and r.convergence is not None
        }
        if len(set(ends.values())) > 1:
            shown = listed([f"{arm} {times(length)}" for arm, length in ends.items()])
            yield Caveat(
                key=f"unequal-ends:{regime}",
                regime=regime,
                text=(
                    f"{regime}: ladders ended at different lengths ({shown}), so the arms' costs "
                    f"are not equal; each arm is judged at its best length, and single lengths are "
                    f"compared only where both arms ran."
                ),
            )


def _of_cell(study: Study, cell: Cell, record: CellRecord) -> Iterator[Caveat]:
    end, rule = record.convergence, least_gain(study)
    if end is None or rule is None or copied_cell(study, cell) is not None:
        return
    if end.improving:
        text = (
            f"still improving at the longest length, {times(end.length)}: it gained {rule:g} "
            f"{metric_name(study)} or more over the length before."
        )
        kind = "still-improving"
    else:
        text = (
            f"converged at {times(end.length)}: the best of a round gained less than {rule:g} "
            f"{metric_name(study)} over the length before{_on_how_many(record)}."
        )
        kind = "converged"
    yield Caveat(
        key=f"{kind}:{cell.name}", regime=cell.regime, arm=cell.arm, text=f"{cell.name}: {text}"
    )


def _on_how_many(record: CellRecord) -> str:
    """A remark if the last comparison rests on a single trial; else empty."""
    rounds = {t.round for t in record.search if t.converged is not None}
    alone = [
        number
        for number in rounds
        if sum(
            t.round == number and not t.audit and t.longest == t.converged for t in record.search
        )
        == 1
    ]
    return " (judged by one trial, so noise decides too)" if alone else ""
