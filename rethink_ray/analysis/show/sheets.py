"""Findings as plain tables of text: what the terminal, Markdown and the report all show."""

from collections.abc import Iterator

from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.analysis.read.trials import Trial
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import (
    counted,
    duration,
    metric_name,
    percent,
    signed,
    span,
    times,
    unit_name,
)
from rethink_ray.protocol.cell_rules import may_end_early, num_searches
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


def curve_sheet(findings: Findings, regime: RegimeResult) -> Sheet:
    """Arms down, schedule lengths across: mean, interval and number of replicates."""
    study = findings.study
    lengths = sorted({length for cell in regime.cells for length in cell.lengths})
    rows = []
    for cell in regime.cells:
        points = [cell.point(length) for length in lengths]
        rows.append((cell.arm, *(point_text(p) if p else "-" for p in points)))
    return Sheet(
        title=f"{regime.name}: {metric_name(study)} on {study.data.report_on} by schedule length",
        note=(
            f"{counted(regime.num_images, 'training image')}, 1x = {regime.unit_steps} updates. "
            f"{_mean_over(study)}, 95 % interval, (number)."
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
    if mean is None:
        return "-"
    shown = f"{mean.value:.1f} {span(mean.interval(), sign=False)}".rstrip()
    return f"{shown} ({len(point.values)})"


def _number(lengths: str) -> float:
    """``6x *`` as 6.0; ``8x/6x``, each arm at its best, after all single lengths."""
    first, _, second = lengths.rstrip(" *").partition("/")
    return float(first.rstrip("x")) + (1e6 if second else 0.0)


def differences_sheet(findings: Findings) -> Sheet:
    """Every comparison of two arms, headline rungs marked."""
    study, metric = findings.study, metric_name(findings.study)
    rows = []
    for found in findings.findings:
        if found.kind != "arms":
            continue
        star = " *" if found.family == "primary" else ""
        rows.append(
            (
                found.regime,
                f"{found.arms[1]} - {found.arms[0]}",
                f"{'/'.join(times(length) for length in found.lengths)}{star}",
                signed(found.effect.value) if found.effect else "-",
                span(found.interval) or "-",
                p_text(found),
                found.verdict.value,
                needed_text(found),
            )
        )
    order = {name: i for i, name in enumerate(study.regimes)}
    rows.sort(key=lambda r: (order[r[0]], r[1], _number(r[2])))
    return Sheet(
        title="Differences between arms",
        note=(
            f"Welch's t on {unit_name(study)}, 95 %, in {metric}. * headline: its p is corrected "
            f"for {counted(findings.num_primary, 'headline comparison')} (Holm); all else "
            "descriptive."
        ),
        columns=(
            *("regime", "arms", "length", f"difference ({metric})", "95 % interval", "p"),
            *("verdict", f"{unit_name(study)} to decide"),
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5}),
    )


def p_text(finding: Finding) -> str:
    """The p value a verdict used; empty without one."""
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
    study, rows = findings.study, []
    ends = may_end_early(study)
    for cell in cells_of(findings):
        told = cell.convergence.words if cell.convergence else "-"
        best = cell.point(cell.best_length) if cell.best_length is not None else None
        short = cell.point(cell.shortest_within) if cell.shortest_within is not None else None
        rows.append(
            (
                cell.regime,
                cell.arm,
                times(best.length) if best else "-",
                point_text(best) if best else "no finished search trial",
                times(short.length) if short else "-",
                point_text(short) if short else "-",
                *([told] if ends else []),
            )
        )
    return Sheet(
        title="Best schedule length",
        note=(
            f"Chosen on {study.data.select_split} from single search trials, scored on "
            f"{study.data.report_on} by replicates. Shortest: the first length within "
            f"{study.margin:g} {metric_name(study)} of the best, on {study.data.select_split}."
        ),
        columns=(
            *("regime", "arm", "best", "scores", "shortest within margin", "scores"),
            *(["ladder"] if ends else []),
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5}),
    )


def configurations_sheet(findings: Findings) -> Sheet:
    """Per cell and incumbent: the tuned values, and the lengths they are best at."""
    cells = list(cells_of(findings))
    paths = list(dict.fromkeys(p for c in cells for g in c.configurations for p in g.params))
    rows = []
    for cell in cells:
        for best in cell.configurations:
            values = (_value(best.params[p]) if p in best.params else "-" for p in paths)
            where = ", ".join(times(length) for length in best.lengths)
            rows.append((cell.regime, cell.arm, where, *values, best.trial_id))
    return Sheet(
        title="Best configurations",
        note=f"Judged on {findings.study.data.select_split}, per length.",
        columns=("regime", "arm", "best at", *paths, "trial"),
        rows=tuple(rows),
        numeric=frozenset(range(3, 3 + len(paths))),
    )


