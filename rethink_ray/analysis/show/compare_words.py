"""Comparisons across sources as text: for a terminal, as Markdown, and as JSON."""

import json
from typing import Any

from rethink_ray.analysis.compare import Comparisons, Effect
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.render import aligned, piped
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.wording import listed, signed, span

SCHEMA_VERSION = 1
READ_AS = (
    "One contender minus another at the same schedule, in AP. Published numbers are single runs, "
    "as reported, without an interval. 1x differs between sources: a length means the same only "
    "inside one."
)


def comparisons_terminal(found: Comparisons) -> str:
    """Aligned tables."""
    return "\n\n".join([aligned(sheet) for sheet in _sheets(found)] + [_absolute(found)]) + "\n"


def comparisons_markdown(found: Comparisons) -> str:
    """The same in Markdown."""
    return "\n\n".join([piped(sheet) for sheet in _sheets(found)] + [_absolute(found)]) + "\n"


def comparisons_json(found: Comparisons) -> str:
    """Everything, as JSON with a versioned schema."""
    tree = {
        "schema_version": SCHEMA_VERSION,
        "sources": [
            {"name": s.name, "reported": s.reported, "fingerprint": s.fingerprint or None}
            for s in found.sources
        ],
        "effects": [_effect_tree(e) for e in found.effects],
        "gaps": [
            {
                "contrast": g.contrast,
                "schedule": g.schedule,
                "regime": g.regime,
                "sources": list(g.sources),
                **_estimate_tree(g.estimate),
            }
            for g in found.gaps
        ],
        "scores": [
            {
                "source": s.source,
                "regime": s.regime,
                "arm": s.arm,
                "schedule": s.schedule,
                **_estimate_tree(s.estimate),
            }
            for s in found.scores
        ],
    }
    return json.dumps(tree, indent=1, allow_nan=False)


def _effect_tree(effect: Effect) -> dict[str, Any]:
    met = effect.matched_pair
    return {
        "contrast": effect.contrast,
        "schedule": effect.schedule,
        "source": effect.source,
        "setting": effect.setting,
        "images": effect.images,
        "verdict": "as reported" if effect.reported else None,
        **_estimate_tree(effect.estimate),
        "evidence": [*met.side.evidence, *(met.against.evidence if met.against else ())],
    }


def _estimate_tree(estimate: Estimate | None) -> dict[str, Any]:
    interval = estimate.interval() if estimate else None
    return {
        "estimate": float(f"{estimate.value:.6g}") if estimate else None,
        "interval": [float(f"{v:.6g}") for v in interval] if interval else None,
        "replicates": list(estimate.nums) if estimate else [],
    }


def _sheets(found: Comparisons) -> list[Sheet]:
    effects = Sheet(
        title="Effects side by side",
        note=READ_AS,
        columns=("effect", "schedule", "source", "where", "images", "AP", "95 % interval", "runs"),
        rows=tuple(
            (
                *(e.contrast, e.schedule, e.source, e.setting, f"{e.images}"),
                *_numbers(e.estimate, e.reported),
            )
            for e in found.effects
        ),
        numeric=frozenset({1, 4, 5, 6, 7}),
    )
    gaps = Sheet(
        title="The same effect in two studies",
        note=(
            "The second study's effect minus the first's, in regimes of one name, whose images and "
            "1x may differ; descriptive."
        ),
        columns=("effect", "schedule", "regime", "studies", "AP", "95 % interval", "runs"),
        rows=tuple(
            (
                *(g.contrast, g.schedule, g.regime, f"{g.sources[1]} - {g.sources[0]}"),
                *_numbers(g.estimate, False),
            )
            for g in found.gaps
        ),
        numeric=frozenset({1, 4, 5, 6}),
    )
    scores = Sheet(
        title="Scores of studies with one fingerprint",
        note="Mean over replicates, 95 % interval.",
        columns=("regime", "arm", "schedule", "study", "AP", "95 % interval", "runs"),
        rows=tuple(
            sorted(
                (s.regime, s.arm, s.schedule, s.source, *_numbers(s.estimate, False, sign=False))
                for s in found.scores
            )
        ),
        numeric=frozenset({2, 4, 5, 6}),
    )
    return [effects, *(sheet for sheet in (gaps, scores) if sheet.rows)]


def _numbers(
    estimate: Estimate | None, reported: bool, *, sign: bool = True
) -> tuple[str, str, str]:
    if estimate is None:
        return ("-", "-", "0")
    runs = "as reported" if reported else "+".join(str(n) for n in estimate.nums)
    value = signed(estimate.value) if sign else f"{estimate.value:.1f}"
    return (value, span(estimate.interval(), sign=sign) or "-", runs)


def _absolute(found: Comparisons) -> str:
    """Why scores themselves are not compared, where they are not."""
    if not found.effects:
        names = listed([s.name for s in found.sources])
        return f"No two contenders of {names} share all else and a schedule: there is no effect."
    if found.scores:
        return "Scores are set side by side for studies whose fingerprints agree, for no others."
    return (
        "Absolute scores are not set side by side: no two of these studies ask the same of the "
        "same data (their fingerprints differ)."
    )
