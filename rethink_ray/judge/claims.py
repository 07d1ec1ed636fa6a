"""Tests declared claims, those of the papers and those of a study file, against scores.

The papers' claims are descriptive in every study. A claim of the study file may be primary; it is
then corrected together with the headlines. Published numbers are single, so they get the verdict
*as reported* and no interval, and agree with a claim by their plain difference.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.arms import START, group_of
from rethink_ray.judge.claim_words import (
    find_varying_columns,
    ratio_of,
    say_comparison,
    say_setting,
    say_verdict,
)
from rethink_ray.judge.corrections import UNCORRECTED, Corrections
from rethink_ray.judge.decisions import Judgement, decide, decide_reported
from rethink_ray.judge.matching import Comparison, find_comparisons
from rethink_ray.judge.measurements import Measurement, measure
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Caveat, Finding, FindingFamily, Verdict
from rethink_ray.judge.wording import unit_name
from rethink_ray.spec.claim import Claim
from rethink_ray.spec.study import Study

MARGIN = 0.5
"""AP points that count as equal in tables of published numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredClaim:
    """A claim, and the difference measured in every comparison that tests it."""

    name: str
    claim: Claim
    measured: tuple[Measurement, ...]
    untested: str
    """Why there is no comparison; empty where there is one."""
    is_post_hoc: bool = False
    """It was written after the first result, so it is never primary."""

    @property
    def is_primary(self) -> bool:
        """It is corrected together with the headlines."""
        return self.claim.primary and not self.is_post_hoc

    @property
    def primary(self) -> tuple[Measurement | None, ...]:
        """Comparisons to correct with the headlines; (None,) if it could not be tested."""
        return (self.measured or (None,)) if self.is_primary else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutcome:
    """A claim, and one finding for every comparison that tests it."""

    name: str
    claim: Claim
    findings: tuple[Finding, ...]
    untested: str
    """Why there is no finding; empty where there is one."""
    is_primary: bool = False
    is_post_hoc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyClaims:
    """The papers' claims, tested on one study."""

    papers: tuple[ClaimOutcome, ...]
    declared: str
    """Digest of the claims as they were declared before the first result; empty: none were."""


def measure_claims(
    claims: Mapping[str, Claim],
    samples: Iterable[ScoreSample],
    margin: float = MARGIN,
    post_hoc: Collection[str] = (),
) -> tuple[MeasuredClaim, ...]:
    """Every claim, measured in every comparison that these samples allow, in order.

    Args:
        claims: by name.
        samples: of a study or a table.
        margin: of the study.
        post_hoc: names of the claims that were written after the first result.
    """
    known = list(samples)
    measured = (_measure_claim(name, claim, known, margin) for name, claim in claims.items())
    return tuple(replace(claim, is_post_hoc=claim.name in post_hoc) for claim in measured)


def _measure_claim(
    name: str, claim: Claim, samples: Sequence[ScoreSample], margin: float
) -> MeasuredClaim:
    comparisons = find_comparisons(claim, samples)
    if isinstance(comparisons, str):
        return MeasuredClaim(name=name, claim=claim, measured=(), untested=comparisons)
    measured = tuple(measure(claim, comparison, margin) for comparison in comparisons)
    return MeasuredClaim(name=name, claim=claim, measured=measured, untested="")


def judge_claims(
    claims: Iterable[MeasuredClaim], unit: str, corrections: Corrections = UNCORRECTED
) -> tuple[ClaimOutcome, ...]:
    """The findings of measured claims in a study.

    Args:
        claims: measured on the study's samples.
        unit: what a value stands for: ``replicates`` or ``searches``.
        corrections: the study's.
    """
    frozen = (
        replace(claim, measured=tuple(corrections.freeze(one) for one in claim.measured))
        for claim in claims
    )
    return tuple(_outcome(c, [decide(m, corrections) for m in c.measured], unit) for c in frozen)


def judge_reported(
    claims: Mapping[str, Claim], samples: Iterable[ScoreSample]
) -> tuple[ClaimOutcome, ...]:
    """The claims, compared with a table of published numbers."""
    measured = measure_claims(claims, samples)
    return tuple(_outcome(c, [decide_reported(m) for m in c.measured], "") for c in measured)


def _outcome(claim: MeasuredClaim, decisions: Sequence[Judgement], unit: str) -> ClaimOutcome:
    columns = find_varying_columns([m.comparison for m in claim.measured])
    findings = tuple(
        _state(claim, measured, decision, columns, unit)
        for measured, decision in zip(claim.measured, decisions, strict=True)
    )
    return ClaimOutcome(
        name=claim.name,
        claim=claim.claim,
        findings=findings,
        untested=claim.untested,
        is_primary=claim.is_primary,
        is_post_hoc=claim.is_post_hoc,
    )