def cost_sheet(findings: Findings) -> Sheet:
    """Slot time per cell, with and without assets."""
    rows = [
        (
            *(cost.regime, cost.arm, str(cost.num_search), str(cost.num_replicates)),
            *(duration(cost.search_seconds), duration(cost.replicate_seconds)),
            *(duration(cost.trial_seconds), duration(cost.asset_seconds)),
            duration(cost.total_seconds),
        )
        for cost in findings.cost.cells
    ]
    total = duration(findings.cost.total_seconds)
    return Sheet(
        title="What it cost",
        note=(
            "Wall time of the slots, training and scoring. An asset that cells share is booked in "
            f"full to each of them; the whole study, each asset once, took {total} of slot time."
        ),
        columns=(
            *("regime", "arm", "search trials", "replicates", "search", "replication"),
            *("without assets", "assets", "with assets"),
        ),
        rows=tuple(rows),
        numeric=frozenset(range(2, 9)),
    )


def assets_sheet(findings: Findings) -> Sheet:
    """What trials started from."""
    rows = [
        (
            asset.key,
            percent(asset.accuracy) if asset.accuracy is not None else "-",
            percent(asset.chance) if asset.chance is not None else "-",
            duration(asset.seconds),
            asset.refused or "fit",
        )
        for asset in findings.cost.assets
    ]
    return Sheet(
        title="Assets",
        note="Accuracy of each classifier on its own held-out images; below twice chance: refused.",
        columns=("asset", "accuracy", "chance", "time", "verdict"),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 3}),
    )


def search_sheet(findings: Findings) -> Sheet:
    """Per cell: what became of its search trials."""
    states = sorted({state for cell in cells_of(findings) for state in cell.states})
    rows = [
        (
            *(cell.regime, cell.arm, str(sum(cell.states.values()))),
            *(str(cell.states.get(state, 0)) for state in states),
        )
        for cell in cells_of(findings)
    ]
    return Sheet(
        title="Search trials",
        note="Stopped: by halving, which compares fully decayed rungs of one cell only.",
        columns=("regime", "arm", "proposed", *states),
        rows=tuple(rows),
        numeric=frozenset(range(2, 3 + len(states))),
    )


def cells_of(findings: Findings) -> Iterator[CellResult]:
    """Every cell, regime by regime."""
    return (cell for regime in findings.regimes for cell in regime.cells)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def replicates_sheet(findings: Findings) -> Sheet:
    """Every score behind the curves, with what it takes to repeat it."""
    rows = []
    for cell in cells_of(findings):
        for point in (single for p in cell.points for single in p.singles):
            for (seed, value), trial_id in zip(point.values.items(), point.trial_ids, strict=True):
                shown = f"{value:.2f}" + (" (ended)" if trial_id in point.failed else "")
                where = f"{cell.regime}/{cell.arm} at {times(point.length)}"
                rows.append((where, str(seed), shown, trial_id))
    return Sheet(
        title="Every replicate",
        note="Ended: by the method's own fault, counted as the worst score.",
        columns=("cell", "seed", metric_name(findings.study), "trial"),
        rows=tuple(rows),
        numeric=frozenset({1, 2}),
    )


def _of_search(study: Study, trial: Trial) -> str:
    return f", search {trial.search + 1}" if num_searches(study) > 1 else ""


def trials_sheet(findings: Findings, cell: Cell, most: int = 25) -> Sheet:
    """The search trials of one cell, incumbents and longest first."""
    trials = sorted(
        findings.search[cell],
        key=lambda t: (-len(t.incumbent_for), -(t.longest or 0.0), t.trial_id),
    )
    paths = list(dict.fromkeys(path for t in trials for path in t.params))
    rows = [
        (
            trial.trial_id,
            trial.state + (" (audit)" if trial.audit else "") + _of_search(findings.study, trial),
            times(trial.longest) if trial.longest else "-",
            ", ".join(times(length) for length in trial.incumbent_for) or "-",
            *(_value(trial.params[p]) if p in trial.params else "-" for p in paths),
            duration(trial.seconds),
        )
        for trial in trials[:most]
    ]
    left = len(trials) - len(rows)
    return Sheet(
        title=cell.name,
        note=f"{left} more in trials.parquet." if left else "",
        columns=("trial", "state", "reached", "best at", *paths, "time"),
        rows=tuple(rows),
        numeric=frozenset({2, *range(4, 5 + len(paths))}),
    )
