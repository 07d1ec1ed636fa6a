"""The table of the papers' claims: what this study says on each, beside its paper's own numbers."""

from rethink_ray.analysis.read.published_samples import published_samples
from rethink_ray.analysis.read.published_tables import load_published, published_names
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.claim_words import orient_as_measured
from rethink_ray.judge.claims import StudyClaims, judge_reported
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.wording import counted, signed
from rethink_ray.spec.claim import claims_digest, paper_claims
from rethink_ray.spec.edits import select_declared_claims
from rethink_ray.spec.study import Study


def claims_sheet(claims: StudyClaims, study: Study) -> Sheet:
    """The papers' claims that this study can speak to, each beside what its paper reports."""
    reported = reported_there()
    rows = []
    for outcome in claims.papers:
        paper = outcome.name.partition("/")[0]
        for finding in outcome.findings:
            where = finding.key.partition("[")[2].removesuffix("]")
            numbers = finding.sentence.removeprefix(f"{where}: ").rstrip(".")
            rows.append(
                (
                    f"{_name_paper(paper)}: {outcome.claim.says}",
                    where,
                    numbers,
                    finding.verdict.value,
                    reported.get(outcome.name, _say_unreported(paper)),
                )
            )
    return Sheet(
        title="The papers' claims, here",
        note=_note(claims, study),
        columns=("claim", "where", "here, 95 % interval", "verdict", "as reported there"),
        rows=tuple(rows),
    )


def _name_paper(stem: str) -> str:
    """``he_2018`` -> ``He 2018``."""
    return stem.replace("_", " ").capitalize()


def _say_unreported(stem: str) -> str:
    return "not in its tables" if stem in published_names() else "no table of it ships"


def _note(claims: StudyClaims, study: Study) -> str:
    untested = [o.name for o in claims.papers if not o.findings]
    parts = [
        f"Descriptive: each verdict stands alone at {ALPHA:g}, but one on the same difference as a "
        "primary comparison takes its corrected p. The papers' numbers are single runs."
    ]
    if not claims.declared:
        parts.append("This study began before the claims were written into it.")
    elif claims.declared != claims_digest(select_declared_claims(study)):
        parts.append("The papers' claims have changed since this study began.")
    if untested:
        more = "more " if len(untested) < len(claims.papers) else ""
        num_claims = counted(len(untested), f"{more}claim needs", f"{more}claims need")
        parts.append(f"{num_claims} arms or columns that are not here; findings --json says which.")
    return " ".join(parts)


def reported_there() -> dict[str, str]:
    """Claim -> what its own paper's table says, in a few words."""
    reported: dict[str, str] = {}
    for stem in published_names():
        table = load_published(f"published:{stem}")
        claims = {n: c for n, c in paper_claims().items() if n.startswith(f"{stem}/")}
        for outcome in judge_reported(claims, published_samples(table)):
            effects = [f.effect for f in outcome.findings if f.effect]
            values = [orient_as_measured(outcome.claim, effect).value for effect in effects]
            if values:
                agree = sum(f.agrees is True for f in outcome.findings)
                low, high = signed(min(values)), signed(max(values))
                size = low if low == high else f"{low} to {high}"
                reported[outcome.name] = f"{size}, {agree} of {len(values)} in line"
    return reported
