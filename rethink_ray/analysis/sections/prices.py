"""What a score costs: every contender and length, with the hours and memory of one run.

A run is on a front if no other arm or length of its regime scores as much for as little.
"""

from collections.abc import Sequence

from rethink_ray.analysis.read.prices import MEMORY_FACTOR, Priced, hour_word, price_runs
from rethink_ray.analysis.read.step_times import UNEVEN
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import duration, metric_name, span, times


def _derive(given: SectionInput) -> tuple[Priced, ...]:
    return price_runs(given.study, given.records, given.results, given.cost)


def _build(given: SectionInput, rows: Sequence[Priced]) -> Sheet:
    holder = hour_word(given.study).removesuffix("-hours")
    return Sheet(
        title=PRICES.title,
        note=(
            "One run of each length by itself: its updates times the median time per update of "
            f"its replicates, times the {holder}s it holds. An asset counts in full for every arm "
            "that starts from it. On the front: no other arm or length of the regime scores as "
            "much for as little. Memory: the most that one process of a replicate held (median). "
            f"Arms are not ranked by memory if peaks differ by less than {MEMORY_FACTOR:g}x, nor "
            "by time if replicates of one method differ by more than "
            f"{UNEVEN:g}x in time per update."
        ),
        columns=(
            "regime",
            "arm",
            "length",
            metric_name(given.study),
            f"{holder} time",
            f"{holder} time with asset",
            "peak memory (GB)",
            "on the front of",
        ),
        rows=tuple(_row(priced) for priced in rows),
        numeric=frozenset({2, 3, 4, 5, 6}),
    )


def _row(priced: Priced) -> tuple[str, ...]:
    fronts = (("time", priced.best_for_hours), ("memory", priced.best_for_memory))
    peak = priced.peak_memory_bytes
    return (
        priced.regime,
        priced.arm,
        times(priced.length),
        f"{priced.score:.1f} {span(priced.interval, sign=False)}".rstrip(),
        duration(3600.0 * priced.run_hours),
        duration(3600.0 * priced.hours),
        f"{peak / 1e9:.2f}" if peak else "not measured",
        " and ".join(name for name, is_on in fronts if is_on) or "-",
    )


PRICES = Section(
    key="prices",
    title="What a score costs",
    part="cost",
    derive_rows=_derive,
    build_sheet=_build,
)
