"""Which images, boxes and masks of the study's data have a fault, and what happened to them."""

from collections.abc import Sequence

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.spec.fault_kinds import describe_kind
from rethink_ray.spec.met_faults import MetFault, list_met_faults


def _derive(given: SectionInput) -> tuple[MetFault, ...]:
    return list_met_faults(given.facts)


def _build(given: SectionInput, rows: Sequence[MetFault]) -> Sheet:
    return Sheet(
        title=DATA_FAULTS.title,
        note="As counted when the study started. Each is in rungs.parquet, too (data_faults); "
        "rethink-ray data check names examples.",
        columns=("of", "fault", "count", "share", "what happened"),
        rows=tuple(_row(met) for met in rows),
        numeric=frozenset({2, 3}),
    )


def _row(met: MetFault) -> tuple[str, ...]:
    words = describe_kind(met.kind)
    return (
        f"regime {met.regime}" if met.regime else met.split,
        met.kind,
        f"{met.share.count} of {met.share.total} {words.unit_words}",
        met.share.percent,
        f"{words.fate}: {words.reason}",
    )


DATA_FAULTS = Section(
    key="data_faults",
    title="Faults of the data",
    part="caveats",
    derive_rows=_derive,
    build_sheet=_build,
)
