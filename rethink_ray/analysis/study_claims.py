"""The papers' claims held against a study's replicates, and the study's own claims as findings.

The papers' claims are descriptive in every study: each stands alone. A claim of the study file may
be primary, and is then corrected together with the headlines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.published_tables import load_published, published_names
from rethink_ray.analysis.read.samples import published_samples
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.claim_words import as_measured
from rethink_ray.judge.claims import (
    ClaimOutcome,
    Ground,
    corrected_verdict,
    evaluate,
)
from rethink_ray.judge.crossover import Bracket
from rethink_ray.judge.samples import Sample
from rethink_ray.judge.verdicts import ALPHA, Caveat, Finding, Verdict
from rethink_ray.judge.wording import counted, signed, unit_name
from rethink_ray.spec.claim import about, claims_digest, paper_claims
from rethink_ray.spec.study import Study

PAPERS = {
    "he_2018": "He 2018",
    "zoph_2020": "Zoph 2020",
    "li_2021": "Li 2021",
    "vasconcelos_2022": "Vasconcelos 2022",
}


HOLDS = {
    Verdict.SUPPORTED: "is supported",
    Verdict.CONTRADICTED: "is contradicted",
    Verdict.EQUIVALENT: "is true, if at all, by less than the margin",
    Verdict.INCONCLUSIVE: "is open",
    Verdict.NOT_TESTED: "is not tested",
}
"""A verdict in a sentence that may be read without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyClaims:
    """Every claim that was held against a study."""

    papers: tuple[ClaimOutcome, ...]
    own: tuple[ClaimOutcome, ...]
    declared: str
    """Digest of the claims as they stood before the first result; empty for none."""

    def raw_p_values(self) -> list[float | None]:
        """Of the own primary claims, place by place; None for what could not be tested."""
        primary = [o for o in self.own if o.claim.primary]
        tested = [[f.p_adjusted for f in o.findings] for o in primary]
        return [p for values in tested for p in (values or [None])]

    def findings(self, margin: float, adjusted: Sequence[float]) -> tuple[Finding, ...]:
        """The own claims as findings, primary ones with their corrected p values, in order."""
        left = iter(adjusted)
        found: list[Finding] = []
        for outcome in self.own:
            if not outcome.findings:
                found.append(_untested(outcome))
                if outcome.claim.primary:
                    next(left)
            for place in outcome.findings:
                p = next(left) if outcome.claim.primary else None
                found.append(_own(outcome, place, margin, p, len(adjusted)))
        return tuple(found)

    def caveats(self) -> tuple[Caveat, ...]:
        """What own claims and their rows carry with them."""
        return tuple(
            Caveat(key=f"{f.key}#{i}", text=f"{f.claim}: {text}.", of=_key(o, f))
            for o in self.own
            for f in o.findings
            for i, text in enumerate(f.caveats)
        )


NO_CLAIMS = StudyClaims(papers=(), own=(), declared="")


def study_claims(study: Study, samples: Iterable[Sample], declared: str) -> StudyClaims:
    """Every claim of the papers and of the study file, held against the study."""
    known = list(samples)
    ground = Ground(reported=False, margin=study.margin, unit=unit_name(study))
    return StudyClaims(
        papers=evaluate(paper_claims(), known, ground),
        own=evaluate(about(study.objective.metric, study.claims), known, ground),
        declared=declared,
    )


def _key(outcome: ClaimOutcome, place: Finding) -> str:
    return place.key if len(outcome.findings) > 1 else f"claim:{outcome.name}"


def _own(
    outcome: ClaimOutcome, place: Finding, margin: float, p: float | None, family: int
) -> Finding:
    """One place of an own claim, its verdict corrected for the family."""
    claim = outcome.claim
    verdict, tail = place.verdict, ""
    if p is not None and place.p_adjusted is not None:
        bracket = place.bracket
        crossing = Bracket(behind_up_to=bracket[0], caught_up_from=bracket[1]) if bracket else None
        own_margin = claim.margin_within(margin)
        verdict = corrected_verdict(claim, place.effect, crossing, own_margin, p)
        if verdict is not place.verdict:
            tail = f" No longer {place.verdict} after correcting for {family} primary comparisons."
    return replace(
        place,
        key=_key(outcome, place),
        sentence=f"{outcome.name}: that {claim.says} {HOLDS[verdict]}: {place.sentence}{tail}",
        verdict=verdict,
        p_adjusted=place.p_adjusted if p is None or place.p_adjusted is None else p,
        caveats=(),
    )


def _untested(outcome: ClaimOutcome) -> Finding:
    claim = outcome.claim
    return Finding(
        key=f"claim:{outcome.name}",
        kind="claim",
        family="primary" if claim.primary else "descriptive",
        regime="",
        arms=(),
        lengths=(),
        claim=claim.says,
        sentence=(
            f"{outcome.name}: that {claim.says} {HOLDS[Verdict.NOT_TESTED]}: {outcome.untested}."
        ),
        verdict=Verdict.NOT_TESTED,
    )


def claims_sheet(claims: StudyClaims, study: Study) -> Sheet:
    """The papers' claims that this study can speak to, each beside what its paper reports."""
    reported = reported_there()
    rows = []
    for outcome in claims.papers:
        paper = outcome.name.partition("/")[0]
        for place in outcome.findings:
            where = place.key.partition("[")[2].removesuffix("]")
            numbers = place.sentence.removeprefix(f"{where}: ").rstrip(".")
            rows.append(
                (
                    f"{PAPERS[paper]}: {outcome.claim.says}",
                    *(where, numbers, place.verdict.value),
                    reported.get(outcome.name, "not in its tables"),
                )
            )
    return Sheet(
        title="The papers' claims, here",
        note=_note(claims, study),
        columns=("claim", "where", "here, 95 % interval", "verdict", "as reported there"),
        rows=tuple(rows),
    )


def _note(claims: StudyClaims, study: Study) -> str:
    untested = [o.name for o in claims.papers if not o.findings]
    parts = [
        f"Descriptive: each verdict stands alone at {ALPHA:g}. The papers' numbers are single runs."
    ]
    if not claims.declared:
        parts.append("This study began before the claims were written into it.")
    elif claims.declared != claims_digest(study.claims):
        parts.append("The papers' claims have changed since this study began.")
    if untested:
        more = "more " if len(untested) < len(claims.papers) else ""
        what = counted(len(untested), f"{more}claim needs", f"{more}claims need")
        parts.append(f"{what} arms or columns that are not here; findings --json says which.")
    return " ".join(parts)


def reported_there() -> dict[str, str]:
    """Claim -> what its own paper's table says, in a few words."""
    told: dict[str, str] = {}
    for stem in published_names():
        table = load_published(f"published:{stem}")
        own = {n: c for n, c in paper_claims().items() if n.startswith(f"{stem}/")}
        for outcome in evaluate(own, published_samples(table), Ground(reported=True)):
            effects = [f.effect for f in outcome.findings if f.effect]
            values = [as_measured(outcome.claim, effect).value for effect in effects]
            if values:
                agree = sum(f.agrees is True for f in outcome.findings)
                low, high = signed(min(values)), signed(max(values))
                size = low if low == high else f"{low} to {high}"
                told[outcome.name] = f"{size}, {agree} of {len(values)} in line"
    return told
