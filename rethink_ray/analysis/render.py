"""Findings as text: for a terminal, as Markdown, and as JSON with a versioned schema."""

import json
from typing import Any

from rethink_ray.analysis.claims import ClaimOutcome
from rethink_ray.analysis.costs import CellCost
from rethink_ray.analysis.curves import CellResult, CurvePoint
from rethink_ray.analysis.findings import Findings, RegimeResult
from rethink_ray.analysis.pairs import judged_at
from rethink_ray.analysis.search_trees import rounded, search_tree
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.sheets import needed_text, sheets
from rethink_ray.analysis.statistics import EQUIVALENCE_LEVEL, Estimate
from rethink_ray.analysis.verdicts import ALPHA, Finding
from rethink_ray.analysis.wording import counted, unit_name

SCHEMA_VERSION = 1
"""Of ``findings.json``: grows when a key goes or changes its meaning, not when one comes."""


def as_terminal(findings: Findings) -> str:
    """Headings, one line per finding, aligned tables. Plain ASCII, no colours."""
    parts = [_head(findings)]
    shown = [f for f in findings.findings if f.family != "descriptive" or f.kind != "arms"]
    lines = [line for f in shown for line in _stated(findings, f)]
    parts.append("\n".join(["FINDINGS", family_note(findings), "", *lines]))
    parts += [aligned(sheet) for sheet in sheets(findings)]
    parts.append("\n".join(["CAVEATS", *(f"- {c.text}" for c in findings.caveats)]))
    return "\n\n".join(parts) + "\n"


def _stated(findings: Findings, finding: Finding) -> list[str]:
    """The verdict on a claim, then what was found, so that no verdict reads as its opposite."""
    lines = [f"[{finding.verdict.value}] claim: {finding.claim}.", f"    {finding.sentence}"]
    return [*lines, *(f"    caveat: {text}" for text in findings.cautions_of(finding))]


def as_markdown(findings: Findings) -> str:
    """The same, headings and tables in Markdown."""
    parts = [f"# {findings.study.study}", _head(findings).partition("\n")[2].strip()]
    rows = [
        (
            *(f.regime, f.claim, f.verdict.value),
            " ".join([f.sentence, *(f"Caveat: {text}" for text in findings.cautions_of(f))]),
            needed_text(f),
        )
        for f in findings.findings
        if f.family != "descriptive" or f.kind != "arms"
    ]
    columns = ("regime", "claim", "verdict", "found", f"{unit_name(findings.study)} to decide")
    parts.append(
        piped(
            Sheet(title="Findings", note=family_note(findings), columns=columns, rows=tuple(rows))
        )
    )
    parts += [piped(sheet) for sheet in sheets(findings)]
    parts.append("\n".join(["## Caveats", "", *(f"- {c.text}" for c in findings.caveats)]))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json_text(findings: Findings) -> str:
    """``findings.json``: ASCII, keys in a fixed order, floats to 6 significant digits."""
    return json.dumps(as_tree(findings), indent=1, allow_nan=False)


def family_note(findings: Findings) -> str:
    """Which verdicts are corrected for how many comparisons."""
    num = findings.num_primary
    if num == 0:
        return "No two arms are compared, so no verdict is corrected for others."
    own = sum(f.family == "primary" and f.kind == "claim" for f in findings.findings)
    claims = f" and {counted(own, 'declared claim')}" if own else ""
    return (
        f"{counted(num - own, 'headline comparison')} ({judged_at(findings.study)})"
        f"{claims} held "
        f"together at {ALPHA:g} by Holm's correction. Everything else is descriptive: each stands "
        "alone at 0.05. Equivalence (a 90 % interval inside the margin) is not corrected, nor are "
        f"the 95 % intervals.{_looks_note(findings)}"
    )


def _looks_note(findings: Findings) -> str:
    looks = findings.looks
    if looks == 1:
        return ""
    added = "Searches or replicates" if findings.study.budget.searches > 1 else "Replicates"
    return (
        f" {added} were added after results had been seen: with {looks} looks every p value "
        f"of a difference is multiplied by {looks}, and its 95 % interval is a "
        f"{100.0 - 5.0 / looks:.3g} % interval."
    )


def as_tree(findings: Findings) -> dict[str, Any]:
    """Everything, as plain data."""
    study = findings.study
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.study,
        "question": study.question,
        "metric": {"name": study.objective.metric, "goal": study.objective.goal, "unit": "points"},
        "select_on": study.data.select_split,
        "report_on": study.data.report_on,
        "report_images": findings.facts.split_sizes.get(study.data.report_on),
        "margin": study.margin,
        "family": {"primary": findings.num_primary, "correction": "holm", "alpha": ALPHA},
        "looks": findings.looks,
        "values_are": unit_name(study),
        "missing": findings.missing,
        "answers": list(findings.answers),
        "answer_cautions": [list(texts) for texts in findings.answer_cautions],
        "findings": [finding_tree(f) for f in findings.findings],
        "claims": [outcome_tree(o) for o in findings.claims.papers],
        "regimes": [_regime_tree(findings, regime) for regime in findings.regimes],
        **search_tree(findings),
        "caveats": [
            {"key": c.key, "regime": c.regime, "arm": c.arm, "text": c.text}
            for c in findings.caveats
        ],
        "cost": {
            "slot_seconds": rounded(findings.cost.total_seconds),
            "asset_seconds": rounded(findings.cost.asset_seconds),
        },
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
    study = findings.study
    lines = [study.study, study.question, ""]
    for answer, texts in zip(findings.answers, findings.answer_cautions, strict=True):
        lines += [answer, *(f"    caveat: {text}" for text in texts)]
    if findings.missing:
        lines += ["", findings.missing]
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
