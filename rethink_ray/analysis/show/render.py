"""Findings as text: for a terminal, as Markdown, and as JSON with a versioned schema."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment, missing_summary
from rethink_ray.analysis.findings import CAVEATS, CLAIMS, FINDINGS, Findings
from rethink_ray.analysis.pairs import judged_at
from rethink_ray.analysis.read.prices import hour_word
from rethink_ray.analysis.sections.registry import SECTIONS
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.as_json import as_plain
from rethink_ray.analysis.show.optional_sheets import one_sheet, sheets
from rethink_ray.analysis.show.sheets import needed_text
from rethink_ray.analysis.wording import counted, unit_name
from rethink_ray.judge.verdicts import ALPHA, Finding

FINDINGS_SCHEMA = 2
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


def as_tree(findings: Findings, contained: Containment | None = None) -> dict[str, Any]:
    """Everything, as plain data; a section that failed is null, and is named at the end."""
    kept = contained or Containment(findings.missing_sections)
    tree = {key: _plain(kept, key, part, value) for key, part, value in _keys(findings)}
    missing = [{"section": m.name, "reason": m.reason} for m in kept.missing]
    return {**tree, "missing_sections": missing}


def _plain(kept: Containment, key: str, part: str, value: Callable[[], Any]) -> Any:
    """What JSON can hold of a key; None where it, or the part it shows, failed."""
    failed = bool(part and kept.sentence_of(part))
    build = partial(_plain_value, value)
    return None if failed else kept.attempt(f"{key} of findings.json", build, None)


def _plain_value(value: Callable[[], Any]) -> Any:
    return as_plain(value())


def _keys(f: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(key of ``findings.json``, the part of the findings that it shows, its value)."""
    study, report_on = f.study, f.study.data.report_on
    yield "schema_version", "", lambda: FINDINGS_SCHEMA
    yield "study", "", lambda: study.study
    yield "question", "", lambda: study.question
    yield "metric", "", lambda: {"name": study.objective.metric, "unit": "points"}
    yield "select_on", "", lambda: study.data.select_split
    yield "report_on", "", lambda: report_on
    yield "report_images", "", lambda: f.facts.split_sizes.get(report_on)
    yield "margin", "", lambda: study.margin
    yield "family", FINDINGS, lambda: _family(f)
    yield "looks", FINDINGS, lambda: f.looks
    yield "values_are", "", lambda: unit_name(study)
    yield "hours_are", "", lambda: hour_word(study)
    yield "missing", "", lambda: f.missing
    yield "incomplete", "", lambda: f.incomplete
    yield "answers", FINDINGS, lambda: f.answers
    yield "answer_cautions", FINDINGS, lambda: f.answer_cautions
    yield "findings", FINDINGS, lambda: f.findings
    yield "claims", CLAIMS, lambda: f.claims.papers
    yield "regimes", "", lambda: f.regimes
    for section in SECTIONS:
        yield section.key, section.title, partial(f.sections.__getitem__, section.key)
    yield "caveats", CAVEATS, lambda: f.caveats
    yield "cost", "", lambda: f.cost


def _family(findings: Findings) -> dict[str, Any]:
    return {"primary": findings.num_primary, "correction": "holm", "alpha": ALPHA}


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
