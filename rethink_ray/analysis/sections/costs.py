"""What each cell cost: slot time of its search and its replicates, with and without assets."""

from collections.abc import Sequence

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.read.costs import CellCost
from rethink_ray.judge.wording import duration


def _derive(given: SectionInput) -> tuple[CellCost, ...]:
    return given.cost.cells


def _build(given: SectionInput, rows: Sequence[CellCost]) -> Sheet:
    total = duration(given.cost.total_seconds)
    return Sheet(
        title=CELL_COSTS.title,
        note=(
            "Wall time of the slots, training and scoring. An asset that cells share counts in "
            f"full for each of them; the whole study, each asset once, took {total} of slot time."
        ),
        columns=(
            "regime",
            "arm",
            "search trials",
            "replicates",
            "search",
            "replication",
            "without assets",
            "assets",
            "with assets",
        ),
        rows=tuple(
            (
                cost.regime,
                cost.arm,
                str(cost.num_search),
                str(cost.num_replicates),
                duration(cost.search_seconds),
                duration(cost.replicate_seconds),
                duration(cost.trial_seconds),
                duration(cost.asset_seconds),
                duration(cost.total_seconds),
            )
            for cost in rows
        ),
        numeric=frozenset(range(2, 9)),
    )


CELL_COSTS = Section(
    key="cell_costs",
    title="What it cost",
    part="cost",
    derive_rows=_derive,
    build_sheet=_build,
)
