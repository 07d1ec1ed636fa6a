"""All tables of the findings in reading order, each with a sentence in its place if it failed."""

from collections.abc import Callable, Collection, Iterable
from functools import partial

from rethink_ray.analysis.claims_sheet import claims_sheet
from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import (
    CLAIMS,
    DRIFT,
    EQUAL_HOURS,
    FINDINGS,
    IMPORTANCE,
    METHODS,
    PRICES,
    TRANSFER,
    Findings,
)
from rethink_ray.analysis.sections.drift import drift_sheet
from rethink_ray.analysis.sections.equal_hours import equal_hours_sheet
from rethink_ray.analysis.sections.frontier import price_sheet
from rethink_ray.analysis.sections.halving_cost import halving_sheet
from rethink_ray.analysis.sections.importance import importance_sheet
from rethink_ray.analysis.sections.method_costs import method_sheet
from rethink_ray.analysis.sections.transfer import transfer_sheet
from rethink_ray.analysis.sheet import Sheet, missing_sheet
from rethink_ray.analysis.show.sheets import (
    assets_sheet,
    cells_of,
    configurations_sheet,
    cost_sheet,
    curve_sheet,
    differences_sheet,
    lengths_sheet,
    replicates_sheet,
    search_sheet,
    trials_sheet,
)
from rethink_ray.spec.resolve import Cell


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


def difference_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """What arms differ by."""
    title = "Differences between arms"
    return (one_sheet(kept, title, partial(differences_sheet, findings), needs=(FINDINGS,)),)


def claim_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """The papers' claims, and beside them what explains one; a table without rows is left out."""
    claims = one_sheet(kept, CLAIMS, lambda: claims_sheet(findings.claims, findings.study))
    return (claims, *_with_rows(one_sheet(kept, DRIFT, lambda: drift_sheet(findings.drifts))))


def best_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """Each cell's best length and configurations."""
    return (
        one_sheet(kept, "Best schedule length", lambda: lengths_sheet(findings)),
        one_sheet(kept, "Best configurations", lambda: configurations_sheet(findings)),
    )


def cost_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """What it cost, and what a score costs; tables without rows are left out."""
    study = findings.study
    results = {Cell(c.regime, c.arm): c for c in cells_of(findings)}
    return (
        one_sheet(kept, "What it cost", lambda: cost_sheet(findings)),
        *_with_rows(
            one_sheet(kept, METHODS, lambda: method_sheet(study, findings.method_costs)),
            one_sheet(kept, PRICES, lambda: price_sheet(study, findings.priced)),
            one_sheet(
                kept, EQUAL_HOURS, lambda: equal_hours_sheet(study, findings.equal_hours, results)
            ),
            one_sheet(kept, "Assets", lambda: assets_sheet(findings)),
        ),
    )


def search_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """What became of the search, and what it says; tables without rows are left out."""
    study = findings.study
    halved = "What halving threw away"
    return (
        one_sheet(kept, "Search trials", lambda: search_sheet(findings)),
        *_with_rows(
            one_sheet(kept, halved, lambda: halving_sheet(study, findings.records)),
            one_sheet(kept, IMPORTANCE, lambda: importance_sheet(study, findings.importance)),
            one_sheet(kept, TRANSFER, lambda: transfer_sheet(study, findings.transfers)),
        ),
    )


def trial_sheets(findings: Findings, kept: Containment) -> tuple[Sheet, ...]:
    """The search trials of each cell."""
    return tuple(
        _with_rows(
            *(
                one_sheet(kept, cell.name, partial(trials_sheet, findings, cell))
                for cell in findings.search
            )
        )
    )


def replicate_table(findings: Findings, kept: Containment) -> Sheet:
    """Every score behind the curves."""
    return one_sheet(kept, "Every replicate", lambda: replicates_sheet(findings))


def one_sheet(
    kept: Containment, title: str, build: Callable[[], Sheet], needs: Collection[str] = ()
) -> Sheet:
    """A table, or a sentence in its place if it, or what it shows, could not be made."""
    known = kept.sentence_of(title)
    sheet = None if known else kept.attempt(title, build, None, needs)
    return sheet or missing_sheet(title, known or kept.sentence_of(title))


def _with_rows(*found: Sheet) -> Iterable[Sheet]:
    """Tables that show something, and those that are missing."""
    return (sheet for sheet in found if sheet.rows or sheet.missing)
