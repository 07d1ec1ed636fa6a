"""Figures of every trial: the objective against schedule length, replicates over search trials."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.show.figures import draw_each, legend_label, look_of, panel
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.judge.wording import metric_name, times

MOST_LINES = 60
"""Search trials of one arm that are drawn, evenly spaced in the order of their trial ids."""
Line = list[tuple[float, float]]
"""(length, score) of one trial, shortest length first."""


def draw_trials(findings: Findings, contained: Containment | None = None) -> dict[str, str]:
    """File stem -> SVG; a regime without a scored trial has no figure."""
    kept = contained or Containment(findings.missing_sections)
    return draw_each(
        kept,
        {
            (regime, "trials"): partial(_draw_if_any, findings, regime)
            for regime in findings.study.regimes
        },
    )


def _draw_if_any(findings: Findings, regime: str) -> str | None:
    records = [record for cell, record in findings.records.items() if cell.regime == regime]
    if not any(list_lines(record, record.search) for record in records):
        return None
    study, arms = findings.study, list(findings.study.arms)
    lengths = sorted({length for record in records for length in record.lengths})
    unit = next(r.unit_steps for r in findings.regimes if r.name == regime)

    def paint(axes: Any) -> None:
        for record in records:
            _paint_arm(axes, record, arms.index(record.cell.arm))
        axes.set_xticks(lengths, [times(length) for length in lengths])
        axes.set_xlabel(f"schedule length (1x = {unit} updates)")
        axes.set_ylabel(f"{metric_name(study)} on {study.data.select_split} (points)")

    return panel(f"{regime}: every trial by schedule length", paint)


def _paint_arm(axes: Any, record: CellRecord, index: int) -> None:
    """Search trials as thin lines, replicates as thick ones over them."""
    look, searched = look_of(index), list_lines(record, record.search)
    repeated = list_lines(record, record.replicates)
    for lines, width, alpha, size in ((searched, 0.8, 0.5, 2), (repeated, 2.2, 0.9, 4)):
        has_entry = lines is (repeated or searched)  # one entry of the legend for each arm
        for number, line in enumerate(lines):
            axes.plot(
                [length for length, _ in line],
                [score for _, score in line],
                **look,
                linewidth=width,
                alpha=alpha,
                markersize=size,
                label=legend_label(record.cell.arm) if has_entry and not number else None,
            )


def list_lines(record: CellRecord, trials: Sequence[Trial]) -> list[Line]:
    """The scores of trials on the split that selects, at every length that they finished."""
    lines = [line for line in _lines(record, trials) if line]
    step = max(1, -(-len(lines) // MOST_LINES))
    return lines[::step]


def _lines(record: CellRecord, trials: Sequence[Trial]) -> Iterator[Line]:
    for trial in sorted(trials, key=lambda one: one.trial_id):
        line = []
        for length in record.lengths:
            score = record.scores.get((trial.trial_id, length))
            if score and score.select is not None:
                line.append((length, score.select))
        yield line
