"""Findings as plain tables of text: what the terminal, Markdown and the report all show."""

from collections.abc import Iterator

from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import (
    counted,
    mean_text,
    metric_name,
    signed,
    span,
    times,
    unit_name,
    value_text,
)
from rethink_ray.protocol.cell_rules import has_looks, may_end_early, num_searches
from rethink_ray.spec.study import Study

MARKS = {"primary": " *", "secondary": " +"}
"""Family of a comparison -> how its length is marked in the table of differences."""


def curve_sheet(findings: Findings, regime: RegimeResult) -> Sheet:
    """Arms down, schedule lengths across: mean, interval and number of replicates."""
    study, split = findings.study, findings.study.data.report_split
    lengths = sorted({length for cell in regime.cells for length in cell.lengths})
    rows = []
    for cell in regime.cells:
        points = [cell.point(length) for length in lengths]
        rows.append((cell.arm, *(point_text(p) if p else "-" for p in points)))
    return Sheet(
        title=f"{regime.name}: {metric_name(study)} on {split} by schedule length",
        note=(
            f"{counted(regime.num_images, 'training image')}, 1x = {regime.unit_steps} updates. "
            f"{_mean_over(study)}, 95 % interval, (number of {unit_name(study)})."
        ),
        columns=("arm", *(times(length) for length in lengths)),
        rows=tuple(rows),
        numeric=frozenset(range(1, len(lengths) + 1)),
    )


def _mean_over(study: Study) -> str:
    if num_searches(study) > 1:
        return "Mean over searches, each by the replicates of its own best configuration"
    return "Mean over replicates of each length's best configuration"


def point_text(point: CurvePoint) -> str:
    """``23.1 [21.0, 25.2] (3)``."""
    mean = point.mean
    return "-" if mean is None else f"{mean_text(mean)} ({len(point.values)})"


def differences_sheet(findings: Findings, *, all_lengths: bool = True) -> Sheet:
    """Comparisons of two arms, headlines and other corrected ones marked.

    Args:
        findings: of the study.
        all_lengths: False leaves out the lengths at which a comparison is descriptive.
    """
    study, metric, unit = findings.study, metric_name(findings.study), unit_name(findings.study)
    order = {name: i for i, name in enumerate(study.regimes)}
    rows = [
        _difference_row(finding)
        for finding in findings.findings
        if finding.kind == "arms" and (all_lengths or finding.family != "descriptive")
    ]
    return Sheet(
        title="Differences between arms",
        note=_differences_note(findings, all_lengths=all_lengths),
        columns=(
            "regime",
            "arms",
            "length",
            f"difference ({metric})",
            "95 % interval",
            "p",
            "verdict",
            f"{unit} to decide",
        ),
        rows=tuple(sorted(rows, key=lambda row: (order[row[0]], row[1], _number(row[2])))),
        numeric=frozenset({2, 3, 4, 5}),
    )


def _differences_note(findings: Findings, *, all_lengths: bool) -> str:
    metric, unit = metric_name(findings.study), unit_name(findings.study)
    num = counted(findings.num_primary, "primary comparison")
    how = "sequential, and corrected" if has_looks(findings.study) else "corrected"
    parts = [
        f"In {metric}, with 95 % intervals (Welch's t over {unit}). * headline: its p is {how} "
        f"over {num}"
    ]
    if findings.num_secondary:
        pairs = counted(findings.num_secondary, "other pair")
        parts.append(f"+ neither is the reference: corrected over {pairs}")
    if all_lengths:
        parts.append("every other p stands alone, unless a corrected one is of the same difference")
        return f"{'; '.join(parts)}."
    return f"{'; '.join(parts)}. findings.json and the report have all lengths."


def _difference_row(finding: Finding) -> tuple[str, ...]:
    lengths = "/".join(times(length) for length in finding.lengths)
    return (
        finding.regime,
        f"{finding.arms[1]} - {finding.arms[0]}",
        f"{lengths}{MARKS.get(finding.family, '')}",
        signed(finding.effect.value) if finding.effect else "-",
        span(finding.interval) or "-",
        p_text(finding),
        finding.verdict.value,
        needed_text(finding),
    )


def _number(lengths: str) -> float:
    """``6x *`` as 6.0; ``8x/6x``, each arm at its best, after all single lengths."""
    first, _, second = lengths.rstrip(" *+").partition("/")
    return float(first.rstrip("x")) + (1e6 if second else 0.0)


