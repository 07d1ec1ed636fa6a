"""Figures of what a score costs: the objective against the hours of a run, and against memory."""

from collections.abc import Callable, Sequence
from typing import Any

from rethink_ray.analysis.figures import COLORS, DASHES, INK, MARKERS, legend_label, panel, stem_of
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.frontier import Priced, hour_word, memory_ranked
from rethink_ray.analysis.wording import metric_name, times

WIDE = 8.0
"""Prices that differ by more than this factor stand on a logarithmic axis."""


def draw_prices(findings: Findings) -> dict[str, str]:
    """File stem -> SVG; a regime with fewer than two priced scores has no figure."""
    drawn: dict[str, str] = {}
    for regime in findings.study.regimes:
        inside = [p for p in findings.priced if p.regime == regime]
        measured = memory_ranked(inside)
        if len(inside) > 1:
            drawn[stem_of(regime, "hours")] = _by_hours(findings, regime, inside)
        if len(measured) > 1:
            drawn[stem_of(regime, "memory")] = _by_memory(findings, regime, measured)
    return drawn


def _by_hours(findings: Findings, regime: str, inside: Sequence[Priced]) -> str:
    word = hour_word(findings.study)
    return _drawn(
        findings,
        inside,
        title=f"{regime}: {metric_name(findings.study)} by {word}",
        label=f"{word} of one run, asset included",
        price=lambda p: p.hours,
        on_front=lambda p: p.best_for_hours,
    )


def _by_memory(findings: Findings, regime: str, inside: Sequence[Priced]) -> str:
    return _drawn(
        findings,
        inside,
        title=f"{regime}: {metric_name(findings.study)} by peak memory",
        label="peak memory of one process (GB)",
        price=lambda p: p.peak_bytes / 1e9,
        on_front=lambda p: p.best_for_memory,
    )


def _drawn(
    findings: Findings,
    inside: Sequence[Priced],
    *,
    title: str,
    label: str,
    price: Callable[[Priced], float],
    on_front: Callable[[Priced], bool],
) -> str:
    study = findings.study
    arms = [arm for arm in study.arms if any(p.arm == arm for p in inside)]
    prices = [price(p) for p in inside]
    log = min(prices) > 0.0 and max(prices) > WIDE * min(prices)

    def paint(axes: Any) -> None:
        best = sorted((price(p), p.score) for p in inside if on_front(p))
        axes.step(*zip(*best, strict=True), where="post", color=INK, alpha=0.35, linewidth=1.2)
        for arm in arms:
            style = list(study.arms).index(arm) % len(COLORS)
            own = [p for p in inside if p.arm == arm]
            axes.plot(
                [price(p) for p in own],
                [p.score for p in own],
                color=COLORS[style],
                marker=MARKERS[style],
                linestyle=DASHES[style],
                label=legend_label(arm),
                markersize=5,
                linewidth=1.0,
            )
            for p in own:
                if on_front(p):
                    place = (price(p), p.score)
                    axes.annotate(
                        times(p.length), place, (4, 5), textcoords="offset points", fontsize=10
                    )
        if log:
            axes.set_xscale("log")
        axes.set_xlabel(label + (" (log scale)" if log else ""))
        axes.set_ylabel(f"{metric_name(study)} on {study.data.report_on} (points)")

    return panel(title, paint)
