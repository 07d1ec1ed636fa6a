"""What trials started from: each asset's accuracy or AP, its time, and whether it was fit."""

from collections.abc import Sequence

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.read.trials import Asset
from rethink_ray.judge.wording import duration, percent


def _derive(given: SectionInput) -> tuple[Asset, ...]:
    return given.cost.assets


def _build(given: SectionInput, rows: Sequence[Asset]) -> Sheet:
    return Sheet(
        title=ASSETS_USED.title,
        note="Accuracy of each classifier on its own held-out images; AP of a detector on the "
        "split that selects. Refused: a classifier below twice chance.",
        columns=("asset", "accuracy", "chance", "AP", "time", "verdict"),
        rows=tuple(
            (
                asset.key,
                percent(asset.accuracy) if asset.accuracy is not None else "-",
                percent(asset.chance) if asset.chance is not None else "-",
                f"{asset.ap:.1f}" if asset.ap is not None else "-",
                duration(asset.seconds),
                asset.refused or "fit",
            )
            for asset in rows
        ),
        numeric=frozenset({1, 2, 3, 4}),
    )


ASSETS_USED = Section(
    key="assets",
    title="Assets",
    part="cost",
    derive_rows=_derive,
    build_sheet=_build,
)
