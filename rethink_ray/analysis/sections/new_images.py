"""What another draw of report images would do to a difference: a paired bootstrap of the images.

Intervals elsewhere cover re-runs with new seeds scored on *these* images. Here the images are drawn
again as well, the same draw for both arms and all of their replicates, and the spread of the
difference over draws is added to that over seeds: a statement about data like these.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rethink_ray.analysis.read.detected import (
    ImageWeights,
    LabelDetections,
    average_precision,
    split_by_label,
)
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import metric_name, signed, span, times
from rethink_ray.records.detections import detections_path, read_detections
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.resolve import Cell

DRAWS = 200
QUICK_IMAGES = 1000
"""Splits of at most this many images are drawn again for every report: seconds a headline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImages:
    """One headline, for these images and for others like them."""

    finding: Finding
    images: int
    sd: float
    """Of the difference over draws of images, in points."""
    estimate: Estimate
    """The headline's difference with both sources of noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDrawn:
    """A headline, or all of them, for which images cannot be drawn again."""

    why: str


_Row = NewImages | NotDrawn


def derive_new_images(given: SectionInput) -> tuple[_Row, ...]:
    """Every headline whose replicates' detections are kept, and why others are left out."""
    if given.study.objective.metric != "ap":
        why = f"only AP can be scored on other draws of images, not {metric_name(given.study)}"
        return (NotDrawn(why=why),)
    return tuple(_rows(given))


def _rows(given: SectionInput) -> Iterator[_Row]:
    for finding in given.findings:
        if (finding.family, finding.kind) != ("primary", "arms") or finding.effect is None:
            continue
        if finding.effect.se is None:
            yield NotDrawn(why="there is no interval to add to")
            continue
        try:
            yield _of_headline(given, finding, finding.effect)
        except RecordError as error:
            yield NotDrawn(why=str(error))


def _of_headline(given: SectionInput, finding: Finding, effect: Estimate) -> NewImages:
    lengths = (finding.lengths * 2)[:2]
    sides = [
        _replicates(given, Cell(finding.regime, arm), length)
        for arm, length in zip(finding.arms, lengths, strict=True)
    ]
    if not all(labels for side in sides for labels in side):
        raise RecordError(f"no image of {given.study.data.report_split} holds an object")
    num_images = sides[0][0][0].objects.shape[0]
    sd = _sd_over_draws(sides, num_images, given.study.seed)
    return NewImages(finding=finding, images=num_images, sd=sd, estimate=widen(effect, sd))


def _sd_over_draws(
    sides: Sequence[Sequence[Sequence[LabelDetections]]], num_images: int, seed: int
) -> float:
    """Standard deviation of the second side minus the first over draws of images."""
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(DRAWS):
        weights = np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        scores = [_mean_score(side, weights.astype(np.float64)) for side in sides]
        differences.append(scores[1] - scores[0])
    return float(np.std(differences, ddof=1))


def widen(effect: Estimate, sd: float) -> Estimate:
    """The estimate with the images' noise added, degrees of freedom after Satterthwaite.

    A second, well-known source can raise the degrees of freedom of a few replicates so far that the
    interval would shrink. More noise cannot make an estimate more certain, so it then stays as is.
    """
    assert effect.se is not None
    assert effect.df is not None
    seeds, images = effect.se**2, sd**2
    total = seeds + images
    if total == 0.0:
        return effect
    df = total**2 / (seeds**2 / effect.df + images**2 / (DRAWS - 1))
    both = replace(effect, se=math.sqrt(total), df=df)
    narrow, wide = effect.interval(), both.interval()
    assert narrow is not None
    assert wide is not None
    return both if wide[1] > narrow[1] else effect


def _replicates(
    given: SectionInput, cell: Cell, length: float
) -> list[tuple[LabelDetections, ...]]:
    """The detections of every replicate of an arm's incumbent, label by label.

    Raises:
        RecordError: a replicate failed, or its detections are not kept.
    """
    assert given.root is not None, "this section reads files"
    point = given.results[cell].point(length)
    assert point is not None, "a headline has replicates"
    scored = [t for t in point.trial_ids if t not in point.failed]
    if len(scored) < len(point.trial_ids) or point.barren:
        raise RecordError(f"the method itself ended a replicate of {cell.name}")
    paths = [detections_path(given.root, trial_id, length) for trial_id in scored]
    if not all(path.exists() for path in paths):
        where = f"{cell.name} at {times(length)}"
        why = "the study is older than this feature, or checkpoints.detections is none"
        raise RecordError(f"the detections of {where} are not kept ({why})")
    return [split_by_label(read_detections(path)) for path in paths]


def _mean_score(replicates: Sequence[Sequence[LabelDetections]], weights: ImageWeights) -> float:
    return float(np.mean([average_precision(labels, weights) for labels in replicates]))


def _is_quick(given: SectionInput) -> bool:
    """Whether the report split is small enough to draw its images again for every report."""
    return given.facts.split_sizes.get(given.study.data.report_split, 0) <= QUICK_IMAGES


def _build(given: SectionInput, rows: Sequence[_Row]) -> Sheet:
    """Each headline twice: on these images, and on data like these."""
    study, drawn = given.study, [row for row in rows if isinstance(row, NewImages)]
    why = [row.why for row in rows if isinstance(row, NotDrawn)][-1:]
    return Sheet(
        title=NEW_IMAGES.title,
        note=(
            f"Headlines in {metric_name(study)}, 95 % intervals. On these images: re-runs with new "
            f"seeds, scored on the same images of {study.data.report_split}. On data like "
            f"these: the draw of images counts as well, from {DRAWS} paired bootstrap draws of the "
            "replicates' detections."
            + "".join(f" Other headlines are left out: {text}." for text in why)
        ),
        columns=(
            "regime",
            "arms",
            "length",
            "on these images",
            "sd over images",
            "on data like these",
        ),
        rows=tuple(_texts(row) for row in drawn),
        numeric=frozenset({2, 3, 4, 5}),
    )


def _texts(row: NewImages) -> tuple[str, ...]:
    value = signed(row.estimate.value)
    return (
        row.finding.regime,
        f"{row.finding.arms[1]} - {row.finding.arms[0]}",
        "/".join(times(length) for length in row.finding.lengths),
        f"{value} {span(row.finding.interval)}",
        f"{row.sd:.2f}",
        f"{value} {span(row.estimate.interval())}",
    )


NEW_IMAGES = Section(
    key="new_images",
    title="For data like these",
    part="differences",
    derive_rows=derive_new_images,
    build_sheet=_build,
    applies=_is_quick,
)