def _state(
    of: MeasuredClaim,
    measured: Measurement,
    decision: Judgement,
    columns: Sequence[str],
    unit: str,
) -> Finding:
    claim, comparison = measured.claim, measured.comparison
    is_primary = of.is_primary and decision.verdict is not Verdict.AS_REPORTED
    family: FindingFamily = "primary" if is_primary else "descriptive"
    setting = say_setting(comparison, columns)
    return Finding(
        key=f"claim:{of.name}[{setting}]",
        kind="claim",
        family=family,
        regime=comparison.labels.get("regime", ""),
        arms=_arms(comparison),
        lengths=comparison.lengths,
        claim=claim.says,
        sentence=say_comparison(setting, measured, decision, unit),
        verdict=decision.verdict,
        effect=measured.effect,
        ratio=ratio_of(claim, measured.effect),
        p_adjusted=decision.p,
        needed=decision.needed,
        bracket=decision.bracket,
        evidence=comparison.evidence,
        caveats=_caveat_texts(measured),
        agrees=decision.agrees,
        post_hoc=of.is_post_hoc,
        stop=measured.stop if is_primary else None,
    )


def _arms(comparison: Comparison) -> tuple[str, ...]:
    """The two arms, ``against`` before ``side``; empty for published numbers."""
    pair = comparison.matched_pairs[0]
    named = [s.labels.get("arm", frozenset()) for s in (pair.against, pair.side) if s]
    return tuple(dict.fromkeys(name for names in named for name in names))


def judge_own_claims(
    study: Study, claims: Iterable[MeasuredClaim], corrections: Corrections
) -> tuple[Finding, ...]:
    """The claims of the study file as findings, in order; each sentence names its claim."""
    outcomes = judge_claims(claims, unit_name(study), corrections)
    return tuple(finding for outcome in outcomes for finding in _state_own(outcome))


def _state_own(outcome: ClaimOutcome) -> Iterator[Finding]:
    mark = " (post hoc)" if outcome.is_post_hoc else ""
    says = f"{outcome.name}{mark}: that {outcome.claim.says}"
    for finding in outcome.findings:
        yield replace(
            finding,
            key=_own_key(outcome.name, finding.key, len(outcome.findings)),
            sentence=f"{says} {say_verdict(finding.verdict)}: {finding.sentence}",
            caveats=(),
        )
    if not outcome.findings:
        yield Finding(
            key=f"claim:{outcome.name}",
            kind="claim",
            family="primary" if outcome.is_primary else "descriptive",
            regime="",
            arms=(),
            lengths=(),
            claim=outcome.claim.says,
            sentence=f"{says} {say_verdict(Verdict.NOT_TESTED)}: {outcome.untested}.",
            verdict=Verdict.NOT_TESTED,
            post_hoc=outcome.is_post_hoc,
        )


def _own_key(name: str, key: str, num: int) -> str:
    return key if num > 1 else f"claim:{name}"


def find_claim_caveats(claims: Iterable[MeasuredClaim]) -> tuple[Caveat, ...]:
    """Caveats of the study file's claims and of the samples that they compare."""
    return tuple(caveat for claim in claims for caveat in _caveats(claim))


def _caveats(claim: MeasuredClaim) -> Iterator[Caveat]:
    columns = find_varying_columns([m.comparison for m in claim.measured])
    for measured in claim.measured:
        key = f"claim:{claim.name}[{say_setting(measured.comparison, columns)}]"
        of = _own_key(claim.name, key, len(claim.measured))
        for index, text in enumerate(_caveat_texts(measured)):
            yield Caveat(key=f"{key}#{index}", text=f"{claim.claim.says}: {text}.", of=of)


def _caveat_texts(measured: Measurement) -> tuple[str, ...]:
    """The claim's own caveats, then those of its samples, each once."""
    return tuple(dict.fromkeys((*measured.claim.caveats, *_row_caveats(measured.comparison))))


def _row_caveats(comparison: Comparison) -> Iterator[str]:
    for sample in comparison.samples:
        yield from sample.notes
    if comparison.ambiguous:
        yield "several rows fit one place of this comparison; the first was taken"
    for pair in comparison.matched_pairs:
        if pair.against and pair.side.recipe and pair.against.recipe:
            differ = [
                path
                for path, value in pair.side.recipe.items()
                if value != pair.against.recipe[path] and group_of(path) not in (START, "")
            ]
            if differ:
                yield f"the two sides differ in {', '.join(differ)} as well"
