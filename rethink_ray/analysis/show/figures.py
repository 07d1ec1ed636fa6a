"""Figures as SVG text: the objective against schedule length, and differences against length.

Figures are drawn in placeholder colours. A separate file becomes black on white; a figure inside
the report follows the reader's theme. Arms differ by colour (Okabe and Ito's palette), marker and
dash.
"""

import io
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.read.drift import Drift
from rethink_ray.analysis.read.published_leads import published_leads
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.wording import metric_name, times

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", "-", "--")
INK, FAINT = "#010203", "#040506"
"""Placeholder colours that ``themed`` replaces."""
WIDTH_IN, HEIGHT_IN, ROW_IN = 6.2, 4.6, 0.26
"""The size of a panel with two rows of legend, and the height of each further row."""
LETTER_PT, MARKER_PT = 7.5, 56.0
"""The width of a letter in a legend, and of an entry's marker and gaps."""
SHIFT = 0.012
"""Arms are set apart sideways by this share of the axis, so that intervals do not overlap."""


def draw_figures(findings: Findings, contained: Containment | None = None) -> dict[str, str]:
    """File stem -> SVG in placeholder colours; a regime without replicates has no figure."""
    kept = contained or Containment(findings.missing_sections)
    return draw_each(
        kept,
        {
            (regime.name, kind): partial(draw, findings, regime)
            for regime in findings.regimes
            for kind, draw in (
                ("curves", _curves_if_any),
                ("differences", _differences_if_any),
                ("drift", _drift_if_any),
            )
        },
    )


def draw_each(
    kept: Containment, figures: Mapping[tuple[str, str], Callable[[], str | None]]
) -> dict[str, str]:
    """File stem -> SVG of every figure that has something to show and could be drawn.

    Args:
        kept: takes note of figures that fail.
        figures: (regime, kind) -> the SVG, None if there is nothing to show.
    """
    drawn: dict[str, str] = {}
    for (regime, kind), draw in figures.items():
        svg = kept.attempt(figure_name(regime, kind), draw, None)
        if svg is not None:
            drawn[stem_of(regime, kind)] = svg
    return drawn


def figure_name(regime: str, kind: str) -> str:
    """The name of a figure in the sentence that says it is missing."""
    return f"Figure of {regime}, {kind}"


def _curves_if_any(findings: Findings, regime: RegimeResult) -> str | None:
    shown = any(p.mean for cell in regime.cells for p in cell.points)
    return draw_curves(findings, regime) if shown else None


def _differences_if_any(findings: Findings, regime: RegimeResult) -> str | None:
    shown = any(f.effect for f in _differences(findings, regime))
    return draw_differences(findings, regime) if shown else None


def _drift_if_any(findings: Findings, regime: RegimeResult) -> str | None:
    return draw_drift(findings, regime) if _drifts(findings, regime) else None


def look_of(index: int) -> dict[str, str]:
    """Colour, marker and dash of an arm: any two of the first 36 differ in at least one."""
    turn, color = divmod(index, len(COLORS))
    return {
        "color": COLORS[color],
        "marker": MARKERS[(color + turn) % len(MARKERS)],
        "linestyle": DASHES[(color + turn) % len(DASHES)],
    }


def stem_of(regime: str, kind: str) -> str:
    """A file stem of letters, digits and ``_.-``, for any name of a regime."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', regime)}-{kind}"


def standing_alone(svg: str) -> str:
    """Black on white, for a file that is opened by itself."""
    head, close, body = svg.partition("<defs>")
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return themed(head + paper + close + body, "#1b1f24", "#c4c9d0")


def inlined(svg: str) -> str:
    """For the report: ink has the colour of the text around it, arms have the theme's shades."""
    text = themed(svg[svg.index("<svg") :], "currentColor", "var(--rule)")
    for index, color in enumerate(COLORS):
        text = text.replace(color, f"var(--arm-{index})")
    return text


def themed(svg: str, ink: str, faint: str) -> str:
    """The SVG with its placeholder colours replaced."""
    return svg.replace(INK, ink).replace(FAINT, faint)


def draw_curves(findings: Findings, regime: RegimeResult) -> str:
    """Mean and 95 % interval per arm and length; faint dots are single replicates."""
    study = findings.study
    metric = f"{metric_name(study)} on {study.data.report_split} (points)"

    def paint(axes: Any) -> None:
        for index, cell in enumerate(regime.cells):
            _paint_curve(axes, regime, cell, index)
        axes.set_ylabel(metric)

    return _drawn(regime, f"{regime.name}: {metric_name(study)} by schedule length", paint)


def _paint_curve(axes: Any, regime: RegimeResult, cell: CellResult, index: int) -> None:
    shift = _shift(regime, index, len(regime.cells))
    points = [(p, m) for p in cell.points if (m := p.mean) is not None]
    if not points:
        return
    look = look_of(index)
    x = [p.length + shift for p, _ in points]
    halves = [(i[1] - m.value) if (i := m.interval()) else 0.0 for _, m in points]
    axes.errorbar(
        x,
        [m.value for _, m in points],
        yerr=halves,
        **look,
        label=legend_label(cell.arm),
        capsize=3,
        markersize=5,
        linewidth=1.6,
        elinewidth=1.1,
    )
    for at, (point, _) in zip(x, points, strict=True):
        values = list(point.values.values())
        axes.plot([at] * len(values), values, ".", color=look["color"], alpha=0.4, markersize=4)


