"""One figure: shares of right and of false verdicts against updates, by policy."""

from pathlib import Path
from typing import Any

from verdicts.program import FIXED
from verdicts.rivals import ASHA_MORE_SEEDS, ASHA_PER_ARM, GRID, SWEEP
from verdicts.sequential import SEQUENTIAL
from verdicts.tables import FULL_RUN
from verdicts.tally import Tally, mean_with_interval

STYLES = {
    FIXED: ("#0b6e4f", "o", "--"),
    SEQUENTIAL: ("#0b6e4f", "o", "-"),
    SWEEP: ("#c1292e", "s", "-"),
    ASHA_PER_ARM: ("#235789", "^", "-"),
    ASHA_MORE_SEEDS: ("#7a9cc6", "v", "--"),
    GRID: ("#8d6a9f", "D", "-"),
}
"""Policy -> colour, marker, line."""
SIZE_IN = (4.6, 6.6)
"""Upright and small, so that a telephone shows it without zooming."""


def draw_figure(tally: Tally, path: Path) -> None:
    """Writes the figure; its suffix says the format."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 12, "svg.hashsalt": "verdicts"}):
        figure = Figure(figsize=SIZE_IN, layout="constrained", dpi=160)
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _paint(upper, tally, "right")
        _paint(lower, tally, "false")
        upper.set_ylabel("right verdicts (%)")
        lower.set_ylabel("false (%)")
        lower.axhline(5.0, color="0.4", linewidth=0.8, linestyle=":")
        lower.set_xlabel("cost of the answer (runs of 6x)")
        lower.set_xscale("log")
        ticks = [10, 20, 50, 100, 200, 500]
        low, high = lower.get_xlim()
        shown = [tick for tick in ticks if low <= tick <= high]
        lower.set_xticks(shown, [str(tick) for tick in shown])
        lower.minorticks_off()
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=1, frameon=False)
        figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)


def _paint(axes: Any, tally: Tally, counted: str) -> None:
    axes.grid(axis="y", color="0.85", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for policy, (colour, marker, line) in STYLES.items():
        points = [point for point in tally.points if point[0] == policy]
        if not points:
            continue
        runs = [tally.values(p, lambda s: s.updates).mean() / FULL_RUN for p in points]
        shares = [
            mean_with_interval(100.0 * tally.values(p, lambda s: getattr(s.by_rule, counted)))
            for p in points
        ]
        order = sorted(range(len(points)), key=lambda index: float(runs[index]))
        means = [shares[i][0] for i in order]
        errors = [
            [shares[i][0] - shares[i][1] for i in order],
            [shares[i][2] - shares[i][0] for i in order],
        ]
        axes.errorbar(
            [runs[i] for i in order],
            means,
            yerr=errors,
            color=colour,
            marker=marker,
            linestyle=line,
            label=policy,
            markersize=5,
            linewidth=1.6,
            capsize=2,
        )
    axes.set_ylim(bottom=0.0)