def p_text(finding: Finding) -> str:
    """The p value that a verdict used; ``-`` without one."""
    p = finding.p_adjusted
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def needed_text(finding: Finding) -> str:
    """How many replicates (or searches) would decide an open finding; ``-`` for a decided one."""
    if finding.verdict.value != "inconclusive":
        return "-"
    return f"about {finding.needed}" if finding.needed else "more than 100"


def lengths_sheet(findings: Findings) -> Sheet:
    """Per cell: its best length, and the shortest that is as good."""
    study = findings.study
    can_end_early = may_end_early(study)
    rows = [_lengths_row(cell) for cell in each_cell(findings)]
    columns = ("regime", "arm", "best", "scores", "shortest within margin", "scores", "ladder")
    num_columns = len(columns) if can_end_early else len(columns) - 1
    return Sheet(
        title="Best schedule length",
        note=(
            f"Chosen on {study.data.select_split} from single search trials, scored on "
            f"{study.data.report_split} by replicates. Shortest: the first length within "
            f"{study.margin:g} {metric_name(study)} of the best, on {study.data.select_split}."
        ),
        columns=columns[:num_columns],
        rows=tuple(row[:num_columns] for row in rows),
        numeric=frozenset({2, 3, 4, 5}),
    )


def _lengths_row(cell: CellResult) -> tuple[str, ...]:
    best = cell.point(cell.best_length) if cell.best_length is not None else None
    short = cell.point(cell.shortest_within) if cell.shortest_within is not None else None
    return (
        cell.regime,
        cell.arm,
        times(best.length) if best else "-",
        point_text(best) if best else "no finished search trial",
        times(short.length) if short else "-",
        point_text(short) if short else "-",
        cell.convergence.words if cell.convergence else "-",
    )


def configurations_sheet(findings: Findings) -> Sheet:
    """Per cell and incumbent: the tuned values, and the lengths they are best at."""
    cells = list(each_cell(findings))
    paths = list(dict.fromkeys(p for c in cells for g in c.configurations for p in g.params))
    rows = []
    for cell in cells:
        for best in cell.configurations:
            values = (value_text(best.params[p]) if p in best.params else "-" for p in paths)
            lengths = ", ".join(times(length) for length in best.lengths)
            rows.append((cell.regime, cell.arm, lengths, *values, best.trial_id))
    return Sheet(
        title="Best configurations",
        note=f"Judged on {findings.study.data.select_split}, per length.",
        columns=("regime", "arm", "best at", *paths, "trial"),
        rows=tuple(rows),
        numeric=frozenset(range(3, 3 + len(paths))),
    )


def search_sheet(findings: Findings) -> Sheet:
    """Per cell: how its search trials ended."""
    cells = list(each_cell(findings))
    states = sorted({state for cell in cells for state in cell.states})
    refused = " Refused: never started, because the asset it needs was not fit."
    rows = []
    for cell in cells:
        counts = (str(cell.states.get(state, 0)) for state in states)
        rows.append((cell.regime, cell.arm, str(sum(cell.states.values())), *counts))
    return Sheet(
        title="Search trials",
        note="Stopped: by halving, which compares only fully decayed rungs of one cell."
        + (refused if "refused" in states else ""),
        columns=("regime", "arm", "proposed", *states),
        rows=tuple(rows),
        numeric=frozenset(range(2, 3 + len(states))),
    )


def each_cell(findings: Findings) -> Iterator[CellResult]:
    """Every cell, regime by regime."""
    return (cell for regime in findings.regimes for cell in regime.cells)


def replicates_sheet(findings: Findings) -> Sheet:
    """Every score behind the curves, with the trial and the seed that repeat it."""
    rows = []
    for cell in each_cell(findings):
        for point in (single for p in cell.points for single in p.singles):
            name = f"{cell.regime}/{cell.arm} at {times(point.length)}"
            for (seed, value), trial_id in zip(point.values.items(), point.trial_ids, strict=True):
                score = f"{value:.2f}" + (" (ended)" if trial_id in point.failed else "")
                rows.append((name, str(seed), score, trial_id))
    return Sheet(
        title="Every replicate",
        note="Ended: the method itself failed, so the replicate counts as the worst score.",
        columns=("cell", "seed", metric_name(findings.study), "trial"),
        rows=tuple(rows),
        numeric=frozenset({1, 2}),
    )
