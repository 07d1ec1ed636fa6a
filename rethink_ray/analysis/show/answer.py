"""The top of a report in every format: the answer, how to read it, and the main findings."""

from rethink_ray.analysis.containment import missing_summary
from rethink_ray.analysis.findings import Findings
from rethink_ray.judge.questions import describe_headlines
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import counted, metric_name, percent, times, unit_name
from rethink_ray.protocol.cell_rules import has_looks, num_searches
from rethink_ray.spec.edits import has_added_cells


def answer_lines(findings: Findings) -> list[str]:
    """The question, what to train with, the headlines, the runs that are left, how to read it."""
    lines = [findings.study.question, ""]
    if findings.missing_sections:
        lines += [missing_summary(findings.missing_sections), ""]
    paragraphs = [regime.paragraph for regime in findings.answer.regimes]
    if paragraphs:
        lines += [*paragraphs, ""]
    for answer, cautions in zip(findings.answers, findings.answer_cautions, strict=True):
        lines += [answer, *(f"    caveat: {text}" for text in cautions)]
    if findings.missing or findings.incomplete:
        lines += ["", findings.missing or findings.incomplete]
    return [*lines, "", reading_note(findings)]


def reading_note(findings: Findings) -> str:
    """Explains the numbers of an answer, once, where a reader first meets them."""
    lengths = [x for regime in findings.regimes for cell in regime.cells for x in cell.lengths]
    longest = max(lengths, default=1.0)
    parts = [
        f"How to read this: {times(longest)} is a schedule length, {longest:g} times the updates "
        f"of 1x. {metric_name(findings.study)} is in points from 0 to 100. [low, high] is a 95 % "
        "interval: of 100 intervals made this way, about 95 hold the true value."
    ]
    if any(finding.family == "check" for finding in findings.findings):
        parts.append(
            "An A/A check compares a contender with itself under a second name: they should not "
            "differ."
        )
    return " ".join(parts)


def family_note(findings: Findings) -> str:
    """Explains the correction of verdicts for the number of comparisons."""
    if findings.num_primary == 0:
        return "No two arms are compared, so no verdict is corrected for others."
    if has_looks(findings.study):
        return f"{_sequential_words(findings)}{_post_hoc_note(findings)}"
    pair_word = "search" if num_searches(findings.study) > 1 else "seed"
    return (
        "Two arms are compared by Welch's t test, which does not assume that both spread alike; "
        f"two lengths of one configuration are paired by {pair_word}. "
        f"{_primary_words(findings)}{_secondary_words(findings)} "
        "Everything else is descriptive: each verdict stands alone at "
        f"{ALPHA:g}, but one on the same difference as a corrected comparison takes its p. "
        f"{_equivalence_words(findings)}{_looks_note(findings)}{_post_hoc_note(findings)}"
    )


def _sequential_words(findings: Findings) -> str:
    """Explains the tests of a study that stops when it has decided."""
    where, unit = describe_headlines(findings.study), unit_name(findings.study)
    return (
        "Two arms are compared by Welch's t test, which does not assume that both spread alike. "
        f"Headlines ({where}) and primary claims, {findings.num_primary} in all, are tested at "
        "each look, and each stops when it is decided. The chance that luck decides even one of "
        "them wrongly (above, below or equivalent), at any look, stays below "
        f"{percent(ALPHA)}: p values are sequential, and corrected for the family step by step. "
        "The interval of such a comparison holds whichever look stopped it. A comparison that "
        "stopped because further looks could hardly decide it is inconclusive. Everything else is "
        f"descriptive: it uses the {unit} that there are, and does not allow for looks."
    )


def _equivalence_words(findings: Findings) -> str:
    """Explains the test of an equivalence, and what the intervals beside it say."""
    rule = "Equivalent: the 90 % interval lies inside the margin"
    if findings.num_primary == 1 and findings.num_secondary <= 1:
        return f"{rule}."
    return (
        f"{rule}, and where comparisons are corrected together, the corrected p of "
        f'"apart by the margin or more" is below {ALPHA:g} as well. Intervals are those of one '
        "comparison by itself."
    )


def _primary_words(findings: Findings) -> str:
    """Names the primary comparisons and their correction."""
    num, where = findings.num_primary, describe_headlines(findings.study)
    num_claims = sum(f.family == "primary" and f.kind == "claim" for f in findings.findings)
    if num == 1 and not num_claims:
        return f"The one headline comparison ({where}) is judged at {ALPHA:g}."
    headlines = f"{counted(num - num_claims, 'headline comparison')} ({where})"
    claims = f" and {counted(num_claims, 'declared claim')}" if num_claims else ""
    return (
        f"{headlines}{claims} are judged together at {ALPHA:g}: p values are corrected step by "
        "step, and the chance that luck decides even one of them wrongly (above, below or "
        f"equivalent) stays below {percent(ALPHA)}."
    )


def _secondary_words(findings: Findings) -> str:
    """Explains the correction of pairs without the reference; empty where there are none."""
    if findings.num_secondary == 0:
        return ""
    num = findings.num_secondary
    pairs = "The one pair" if num == 1 else f"The {num} pairs"
    alike = "is judged likewise, by itself" if num == 1 else "are judged likewise, among themselves"
    return f" {pairs} of arms without the reference {alike}."


def _looks_note(findings: Findings) -> str:
    looks = findings.looks
    if looks == 1:
        return ""
    if has_added_cells(findings.study):
        return (
            " Arms or regimes were added after results had been seen. A comparison with them is "
            f"a later look, the last ones as look {looks}: its p value is multiplied by that "
            "number, and its 95 % interval is widened to match. It also enlarges the family."
        )
    more = "Searches or replicates" if num_searches(findings.study) > 1 else "Replicates"
    return (
        f" {more} were added after results had been seen: with {looks} looks, every p value "
        f"of a difference is multiplied by {looks}, and its 95 % interval is a "
        f"{100.0 - 5.0 / looks:.3g} % interval."
    )


def _post_hoc_note(findings: Findings) -> str:
    if not any(finding.post_hoc for finding in findings.findings):
        return ""
    return (
        " A claim marked post hoc was written after results had been seen: it is outside the "
        "family, and a study of its own must confirm it."
    )


def single_findings(findings: Findings) -> list[Finding]:
    """The findings that are printed with a sentence; the table of differences has all others."""
    return [f for f in findings.findings if f.family != "descriptive" or f.kind != "arms"]