def draw_differences(findings: Findings, regime: RegimeResult) -> str:
    """Each arm minus the reference at each length, with the margin as a band."""
    study = findings.study
    metric = metric_name(study)
    arms = [cell.arm for cell in regime.cells]
    reference = _differences(findings, regime)[0].arms[0]

    def paint(axes: Any) -> None:
        axes.axhspan(-study.margin, study.margin, color=FAINT, alpha=0.45, linewidth=0)
        axes.axhline(0.0, color=INK, linewidth=0.8)
        for index, arm in enumerate(arms):
            _paint_difference(axes, findings, regime, arm, index)
        _paint_published(axes, findings, regime)
        axes.set_ylabel(f"{metric} minus {reference}'s (points)")

    title = f"{regime.name}: lead over {reference} by schedule length"
    return _drawn(regime, title, paint)


def _paint_difference(
    axes: Any, findings: Findings, regime: RegimeResult, arm: str, index: int
) -> None:
    leads = [f for f in _differences(findings, regime) if f.arms[1] == arm and f.effect]
    if not leads:
        return
    leads.sort(key=lambda f: f.lengths[0])
    shift, look = _shift(regime, index, len(regime.cells)), look_of(index)
    values = [f.effect.value for f in leads if f.effect]
    halves = [i[1] - v if (i := f.interval) else 0.0 for f, v in zip(leads, values, strict=True)]
    axes.errorbar(
        [f.lengths[0] + shift for f in leads],
        values,
        yerr=halves,
        **look,
        label=legend_label(arm),
        capsize=3,
        markersize=5,
        linewidth=1.6,
        elinewidth=1.1,
    )


def _paint_published(axes: Any, findings: Findings, regime: RegimeResult) -> None:
    """Published leads over training from scratch, beside those of the study."""
    if not any(c.arm == regime.reference and c.source == "random" for c in regime.cells):
        return
    lengths = [length for cell in regime.cells for length in cell.lengths]
    for index, (name, points) in enumerate(published_leads(findings.study, lengths)):
        axes.plot(
            [length for length, _ in points],
            [lead for _, lead in points],
            color=INK,
            alpha=0.6,
            linestyle=DASHES[(index + 2) % len(DASHES)],
            marker="x",
            markersize=4,
            linewidth=1.0,
            label=name,
        )


def draw_drift(findings: Findings, regime: RegimeResult) -> str:
    """How far each arm's backbone moved from its first weights, by schedule length."""
    arms = [cell.arm for cell in regime.cells]

    def paint(axes: Any) -> None:
        for arm, drifts in _drifts(findings, regime).items():
            index = arms.index(arm)
            shift = _shift(regime, index, len(arms))
            axes.errorbar(
                [drift.length + shift for drift in drifts],
                [drift.mean.value for drift in drifts],
                yerr=[i[1] - d.mean.value if (i := d.mean.interval()) else 0.0 for d in drifts],
                **look_of(index),
                label=legend_label(arm),
                capsize=3,
                markersize=5,
                linewidth=1.6,
                elinewidth=1.1,
            )
        axes.set_ylabel("|w - w0| / |w0| (ratio)")

    return _drawn(regime, f"{regime.name}: backbone drift by schedule length", paint)


def _drifts(findings: Findings, regime: RegimeResult) -> dict[str, list[Drift]]:
    """Arm -> its drift at each length."""
    by_arm: dict[str, list[Drift]] = {}
    for drift in findings.sections["backbone_drift"]:
        if drift.cell.regime == regime.name:
            by_arm.setdefault(drift.cell.arm, []).append(drift)
    return by_arm


def _differences(findings: Findings, regime: RegimeResult) -> list[Any]:
    """Leads over the reference at one length, without those of each arm at its best length."""
    arms = [f for f in findings.findings if f.kind == "arms" and f.regime == regime.name]
    return [f for f in arms if len(f.lengths) == 1 and f.arms[0] == regime.reference]


def _shift(regime: RegimeResult, index: int, num: int) -> float:
    lengths = [length for cell in regime.cells for length in cell.lengths]
    width = (max(lengths) - min(lengths)) or 1.0
    return (index - (num - 1) / 2) * SHIFT * width


def _drawn(regime: RegimeResult, title: str, paint: Callable[[Any], None]) -> str:
    """One panel over schedule lengths."""
    lengths = sorted({length for cell in regime.cells for length in cell.lengths})

    def dressed(axes: Any) -> None:
        paint(axes)
        axes.set_xticks(lengths, [times(length) for length in lengths])
        axes.set_xlabel(f"schedule length (1x = {regime.unit_steps} updates)")

    return panel(title, dressed)


def panel(title: str, paint: Callable[[Any], None]) -> str:
    """One panel with the axes and the legend that all figures share."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": title,
            "font.family": "sans-serif",
            "font.size": 13,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    ):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes)
        axes.set_title(title, fontsize=14, loc="left")
        _legend(figure, axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def legend_label(name: str) -> str:
    """A legend's entry; matplotlib hides those that start with an underscore."""
    return f"\N{HAIR SPACE}{name}" if name.startswith("_") else name


def _legend(figure: Any, axes: Any) -> None:
    """Put the legend below the axes, where it hides no point."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max((len(label) for label in labels), default=0)
    fitting = int(WIDTH_IN * 72.0 // (longest * LETTER_PT + MARKER_PT))
    columns = max(1, min(len(labels), 3, fitting))
    more_rows = math.ceil(len(labels) / columns) - 2
    figure.set_figheight(HEIGHT_IN + max(0, more_rows) * ROW_IN)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
