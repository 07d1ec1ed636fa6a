"""How far backbones moved from their first weights: arms down, schedule lengths across."""

from collections.abc import Sequence

from rethink_ray.analysis.read.drift import Drift, measure_drifts
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.wording import times


def _derive(given: SectionInput) -> tuple[Drift, ...]:
    return measure_drifts(given.study, given.records, given.results)


def _build(given: SectionInput, rows: Sequence[Drift]) -> Sheet:
    lengths = sorted({row.length for row in rows})
    means = {
        (row.cell, row.source): {r.length: r.mean for r in rows if r.cell == row.cell}
        for row in rows
    }
    return Sheet(
        title=DRIFT.title,
        note=(
            "|w - w0| / |w0| over all weights of the backbone, where w0 are its weights before the "
            "first update: 0 if it never moved. Mean over the replicates of each length's best "
            "configuration, 95 % interval. An arm that starts from random weights moves away from "
            "its random draw, so its drift says how far training goes, not what it forgets."
        ),
        columns=("regime", "arm", "starts from", *(times(length) for length in lengths)),
        rows=tuple(
            (cell.regime, cell.arm, source, *(drift_text(by_length.get(x)) for x in lengths))
            for (cell, source), by_length in means.items()
        ),
        numeric=frozenset(range(3, 3 + len(lengths))),
    )


def drift_text(mean: Estimate | None) -> str:
    """``0.354 [0.350, 0.358]``; ``0`` of a backbone that never moved."""
    if mean is None:
        return "-"
    if mean.value == 0.0:
        return "0"
    interval = mean.interval()
    shown = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{mean.value:.3f}{shown}"


DRIFT = Section(
    key="backbone_drift",
    title="How far backbones moved",
    part="claims",
    derive_rows=_derive,
    build_sheet=_build,
)
