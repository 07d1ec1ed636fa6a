"""A figure of the answer: each arm's score against the number of labelled images."""

from typing import Any

from rethink_ray.analysis.answer import RankedArm, RegimeAnswer
from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.show.figures import draw_each, legend_label, look_of, panel
from rethink_ray.judge.wording import metric_name

STUDY = "the study"
"""Stands where other figures name their regime."""
BY_IMAGES = "images"
SIDESTEP = 1.02
"""Neighbouring arms stand apart by this factor, so that intervals do not overlap."""


def draw_by_images(findings: Findings, contained: Containment | None = None) -> dict[str, str]:
    """File stem -> SVG; a study with scores in fewer than two sizes of regime has no figure."""
    kept = contained or Containment(findings.missing_sections)
    return draw_each(kept, {(STUDY, BY_IMAGES): lambda: _draw_if_any(findings)})


def _draw_if_any(findings: Findings) -> str | None:
    scored = [answer for answer in findings.answer.regimes if any(a.mean for a in answer.arms)]
    if len({answer.num_images for answer in scored}) < 2:
        return None
    by_size = sorted(scored, key=lambda answer: answer.num_images)
    study = findings.study
    arms = [arm for arm in study.arms if any(_ranked(answer, arm) for answer in by_size)]

    def paint(axes: Any) -> None:
        for index, arm in enumerate(arms):
            sidestep = SIDESTEP ** (index - (len(arms) - 1) / 2)
            _paint_arm(axes, by_size, arm, look_of(list(study.arms).index(arm)), sidestep)
        sizes = sorted({answer.num_images for answer in by_size})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.margins(0.08, 0.08)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_xlabel("labelled images for training (log scale)")
        axes.set_ylabel(f"{metric_name(study)} on {study.data.report_split} (points)")

    return panel(f"{metric_name(study)} by labelled images", paint)


def _paint_arm(
    axes: Any, by_size: list[RegimeAnswer], arm: str, look: dict[str, str], sidestep: float
) -> None:
    """Mean and 95 % interval of one arm, each at its best length."""
    points = [
        (answer.num_images * sidestep, ranked.mean)
        for answer in by_size
        if (ranked := _ranked(answer, arm)) is not None and ranked.mean is not None
    ]
    axes.errorbar(
        [x for x, _ in points],
        [mean.value for _, mean in points],
        yerr=[(ends[1] - mean.value) if (ends := mean.interval()) else 0.0 for _, mean in points],
        **look,
        label=legend_label(arm),
        capsize=3,
        markersize=5,
        linewidth=1.6,
        elinewidth=1.1,
    )


def _ranked(answer: RegimeAnswer, arm: str) -> RankedArm | None:
    """The arm in this regime; None if it has no mean there."""
    return next((a for a in answer.arms if a.arm == arm and a.mean is not None), None)
