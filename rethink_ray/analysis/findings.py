"""From a study's tables to its findings. A pure function: no clock, no file, no order of arrival.

Empty and unfinished studies have findings too; their sentences say what is missing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from rethink_ray.analysis.answer import Answer
from rethink_ray.analysis.answering import derive_answer
from rethink_ray.analysis.caveats import find_caveats
from rethink_ray.analysis.containment import Containment, MissingSection
from rethink_ray.analysis.read.kept_boxes import KeptStudy
from rethink_ray.analysis.sections.registry import SECTIONS
from rethink_ray.analysis.sections.section import SectionInput
from rethink_ray.analysis.unplanned import find_changed_looks
from rethink_ray.judge.arms import find_reference_arm, find_twins
from rethink_ray.judge.caveat_order import select_cautions, select_cautions_of_all
from rethink_ray.judge.claims import (
    MeasuredClaim,
    StudyClaims,
    find_claim_caveats,
    judge_claims,
    measure_claims,
)
from rethink_ray.judge.corrections import Corrections
from rethink_ray.judge.judging import Judged, attach_caveats, judge_study
from rethink_ray.judge.looks import LookDecisions, take_look
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.searches import num_unproposed, search_end
from rethink_ray.judge.read.study_scores import StudyScores, read_scores
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Caveat, Finding, Verdict
from rethink_ray.judge.wording import counted, metric_name, signed, span, times, unit_name
from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.claim import about, paper_claims
from rethink_ray.spec.edits import select_post_hoc
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.study import Study

FINDINGS, CAVEATS, CLAIMS = "Findings", "Caveats", "The papers' claims, here"
RECOMMENDED = "What to train with"
"""Parts of the findings that can fail by themselves, beside the optional sections; as
``missing_sections`` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeResult:
    """One regime: its size and its cells, arms in the study's order."""

    name: str
    num_images: int
    unit_steps: int
    """Updates in 1x."""
    reference: str
    cells: tuple[CellResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that is derived from a study's tables, ready to be rendered."""

    study: Study
    facts: DataFacts
    regimes: tuple[RegimeResult, ...]
    findings: tuple[Finding, ...]
    """Headlines first, then checks, then what is descriptive."""
    caveats: tuple[Caveat, ...]
    claims: StudyClaims
    """The papers' claims, held against this study; its own are among the findings too."""
    cost: StudyCost
    search: Mapping[Cell, tuple[Trial, ...]]
    records: Mapping[Cell, CellRecord]
    """What all of it was read from."""
    results: Mapping[Cell, CellResult]
    sections: Mapping[str, tuple[Any, ...]]
    """Key of an optional section -> its rows; none where the section does not apply."""
    answer: Answer
    """What to train with, regime by regime; without regimes if it could not be derived."""
    missing: str
    """The runs still to come, as a sentence; empty for a finished study."""
    incomplete: str = ""
    """Which cells of a study with nothing left to run have no score, as a sentence."""
    missing_sections: tuple[MissingSection, ...] = ()
    """Parts that could not be derived; they are empty here."""

    @property
    def num_primary(self) -> int:
        """Size of the family that is corrected together."""
        return sum(f.family == "primary" for f in self.findings)

    @property
    def num_secondary(self) -> int:
        """Number of pairs of arms without the reference, which are corrected among themselves."""
        return sum(f.family == "secondary" for f in self.findings)

    @property
    def looks(self) -> int:
        """How often the study was replicated and looked at; levels are divided by it."""
        return max((f.effect.looks for f in self.findings if f.effect), default=1)

    @property
    def answers(self) -> tuple[str, ...]:
        """The study's question in one line per regime."""
        return tuple(_answer(self, regime) for regime in self.regimes)

    @property
    def answer_cautions(self) -> tuple[tuple[str, ...], ...]:
        """Per answer, the caveats to know before its headlines are believed."""
        return tuple(
            select_cautions_of_all(_headlines(self, regime), self.caveats_by_key)
            for regime in self.regimes
        )

    def section_input(
        self, root: Path | None = None, boxes: KeptStudy | None = None
    ) -> SectionInput:
        """Everything that an optional section reads.

        Args:
            root: the study's directory, for a section that reads files.
            boxes: those that its replicates kept, for a section about detections.
        """
        return SectionInput(
            study=self.study,
            facts=self.facts,
            records=self.records,
            results=self.results,
            cost=self.cost,
            findings=self.findings,
            root=root,
            boxes=boxes,
        )

    @property
    def caveats_by_key(self) -> dict[str, Caveat]:
        """``Finding.caveats`` are these keys."""
        return {c.key: c for c in self.caveats}

    def cautions_of(self, finding: Finding) -> tuple[str, ...]:
        """The caveats that are printed under a headline; none under other findings."""
        if finding.family != "primary":
            return ()
        return select_cautions(finding, self.caveats_by_key)


def derive_findings(tables: StudyTables) -> Findings:
    """The findings of a study, finished or not.

    Raises:
        RecordError: the tables lack a column.
    """
    study, scores = tables.study, read_scores(tables)
    records, results, cost = scores.records, scores.results, scores.cost
    regimes = tuple(_regime(tables, name, results) for name in study.regimes)
    missing, derived = _missing(study, records, results), Containment()
    attempt = derived.attempt
    judged = _judge(scores, derived)
    given = SectionInput(
        study=study, facts=tables.facts, records=records, results=results, cost=cost
    )
    return Findings(
        study=study,
        facts=tables.facts,
        regimes=regimes,
        findings=judged.findings,
        caveats=judged.caveats,
        claims=judged.claims,
        cost=cost,
        search={cell: record.search for cell, record in records.items()},
        records=records,
        results=results,
        sections={s.key: attempt(s.title, partial(s.derive_rows, given), ()) for s in SECTIONS},
        answer=attempt(
            RECOMMENDED,
            lambda: derive_answer(
                replace(given, findings=judged.findings), judged.samples(), judged.corrections
            ),
            Answer(study=study.study, regimes=()),
            (FINDINGS,),
        ),
        missing=missing,
        incomplete="" if missing else _incomplete(records, results),
        missing_sections=derived.missing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdicts:
    """What is decided in a study, and what to know before believing it."""

    findings: tuple[Finding, ...]
    claims: StudyClaims
    caveats: tuple[Caveat, ...]
    corrections: Corrections
    samples: Callable[[], tuple[ScoreSample, ...]]
    """Of the study's objective."""


def _judge(scores: StudyScores, derived: Containment) -> _Verdicts:
    """Findings, the papers' claims, and caveats; ``derived`` takes note of those that fail."""
    tables, attempt = scores.tables, derived.attempt
    study = tables.study

    rows = cache(scores.list_samples)
    looks = cache(lambda: _take_looks(tables, rows))

    def measure() -> tuple[tuple[MeasuredClaim, ...], tuple[MeasuredClaim, ...]]:
        declared = about(study.objective.metric, study.claims)
        papers = measure_claims(paper_claims(), rows(), study.margin)
        return papers, measure_claims(declared, rows(), study.margin, select_post_hoc(study))

    papers, own_claims = attempt(CLAIMS, measure, ((), ()))
    # own claims are corrected together with the headlines: without them p values would be too small
    needs = (CLAIMS,) if study.claims else ()
    measure_cells = cache(scores.list_objective_samples)
    judged = attempt(
        FINDINGS,
        lambda: judge_study(study, measure_cells(), own_claims, looks()),
        Judged(findings=()),
        needs,
    )
    claims = attempt(CLAIMS, lambda: judge_claims(papers, unit_name(study), judged.corrections), ())
    caveats = attempt(
        CAVEATS,
        lambda: (
            *find_caveats(tables, scores.records, scores.results, scores.cost, measure_cells()),
            *find_claim_caveats(own_claims),
            *find_changed_looks(tables.looks, looks()),
        ),
        (),
        needs,
    )
    return _Verdicts(
        findings=attach_caveats(judged.findings, caveats),
        claims=StudyClaims(papers=claims, declared=tables.declared_claims),
        caveats=caveats,
        corrections=judged.corrections,
        samples=measure_cells,
    )


def _take_looks(
    tables: StudyTables, rows: Callable[[], Sequence[ScoreSample]]
) -> LookDecisions | None:
    """The looks that were recorded, taken again; None for a plain number of replicates."""
    if not has_looks(tables.study):
        return None
    numbers = [look.replicates for look in tables.looks]
    return take_look(tables.study, {n: [sample.up_to(n) for sample in rows()] for n in numbers})


def _regime(tables: StudyTables, name: str, results: Mapping[Cell, CellResult]) -> RegimeResult:
    study = tables.study
    cells = {arm: results[Cell(name, arm)] for arm in study.arms}
    reference = find_reference_arm(study, name)
    return RegimeResult(
        name=name,
        num_images=tables.facts.regime_sizes.get(name, 0),
        unit_steps=base_recipe(study, Cell(name, reference)).schedule.unit,
        reference=reference,
        cells=tuple(cells.values()),
    )


def _missing(
    study: Study, records: Mapping[Cell, CellRecord], results: Mapping[Cell, CellResult]
) -> str:
    searched = [t for record in records.values() for t in record.search]
    if not searched:
        return "Nothing has been recorded yet: no trial has been proposed."
    trials = sum(t.state == "waiting" for t in searched)
    numbers = {cell: range(record.num_searches) for cell, record in records.items()}
    trials += sum(
        num_unproposed(study, cell, records, n) for cell in records for n in numbers[cell]
    )
    open_ones = {
        cell: [n for n in numbers[cell] if not search_end(study, cell, records, n).is_over]
        for cell in records
    }
    # without any incumbent yet there will be one at least
    replicates = sum(
        _replicates_waiting(result)
        if result.points
        else records[cell].num_replicates * len(open_ones[cell])
        for cell, result in results.items()
    )
    parts = [counted(trials, "search trial")] if trials else []
    if replicates:
        parts.append(("at least " if trials else "") + counted(replicates, "replicate"))
    return f"The study is unfinished: {' and '.join(parts)} to go." if parts else ""


def _incomplete(records: Mapping[Cell, CellRecord], results: Mapping[Cell, CellResult]) -> str:
    empty = [result for cell, result in results.items() if not _has_score(records[cell])]
    by_arm: dict[str, list[CellResult]] = {}
    for result in empty:
        by_arm.setdefault(result.arm, []).append(result)
    num_regimes = len({cell.regime for cell in results})
    clauses = [c for group in by_arm.values() for c in _why_empty(group, num_regimes)]
    reasons = ", and ".join(clauses)
    if len(empty) == len(results):
        return f"The study is incomplete: {reasons}." if empty else ""
    return f"{reasons[:1].upper()}{reasons[1:]}." if empty else ""


def _has_score(record: CellRecord) -> bool:
    return any(s.select is not None or s.report is not None for s in record.scores.values())


def _why_empty(of_arm: Sequence[CellResult], num_regimes: int) -> list[str]:
    """``no trial of full/scratch has a score (4 diverged)``; one clause if no regime has any."""
    arm = of_arm[0].arm
    if len(of_arm) == num_regimes > 1:
        return [_say_empty(arm, " in any regime", of_arm)]
    return [_say_empty(f"{result.regime}/{arm}", "", [result]) for result in of_arm]


def _say_empty(name: str, where: str, results: Sequence[CellResult]) -> str:
    states = sum((Counter(result.states) for result in results), Counter[str]())
    if set(states) == {"refused"}:
        return f"no trial of {name} could start{where}, because the asset it needs was refused"
    ends = ", ".join(f"{num} {state}" for state, num in sorted(states.items()))
    return f"no trial of {name} has a score{where} ({ends or 'none ran'})"


def _replicates_waiting(result: CellResult) -> int:
    most: dict[str, int] = {}
    for single in (p for point in result.points for p in point.singles):
        most[single.incumbent] = max(most.get(single.incumbent, 0), single.waiting)
    not_begun = [p.waiting - sum(s.waiting for s in p.singles) for p in result.points]
    return sum(most.values()) + max([0, *not_begun])


def _headlines(findings: Findings, regime: RegimeResult) -> list[Finding]:
    return [
        f
        for f in findings.findings
        if (f.family, f.kind, f.regime) == ("primary", "arms", regime.name)
    ]


def _answer(findings: Findings, regime: RegimeResult) -> str:
    headlines = _headlines(findings, regime)
    head = f"{regime.name} ({counted(regime.num_images, 'image')})"
    if not headlines:
        if len(regime.cells) - len(find_twins(findings.study)) == 1:
            return f"{head}: one arm only, nothing to compare it with."
        return f"{head}: no two arms share a schedule length, so none are compared."
    return f"{head}: " + "; ".join(_in_short(findings.study, f) for f in headlines) + "."


def _in_short(study: Study, finding: Finding) -> str:
    reference, other = finding.arms
    at = " and ".join(times(length) for length in finding.lengths)
    if len(finding.lengths) > 1:
        at = f"best ({at})"
    words = {
        Verdict.SUPPORTED: f"{other} beats {reference} at {at}",
        Verdict.CONTRADICTED: f"{other} is behind {reference} at {at}",
        Verdict.EQUIVALENT: f"{other} equals {reference} at {at}",
        Verdict.INCONCLUSIVE: f"{other} against {reference} is open at {at}",
        Verdict.NOT_TESTED: f"{other} against {reference} is not tested at {at}",
    }[finding.verdict]
    if finding.effect is None:
        return words
    size = f"{signed(finding.effect.value)} {metric_name(study)} {span(finding.interval)}".rstrip()
    return f"{words} ({size})"
