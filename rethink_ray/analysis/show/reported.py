"""The papers' claims compared with a table of published numbers, which have no intervals."""

from dataclasses import dataclass

from rethink_ray.analysis.read.published_samples import published_samples
from rethink_ray.analysis.read.published_tables import PublishedTable
from rethink_ray.analysis.show.as_json import json_text
from rethink_ray.analysis.show.render import FINDINGS_SCHEMA
from rethink_ray.judge.claims import ClaimOutcome, judge_reported
from rethink_ray.judge.wording import counted
from rethink_ray.spec.claim import paper_claims

SINGLE_RUNS = (
    "Every number counts as one run, so there is no interval and no test. A difference below 0.5 "
    "AP means nothing (one cell, run in three code bases, gave 38.9, 39.1 and 39.5)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A table, and each claim compared with its numbers."""

    table: PublishedTable
    tested: tuple[ClaimOutcome, ...]
    untested: tuple[ClaimOutcome, ...]


def derive_reported(table: PublishedTable) -> Reported:
    """The papers' claims, compared with a table's numbers."""
    outcomes = judge_reported(paper_claims(), published_samples(table))
    return Reported(
        table=table,
        tested=tuple(o for o in outcomes if o.findings),
        untested=tuple(o for o in outcomes if not o.findings),
    )


def reported_terminal(reported: Reported) -> str:
    """Claim by claim, one line for each comparison."""
    parts = ["\n".join(_head(reported))]
    for outcome in reported.tested:
        lines = [f"{outcome.name}: {outcome.claim.says} ({outcome.claim.source})"]
        lines += [f"  [{f.verdict.value}] {f.sentence}" for f in outcome.findings]
        lines += [f"  caveat: {c}." for c in caveats_of(outcome)]
        parts.append("\n".join(lines))
    if reported.untested:
        lines = [f"- {o.name}: {o.untested}" for o in reported.untested]
        parts.append("\n".join(["NOT TESTED BY THESE NUMBERS", *lines]))
    parts.append(SINGLE_RUNS)
    return "\n\n".join(parts) + "\n"


def reported_markdown(reported: Reported) -> str:
    """The same in Markdown."""
    name, *rest = _head(reported)
    parts = [f"# {name}", " ".join(line for line in rest if line)]
    for outcome in reported.tested:
        lines = [f"## {outcome.name}", "", f"{outcome.claim.says} ({outcome.claim.source}).", ""]
        lines += [f"- *{f.verdict.value}*: {f.sentence}" for f in outcome.findings]
        lines += [f"- caveat: {c}." for c in caveats_of(outcome)]
        parts.append("\n".join(lines))
    if reported.untested:
        lines = [f"- {o.name}: {o.untested}" for o in reported.untested]
        parts.append("\n".join(["## Not tested by these numbers", "", *lines]))
    parts.append(SINGLE_RUNS)
    return "\n\n".join(parts) + "\n"


def reported_json(reported: Reported) -> str:
    """Everything, as JSON with the schema version of ``findings.json``."""
    table = reported.table
    return json_text(
        {
            "schema_version": FINDINGS_SCHEMA,
            "table": table.name,
            "citation": table.citation,
            "rows": len(table.rows),
            "claims": (*reported.tested, *reported.untested),
            "caveats": (SINGLE_RUNS,),
        }
    )


def caveats_of(outcome: ClaimOutcome) -> tuple[str, ...]:
    """The caveats of all comparisons of one claim, each once."""
    return tuple(dict.fromkeys(c for f in outcome.findings for c in f.caveats))


def _head(reported: Reported) -> list[str]:
    table = reported.table
    counts = (
        f"{counted(len(table.rows), 'number')}, {counted(len(reported.tested), 'claim')} tested."
    )
    return [table.name, *([table.citation] if table.citation else []), "", counts]
