"""Findings as text: for a terminal, as Markdown, and as JSON with a versioned schema."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment, missing_summary
from rethink_ray.analysis.findings import CAVEATS, CLAIMS, FINDINGS, Findings, RegimeResult
from rethink_ray.analysis.read.costs import CellCost, StudyCost
from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.optional_sheets import one_sheet, sheets
from rethink_ray.analysis.show.search_trees import SEARCH_KEYS, rounded
from rethink_ray.analysis.show.sheets import needed_text
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.questions import describe_headlines
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, Estimate
from rethink_ray.judge.verdicts import Caveat, Finding
from rethink_ray.judge.wording import counted, unit_name
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.spec.study import Study

SCHEMA_VERSION = 1
"""Of ``findings.json``: grows when a key goes or changes its meaning, not when one comes."""
ANSWERS = "The answers"


def as_terminal(findings: Findings, contained: Containment | None = None) -> str:
    """Headings, one line per finding, aligned tables. Plain ASCII, no colours.

    Args:
        findings: of a study.
        contained: takes note of sections that fail.
    """
    kept = contained or Containment(findings.missing_sections)
    head = kept.attempt(ANSWERS, lambda: _head(findings), "")
    parts = [head or f"{findings.study.study}\n\n{kept.sentence_of(ANSWERS)}"]
    parts.append(_findings_text(findings, kept))
    parts += [aligned(sheet) for sheet in sheets(findings, kept)]
    parts.append("\n".join(["CAVEATS", *_caveat_lines(findings, kept)]))
    return "\n\n".join(parts) + "\n"


def _findings_text(findings: Findings, kept: Containment) -> str:
    def text() -> str:
        lines = [line for f in stated(findings) for line in _stated(findings, f)]
        return "\n".join([FINDINGS.upper(), family_note(findings), "", *lines])

    sentence = kept.sentence_of(FINDINGS)
    found = None if sentence else kept.attempt(FINDINGS, text, None)
    return found or f"{FINDINGS.upper()}\n{kept.sentence_of(FINDINGS)}"


def _caveat_lines(findings: Findings, kept: Containment) -> list[str]:
    """Each caveat; first, where they could not be found, that they could not."""
    sentence = kept.sentence_of(CAVEATS)
    return [f"- {text}" for text in (*([sentence] if sentence else []), *_texts(findings))]


def _texts(findings: Findings) -> list[str]:
    return [caveat.text for caveat in findings.caveats]


def stated(findings: Findings) -> list[Finding]:
    """Those that are told one by one; the others stand in the table of differences."""
    return [f for f in findings.findings if f.family != "descriptive" or f.kind != "arms"]


def _stated(findings: Findings, finding: Finding) -> list[str]:
    """The verdict on a claim, then what was found, so that no verdict reads as its opposite."""
    lines = [f"[{finding.verdict.value}] claim: {finding.claim}.", f"    {finding.sentence}"]
    return [*lines, *(f"    caveat: {text}" for text in findings.cautions_of(finding))]


def as_markdown(findings: Findings, contained: Containment | None = None) -> str:
    """The same, headings and tables in Markdown."""
    kept = contained or Containment(findings.missing_sections)
    head = kept.attempt(ANSWERS, lambda: _head(findings).partition("\n")[2].strip(), "")
    parts = [f"# {findings.study.study}", head or kept.sentence_of(ANSWERS)]
    parts.append(piped(one_sheet(kept, FINDINGS, lambda: _findings_sheet(findings))))
    parts += [piped(sheet) for sheet in sheets(findings, kept)]
    parts.append("\n".join(["## Caveats", "", *_caveat_lines(findings, kept)]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings_sheet(findings: Findings) -> Sheet:
    rows = [
        (
            *(f.regime, f.claim, f.verdict.value),
            " ".join([f.sentence, *(f"Caveat: {text}" for text in findings.cautions_of(f))]),
            needed_text(f),
        )
        for f in stated(findings)
    ]
    columns = ("regime", "claim", "verdict", "found", f"{unit_name(findings.study)} to decide")
    return Sheet(title=FINDINGS, note=family_note(findings), columns=columns, rows=tuple(rows))


def as_json_text(findings: Findings, contained: Containment | None = None) -> str:
    """``findings.json``: ASCII, keys in a fixed order, floats to 6 significant digits."""
    return json.dumps(as_tree(findings, contained), indent=1, allow_nan=False)


def family_note(findings: Findings) -> str:
    """Which verdicts are corrected for how many comparisons."""
    num = findings.num_primary
    if num == 0:
        return "No two arms are compared, so no verdict is corrected for others."
    own = sum(f.family == "primary" and f.kind == "claim" for f in findings.findings)
    claims = f" and {counted(own, 'declared claim')}" if own else ""
    return (
        f"{counted(num - own, 'headline comparison')} ({describe_headlines(findings.study)})"
        f"{claims} held "
        f"together at {ALPHA:g} by Holm's correction. Everything else is descriptive: each stands "
        "alone at 0.05. Equivalence (a 90 % interval inside the margin) is not corrected, nor are "
        f"the 95 % intervals.{_looks_note(findings)}"
    )


def _looks_note(findings: Findings) -> str:
    looks = findings.looks
    if looks == 1:
        return ""
    added = "Searches or replicates" if num_searches(findings.study) > 1 else "Replicates"
    return (
        f" {added} were added after results had been seen: with {looks} looks every p value "
        f"of a difference is multiplied by {looks}, and its 95 % interval is a "
        f"{100.0 - 5.0 / looks:.3g} % interval."
    )


def as_tree(findings: Findings, contained: Containment | None = None) -> dict[str, Any]:
    """Everything, as plain data; a section that failed is null, and is named at the end."""
    kept = contained or Containment(findings.missing_sections)
    tree = {
        key: _value_of(kept, key, part, partial(build, findings))
        for key, (part, build) in KEYS.items()
    }
    missing = [{"section": m.name, "reason": m.reason} for m in kept.missing]
    return {**tree, "missing_sections": missing}


def _value_of(kept: Containment, key: str, part: str, build: Callable[[], Any]) -> Any:
    """What JSON can hold of a key; None where it, or the part it shows, failed."""

    def written() -> Any:
        value = build()
        json.dumps(value, allow_nan=False)  # one number that is none would cost the whole file
        return value

    failed = bool(part and kept.sentence_of(part))
    return None if failed else kept.attempt(f"{key} of findings.json", written, None)


KEYS: dict[str, tuple[str, Callable[[Findings], Any]]] = {
    "schema_version": ("", lambda f: SCHEMA_VERSION),
    "study": ("", lambda f: f.study.study),
    "question": ("", lambda f: f.study.question),
    "metric": ("", lambda f: _metric_tree(f.study)),
    "select_on": ("", lambda f: f.study.data.select_split),
    "report_on": ("", lambda f: f.study.data.report_on),
    "report_images": ("", lambda f: f.facts.split_sizes.get(f.study.data.report_on)),
    "margin": ("", lambda f: f.study.margin),
    "family": (
        FINDINGS,
        lambda f: {"primary": f.num_primary, "correction": "holm", "alpha": ALPHA},
    ),
    "looks": (FINDINGS, lambda f: f.looks),
    "values_are": ("", lambda f: unit_name(f.study)),
    "missing": ("", lambda f: f.missing),
    "incomplete": ("", lambda f: f.incomplete),
    "answers": (FINDINGS, lambda f: list(f.answers)),
    "answer_cautions": (FINDINGS, lambda f: [list(texts) for texts in f.answer_cautions]),
    "findings": (FINDINGS, lambda f: [finding_tree(one) for one in f.findings]),
    "claims": (CLAIMS, lambda f: [outcome_tree(o) for o in f.claims.papers]),
    "regimes": ("", lambda f: [_regime_tree(f, regime) for regime in f.regimes]),
    **SEARCH_KEYS,
    "caveats": (CAVEATS, lambda f: [_caveat_tree(c) for c in f.caveats]),
    "cost": ("", lambda f: _cost_tree(f.cost)),
}
"""Of ``findings.json``: the part of the findings that a key shows, and how."""


def _metric_tree(study: Study) -> dict[str, str]:
    return {"name": study.objective.metric, "goal": "maximize", "unit": "points"}


def _caveat_tree(caveat: Caveat) -> dict[str, Any]:
    return {
        "key": caveat.key,
        "regime": caveat.regime,
        "arm": caveat.arm,
        "text": caveat.text,
    }


def _cost_tree(cost: StudyCost) -> dict[str, Any]:
    return {
        "slot_seconds": rounded(cost.total_seconds),
        "asset_seconds": rounded(cost.asset_seconds),
    }


def outcome_tree(outcome: ClaimOutcome) -> dict[str, Any]:
    """A claim and its places as plain data."""
    return {
        "name": outcome.name,
        "says": outcome.claim.says,
        "source": outcome.claim.source,
        "findings": [finding_tree(f) for f in outcome.findings],
        "untested": outcome.untested,
    }


def finding_tree(finding: Finding) -> dict[str, Any]:
    """One finding as plain data."""
    effect = finding.effect
    return {
        "key": finding.key,
        "kind": finding.kind,
        "family": finding.family,
        "regime": finding.regime,
        "arms": list(finding.arms),
        "lengths": list(finding.lengths),
        "claim": finding.claim,
        "sentence": finding.sentence,
        "verdict": finding.verdict.value,
        **_effect_tree(effect),
        **_ratio_tree(finding),
        "interval_90": _pair(effect.interval(EQUIVALENCE_LEVEL) if effect else None),
        "p": rounded(effect.p_value if effect else None),
        "p_corrected": rounded(finding.p_adjusted),
        "replicates": list(effect.nums) if effect else [],
        "replicates_needed": finding.needed,
        "bracket": list(finding.bracket) if finding.bracket else None,
        "evidence": list(finding.evidence),
        "caveats": list(finding.caveats),
        "agrees": finding.agrees,
    }


def _ratio_tree(finding: Finding) -> dict[str, Any]:
    """Only of a claim about ratios, whose estimate is a logarithm."""
    if finding.ratio is None:
        return {}
    value, interval = finding.ratio
    return {"ratio": rounded(value), "ratio_interval": _pair(interval)}


def _regime_tree(findings: Findings, regime: RegimeResult) -> dict[str, Any]:
    return {
        "name": regime.name,
        "images": regime.num_images,
        "unit_steps": regime.unit_steps,
        "reference": regime.reference,
        "arms": [
            _cell_tree(cell, findings.cost.of(cell.regime, cell.arm)) for cell in regime.cells
        ],
    }


def _cell_tree(cell: CellResult, cost: CellCost) -> dict[str, Any]:
    return {
        "arm": cell.arm,
        "init": cell.source,
        "curve": [_point_tree(p) for p in cell.points],
        "one_configuration_curve": [_point_tree(p) for p in cell.one_configuration],
        "best_length": cell.best_length,
        "shortest_within_margin": cell.shortest_within,
        "configurations": [
            {"trial_id": g.trial_id, "lengths": list(g.lengths), "params": dict(g.params)}
            for g in cell.configurations
        ],
        "search_states": dict(cell.states),
        "cost": {
            "search_seconds": rounded(cost.search_seconds),
            "replicate_seconds": rounded(cost.replicate_seconds),
            "asset_seconds": rounded(cost.asset_seconds),
            "assets": list(cost.assets),
        },
    }


def _point_tree(point: CurvePoint) -> dict[str, Any]:
    return {
        "length": point.length,
        "incumbent": point.incumbent,
        "select": rounded(point.select),
        **_effect_tree(point.mean),
        "values": {str(seed): rounded(v) for seed, v in point.values.items()},
        "trial_ids": list(point.trial_ids),
        "failed": list(point.failed),
        "waiting": point.waiting,
        **({"searches": _searches_tree(point)} if point.of_searches else {}),
    }


def _searches_tree(point: CurvePoint) -> list[dict[str, Any]]:
    """Each search of a cell at one length; one that found nothing is the worst value."""
    told = [{"search": n, **_point_tree(single)} for n, single in point.of_searches.items()]
    return told + [{"search": n, "found": None} for n in point.barren if n not in point.of_searches]


def _effect_tree(effect: Estimate | None) -> dict[str, Any]:
    return {
        "estimate": rounded(effect.value if effect else None),
        "interval": _pair(effect.interval() if effect else None),
    }


def _pair(interval: tuple[float, float] | None) -> list[float | None] | None:
    return None if interval is None else [rounded(v) for v in interval]


def _head(findings: Findings) -> str:
    """The study, its answers, what is still to run, and which sections are missing."""
    study = findings.study
    lines = [study.study, study.question, ""]
    if findings.missing_sections:
        lines += [missing_summary(findings.missing_sections), ""]
    for answer, texts in zip(findings.answers, findings.answer_cautions, strict=True):
        lines += [answer, *(f"    caveat: {text}" for text in texts)]
    if findings.missing or findings.incomplete:
        lines += ["", findings.missing or findings.incomplete]
    return "\n".join(lines)


def aligned(sheet: Sheet) -> str:
    """A table for a terminal; one without rows is its note."""
    if not sheet.rows:
        return "\n".join([sheet.title.upper(), sheet.note])
    table = [sheet.columns, *sheet.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(sheet.columns))]
    lines = []
    for row in table:
        cells = [
            text.rjust(widths[i]) if i in sheet.numeric else text.ljust(widths[i])
            for i, text in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([sheet.title.upper(), sheet.note, "", lines[0], rule, *lines[1:]])


def piped(sheet: Sheet) -> str:
    """A table in Markdown; one without rows is its note."""
    if not sheet.rows:
        return "\n".join([f"## {sheet.title}", "", sheet.note])
    marks = ["---:" if i in sheet.numeric else "---" for i in range(len(sheet.columns))]
    rows = [sheet.columns, tuple(marks), *sheet.rows]
    lines = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
    return "\n".join([f"## {sheet.title}", "", sheet.note, "", *lines])
