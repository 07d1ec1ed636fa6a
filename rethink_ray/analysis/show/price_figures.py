"""Figures of what a score costs: the objective against the hours of a run, and against memory."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.read.prices import Priced, memory_ranked, time_unit
from rethink_ray.analysis.show.figures import INK, draw_each, legend_label, look_of, panel
from rethink_ray.judge.wording import metric_name, times

WIDE = 8.0
"""The axis is logarithmic if prices differ by more than this factor."""


def draw_prices(findings: Findings, contained: Containment | None = None) -> dict[str, str]:
    """File stem -> SVG; a regime with fewer than two priced scores has no figure."""
    kept = contained or Containment(findings.missing_sections)
    return draw_each(
        kept,
        {
            (regime, kind): partial(draw, findings, regime)
            for regime in findings.study.regimes
            for kind, draw in (("hours", _by_hours), ("memory", _by_memory))
        },
    )


def _by_hours(findings: Findings, regime: str) -> str | None:
    inside = _of_regime(findings, regime)
    if len(inside) < 2:
        return None
    word, per_hour = time_unit(findings.study, max(p.hours for p in inside))
    return _drawn(
        findings,
        inside,
        title=f"{regime}: {metric_name(findings.study)} by {word}",
        label=f"{word} of one run, asset included",
        price=lambda p: p.hours * per_hour,
        on_front=lambda p: p.best_for_hours,
    )


def _by_memory(findings: Findings, regime: str) -> str | None:
    inside = memory_ranked(_of_regime(findings, regime))
    if len(inside) < 2:
        return None
    return _drawn(
        findings,
        inside,
        title=f"{regime}: {metric_name(findings.study)} by peak memory",
        label="peak memory of one process (GB)",
        price=lambda p: (p.peak_memory_bytes or 0) / 1e9,
        on_front=lambda p: p.best_for_memory,
    )


def _of_regime(findings: Findings, regime: str) -> list[Priced]:
    return [p for p in findings.sections["prices"] if p.regime == regime]


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
        prices_of_best, scores = [x for x, _ in best], [y for _, y in best]
        axes.step(prices_of_best, scores, where="post", color=INK, alpha=0.35, linewidth=1.2)
        for arm in arms:
            index = list(study.arms).index(arm)
            of_arm = [p for p in inside if p.arm == arm]
            axes.plot(
                [price(p) for p in of_arm],
                [p.score for p in of_arm],
                **look_of(index),
                label=legend_label(arm),
                markersize=5,
                linewidth=1.0,
            )
            for p in (p for p in of_arm if on_front(p)):
                _label(axes, (price(p), p.score), times(p.length), index)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: _minor(value))
        axes.margins(0.06, 0.1)  # room for the labels of the outermost points
        axes.set_xlabel(label + (" (log scale)" if log else ""))
        axes.set_ylabel(f"{metric_name(study)} on {study.data.report_split} (points)")

    return panel(title, paint)


def _label(axes: Any, point: tuple[float, float], text: str, index: int) -> None:
    """Write a label beside its point: above it, or below it for every second arm."""
    offset, side = ((-4, 5), "right") if index % 2 else ((5, -11), "left")
    axes.annotate(
        text,
        point,
        offset,
        textcoords="offset points",
        ha=side,
        fontsize=10,
        color=INK,
    )


def _minor(value: float) -> str:
    """The label of a logarithmic axis between powers of ten: only 2 and 5 have one."""
    first = f"{value:e}"[0]
    return f"{value:g}" if first in "25" else ""
