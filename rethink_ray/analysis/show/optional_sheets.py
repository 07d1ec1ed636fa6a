"""All tables of the findings in reading order; a table that fails leaves a sentence instead."""

from collections.abc import Callable, Collection, Iterable
from functools import partial

from rethink_ray.analysis.claims_sheet import claims_sheet
from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import CLAIMS, FINDINGS, Findings
from rethink_ray.analysis.sections.registry import sections_in
from rethink_ray.analysis.sections.section import ReportPart
from rethink_ray.analysis.sheet import Sheet, missing_sheet
from rethink_ray.analysis.show.looks_sheet import TITLE, looks_sheet
from rethink_ray.analysis.show.sheets import (
    configurations_sheet,
    curve_sheet,
    differences_sheet,
    lengths_sheet,
    replicates_sheet,
    search_sheet,
)


def sheets(findings: Findings, contained: Containment | None = None) -> tuple[Sheet, ...]:
    """Every table, in reading order."""
    kept = contained or Containment(findings.missing_sections)
    return (
        *curve_sheets(findings, kept).values(),
        *difference_sheets(findings, kept),
        *claim_sheets(findings, kept),
        *best_sheets(findings, kept),
        *cost_sheets(findings, kept),
        *search_sheets(findings, kept),
        *caveat_sheets(findings, kept),
    )


def short_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """The tables that findings rest on: curves, corrected differences, the best configurations."""
    return (
        *curve_sheets(findings, kept).values(),
        *difference_sheets(findings, kept, all_lengths=False),
        *best_sheets(findings, kept),
        *caveat_sheets(findings, kept),
    )


def curve_sheets(findings: Findings, kept: Containment) -> dict[str, Sheet]:
    """Regime -> its scores by schedule length."""
    return {
        regime.name: one_sheet(
            kept,
            f"{regime.name}: scores by schedule length",
            partial(curve_sheet, findings, regime),
        )
        for regime in findings.regimes
    }


def difference_sheets(
    findings: Findings, kept: Containment, *, all_lengths: bool = True
) -> tuple[Sheet, ...]:
    """Differences between two arms (without ``all_lengths`` the corrected ones alone), and the
    tables that put them in other units."""
    title = "Differences between arms"
    build = partial(differences_sheet, findings, all_lengths=all_lengths)
    differences = one_sheet(kept, title, build, needs=(FINDINGS,))
    looks = one_sheet(kept, TITLE, partial(looks_sheet, findings), needs=(FINDINGS,))
    return (differences, *_with_rows([looks]), *section_sheets(findings, kept, "differences"))


def claim_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """The papers' claims, and the tables that explain one of them."""
    claims = one_sheet(kept, CLAIMS, lambda: claims_sheet(findings.claims, findings.study))
    return (claims, *section_sheets(findings, kept, "claims"))


def best_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """Each cell's best length and configurations."""
    return (
        one_sheet(kept, "Best schedule length", lambda: lengths_sheet(findings)),
        one_sheet(kept, "Best configurations", lambda: configurations_sheet(findings)),
    )


def cost_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """What the study cost, and what a score costs."""
    return section_sheets(findings, kept, "cost")


def search_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """How search trials ended, and the tables about the search."""
    trials = one_sheet(kept, "Search trials", lambda: search_sheet(findings))
    return (trials, *section_sheets(findings, kept, "search"))


def caveat_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """The tables beside the caveats."""
    return section_sheets(findings, kept, "caveats")


def section_sheets(findings: Findings, kept: Containment, part: ReportPart) -> tuple[Sheet, ...]:
    """The optional sections of one part of the report; those without rows are left out."""
    given = findings.section_input()
    tables = (
        one_sheet(
            kept,
            section.title,
            partial(section.build_sheet, given, findings.sections[section.key]),
        )
        for section in sections_in(part)
    )
    return _with_rows(tables)


def replicate_table(findings: Findings, kept: Containment) -> Sheet:
    """Every score behind the curves."""
    return one_sheet(kept, "Every replicate", lambda: replicates_sheet(findings))


def one_sheet(
    kept: Containment, title: str, build: Callable[[], Sheet], needs: Collection[str] = ()
) -> Sheet:
    """A table; or a sentence instead, if the table or the rows it shows could not be made."""
    known = kept.sentence_of(title)
    sheet = None if known else kept.attempt(title, build, None, needs)
    return sheet or missing_sheet(title, known or kept.sentence_of(title))


def _with_rows(tables: Iterable[Sheet]) -> tuple[Sheet, ...]:
    """The tables that have rows, and those that failed and have a sentence instead."""
    return tuple(sheet for sheet in tables if sheet.rows or sheet.missing)
