"""What an arm is worth in labelled images, and what more images would bring it.

It needs three regimes or more: the reference's scores by number of images are the scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.size_curves import CurvePair, read_curve_pairs
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.label_worth import (
    ImageGain,
    LabelWorth,
    SizeCurve,
    WorthKind,
    measure_gains,
    measure_label_worth,
)
from rethink_ray.judge.label_worth_words import (
    describe_gain,
    describe_label_worth,
    gain_text,
    range_text,
)
from rethink_ray.judge.wording import metric_name, times
from rethink_ray.spec.draws import redraws


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthRow:
    """One arm in one regime; of the reference the gain alone."""

    regime: str
    arm: str
    images: int
    length: float
    kind: WorthKind | None
    """None: it is the reference."""
    sentence: str
    """What the arm is worth, in words; empty for the reference."""
    worth: LabelWorth | None
    gain: ImageGain | None
    """What the next larger regime brings it; None: no larger one ran."""
    gain_sentence: str


def derive_label_worth(given: SectionInput) -> tuple[WorthRow, ...]:
    """One row for each arm and regime, regimes from the fewest images to the most."""
    pairs = read_curve_pairs(given.study, given.facts, given.records, given.results)
    rows: dict[tuple[str, str], WorthRow] = {}
    for row in (row for pair in pairs for row in _rows_of(pair, metric_name(given.study))):
        rows.setdefault((row.regime, row.arm), row)
    return tuple(sorted(rows.values(), key=lambda row: row.images))


def _rows_of(pair: CurvePair, metric: str) -> Iterator[WorthRow]:
    worths = {worth.regime: worth for worth in measure_label_worth(pair.arm, pair.reference)}
    if worths:
        yield from _rows_of_curve(pair.reference, {}, metric)
        yield from _rows_of_curve(pair.arm, worths, metric)


def _rows_of_curve(
    curve: SizeCurve, worths: dict[str, LabelWorth], metric: str
) -> Iterator[WorthRow]:
    gains = {gain.regime: gain for gain in measure_gains(curve)}
    for point in curve.points:
        worth, gain = worths.get(point.regime), gains.get(point.regime)
        yield WorthRow(
            regime=point.regime,
            arm=curve.arm,
            images=point.images,
            length=point.length,
            kind=worth.kind if worth else None,
            sentence=describe_label_worth(worth, metric) if worth else "",
            worth=worth,
            gain=gain,
            gain_sentence=describe_gain(gain, metric) if gain else "",
        )


def _build(given: SectionInput, rows: Sequence[WorthRow]) -> Sheet:
    metric = metric_name(given.study)
    references = sorted({row.worth.reference for row in rows if row.worth})
    return Sheet(
        title=LABEL_WORTH.title,
        note=(
            f"Worth: how many more labelled images {' or '.join(references)} needs for the arm's "
            f"{metric} on {given.study.data.report_split}. An estimate between two regimes is "
            "interpolated; the ends of its 95 % interval are regimes, because between them only "
            "that more images do no harm is known. By a law: the same if the reference's "
            "scores follow a power law or an exponential. Nothing is said beyond the "
            f"regimes that ran, and each interval stands alone. {_say_draws(given, rows)}"
        ),
        columns=(
            "regime",
            "arm",
            "length",
            "worth in images",
            "by a law",
            "more images bring",
            "in words",
        ),
        rows=tuple(_texts(row, metric) for row in rows),
        numeric=frozenset({2, 3, 4, 5}),
    )


def _say_draws(given: SectionInput, rows: Sequence[WorthRow]) -> str:
    """Whether the intervals hold for another choice of the images."""
    regimes = {row.regime for row in rows}
    if any(redraws(given.study, given.facts, regime) for regime in regimes):
        return (
            "Replicates have draws of images of their own (replicate.vary), which are compared "
            "draw by draw: the intervals cover the choice of images."
        )
    return (
        "Every regime is one draw of images, and a smaller one lies inside a larger one: the "
        "intervals are about this draw (with replicate: {vary: [seed, subset]} about any)."
    )


def _texts(row: WorthRow, metric: str) -> tuple[str, ...]:
    worth = row.worth
    return (
        f"{row.regime} ({row.images})",
        row.arm,
        times(row.length),
        range_text(worth.more_images if worth and not worth.untested else None),
        range_text(worth.by_law if worth else None),
        gain_text(row.gain, metric),
        row.sentence or row.gain_sentence or "-",
    )


LABEL_WORTH = Section(
    key="label_worth",
    title="What a start is worth in labelled images",
    part="differences",
    derive_rows=derive_label_worth,
    build_sheet=_build,
)
