"""Findings as text: for a terminal, as Markdown, and as JSON with a versioned schema."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import CAVEATS, CLAIMS, FINDINGS, RECOMMENDED, Findings
from rethink_ray.analysis.read.prices import hour_word
from rethink_ray.analysis.sections.registry import SECTIONS
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.answer import answer_lines, family_note, single_findings
from rethink_ray.analysis.show.as_json import as_plain
from rethink_ray.analysis.show.optional_sheets import claim_sheets, one_sheet, sheets, short_sheets
from rethink_ray.analysis.show.sheets import needed_text
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.wording import unit_name
from rethink_ray.protocol.cell_rules import has_looks

FINDINGS_SCHEMA = 2
"""Version of ``findings.json``. It grows when a key is removed or changes its meaning."""
ANSWERS = "The answers"
MORE = (
    "More: findings --all has every table (all lengths, costs, the search), findings --claims "
    "papers holds the study against the papers' claims, and report writes a page with figures."
)
"""Ends findings that leave tables out."""


def as_terminal(
    findings: Findings, contained: Containment | None = None, *, is_short: bool = False
) -> str:
    """Headings, one line per finding, aligned tables. Plain ASCII, no colours.

    Args:
        findings: a study's findings.
        contained: takes note of sections that fail.
        is_short: the tables of costs, of the search and of the papers' claims are left out.
    """
    kept = contained or Containment(findings.missing_sections)
    study = findings.study.study
    lines: list[str] = kept.attempt(ANSWERS, lambda: answer_lines(findings), [])
    parts = ["\n".join([study, *lines]) if lines else f"{study}\n\n{kept.sentence_of(ANSWERS)}"]
    parts.append(_findings_text(findings, kept))
    build = short_sheets if is_short else sheets
    parts += [aligned(sheet) for sheet in build(findings, kept)]
    parts.append("\n".join(["CAVEATS", *_caveat_lines(findings, kept)]))
    if is_short:
        parts.append(MORE)
    return "\n\n".join(parts) + "\n"


def claims_text(
    findings: Findings, contained: Containment | None = None, *, markdown: bool = False
) -> str:
    """The papers' claims, tested on this study."""
    kept = contained or Containment(findings.missing_sections)
    write = piped if markdown else aligned
    return "\n\n".join(write(sheet) for sheet in claim_sheets(findings, kept)) + "\n"


def _findings_text(findings: Findings, kept: Containment) -> str:
    sentence = kept.sentence_of(FINDINGS)
    text = None if sentence else kept.attempt(FINDINGS, partial(_finding_lines, findings), None)
    return text or f"{FINDINGS.upper()}\n{kept.sentence_of(FINDINGS)}"


def _finding_lines(findings: Findings) -> str:
    """The verdict on each claim, then the numbers, so that no verdict reads as its opposite."""
    lines = [FINDINGS.upper(), family_note(findings), ""]
    for one in single_findings(findings):
        lines += [f"[{one.verdict.value}] claim: {one.claim}.", f"    {one.sentence}"]
        lines += [f"    caveat: {text}" for text in findings.cautions_of(one)]
    return "\n".join(lines)


def _caveat_lines(findings: Findings, kept: Containment) -> list[str]:
    """Each caveat; first, if caveats could not be derived, the sentence that says so."""
    sentence = kept.sentence_of(CAVEATS)
    texts = [caveat.text for caveat in findings.caveats]
    return [f"- {text}" for text in (*([sentence] if sentence else []), *texts)]


def as_markdown(
    findings: Findings, contained: Containment | None = None, *, is_short: bool = False
) -> str:
    """The same, headings and tables in Markdown."""
    kept = contained or Containment(findings.missing_sections)
    lines: list[str] = kept.attempt(ANSWERS, lambda: answer_lines(findings), [])
    answer = "\n".join(lines).strip() or kept.sentence_of(ANSWERS)
    parts = [f"# {findings.study.study}", answer]
    parts.append(piped(one_sheet(kept, FINDINGS, lambda: _findings_sheet(findings))))
    build = short_sheets if is_short else sheets
    parts += [piped(sheet) for sheet in build(findings, kept)]
    parts.append("\n".join(["## Caveats", "", *_caveat_lines(findings, kept)]))
    if is_short:
        parts.append(MORE)
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings_sheet(findings: Findings) -> Sheet:
    rows = []
    for one in single_findings(findings):
        cautions = [f"Caveat: {text}" for text in findings.cautions_of(one)]
        sentence = " ".join([one.sentence, *cautions])
        rows.append((one.regime, one.claim, one.verdict.value, sentence, needed_text(one)))
    columns = ("regime", "claim", "verdict", "finding", f"{unit_name(findings.study)} to decide")
    return Sheet(title=FINDINGS, note=family_note(findings), columns=columns, rows=tuple(rows))


def as_json_text(findings: Findings, contained: Containment | None = None) -> str:
    """``findings.json``: ASCII, keys in a fixed order, floats to 6 significant digits."""
    return json.dumps(as_tree(findings, contained), indent=1, allow_nan=False)


def as_tree(findings: Findings, contained: Containment | None = None) -> dict[str, Any]:
    """Everything, as plain data; a section that failed is null, and is named at the end."""
    kept = contained or Containment(findings.missing_sections)
    tree = {key: _plain(kept, key, part, value) for key, part, value in _keys(findings)}
    missing = [{"section": m.name, "reason": m.reason} for m in kept.missing]
    return {**tree, "missing_sections": missing}


def _plain(kept: Containment, key: str, part: str, value: Callable[[], Any]) -> Any:
    """The value of a key as plain data; None if it, or the part it shows, failed."""
    failed = bool(part and kept.sentence_of(part))
    build = partial(_plain_value, value)
    return None if failed else kept.attempt(f"{key} of findings.json", build, None)


def _plain_value(value: Callable[[], Any]) -> Any:
    return as_plain(value())


def _keys(f: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(key of ``findings.json``, the part of the findings that it shows, its value)."""
    study, report_on = f.study, f.study.data.report_split
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
    yield "answer", RECOMMENDED, lambda: f.answer
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
    return {
        "primary": findings.num_primary,
        "secondary": findings.num_secondary,
        "correction": "sequential" if has_looks(findings.study) else "step_down",
        "alpha": ALPHA,
    }


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
