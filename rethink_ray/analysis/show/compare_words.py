"""Comparisons across sources as text: for a terminal, as Markdown, and as JSON."""

from rethink_ray.analysis.compare import Comparisons
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.as_json import json_text
from rethink_ray.analysis.show.render import FINDINGS_SCHEMA, aligned, piped
from rethink_ray.analysis.unplanned import say_unplanned
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.wording import listed, signed, span

READ_AS = (
    "One contender minus another at the same schedule, in AP. Published numbers are single runs, "
    "shown as reported and without an interval. 1x is another number of updates in each source, so "
    "equal lengths mean the same only inside one source."
)


def comparisons_terminal(compared: Comparisons) -> str:
    """Aligned tables."""
    tables = [aligned(sheet) for sheet in _sheets(compared)]
    return "\n\n".join([*tables, _about_scores(compared)]) + "\n"


def comparisons_markdown(compared: Comparisons) -> str:
    """The same in Markdown."""
    tables = [piped(sheet) for sheet in _sheets(compared)]
    return "\n\n".join([*tables, _about_scores(compared)]) + "\n"


def comparisons_json(compared: Comparisons) -> str:
    """Everything, as JSON with a versioned schema."""
    return json_text(
        {
            "schema_version": FINDINGS_SCHEMA,
            "sources": compared.sources,
            "effects": compared.effects,
            "gaps": compared.gaps,
            "scores": compared.scores,
        }
    )


def _sheets(compared: Comparisons) -> list[Sheet]:
    more = (_gaps_sheet(compared), _scores_sheet(compared))
    return [_effects_sheet(compared), *(sheet for sheet in more if sheet.rows)]


def _effects_sheet(compared: Comparisons) -> Sheet:
    return Sheet(
        title="Effects side by side",
        note=" ".join([READ_AS, *_say_looks(compared)]),
        columns=("effect", "schedule", "source", "where", "images", "AP", "95 % interval", "runs"),
        rows=tuple(
            (
                effect.contrast,
                effect.schedule,
                effect.source,
                effect.setting,
                f"{effect.images}",
                *_numbers(effect.estimate, effect.reported),
            )
            for effect in compared.effects
        ),
        numeric=frozenset({1, 4, 5, 6, 7}),
    )


def _say_looks(compared: Comparisons) -> list[str]:
    """That effects do not allow for looks, where a source has some."""
    names = [source.name for source in compared.sources if source.has_looks]
    return [say_unplanned(listed(names))] if names else []


def _gaps_sheet(compared: Comparisons) -> Sheet:
    return Sheet(
        title="The same effect in two studies",
        note=(
            "The second study's effect minus the first's, in regimes of the same name, whose "
            "images and 1x may differ. Descriptive: not corrected for other comparisons."
        ),
        columns=("effect", "schedule", "regime", "studies", "AP", "95 % interval", "runs"),
        rows=tuple(
            (
                gap.contrast,
                gap.schedule,
                gap.regime,
                f"{gap.sources[1]} - {gap.sources[0]}",
                *_numbers(gap.estimate, False),
            )
            for gap in compared.gaps
        ),
        numeric=frozenset({1, 4, 5, 6}),
    )


def _scores_sheet(compared: Comparisons) -> Sheet:
    rows = [
        (s.regime, s.arm, s.schedule, s.source, *_numbers(s.estimate, False, sign=False))
        for s in compared.scores
    ]
    return Sheet(
        title="Scores of studies with one fingerprint",
        note="Mean over replicates, 95 % interval.",
        columns=("regime", "arm", "schedule", "study", "AP", "95 % interval", "runs"),
        rows=tuple(sorted(rows)),
        numeric=frozenset({2, 4, 5, 6}),
    )


def _numbers(
    estimate: Estimate | None, reported: bool, *, sign: bool = True
) -> tuple[str, str, str]:
    """(value, interval, number of runs), as a table shows them."""
    if estimate is None:
        return ("-", "-", "0")
    runs = "as reported" if reported else "+".join(str(n) for n in estimate.nums)
    value = signed(estimate.value) if sign else f"{estimate.value:.1f}"
    return (value, span(estimate.interval(), sign=sign) or "-", runs)


def _about_scores(compared: Comparisons) -> str:
    """Why scores themselves are not compared, where they are not."""
    if not compared.effects:
        names = listed([s.name for s in compared.sources])
        return (
            f"There is no effect to show: no two contenders of {names} share a schedule and "
            "everything else."
        )
    if compared.scores:
        return "Scores are set side by side only for studies whose fingerprints agree."
    return (
        "Absolute scores are not set side by side: the fingerprints of these studies differ, so no "
        "two of them ask the same question of the same data."
    )
