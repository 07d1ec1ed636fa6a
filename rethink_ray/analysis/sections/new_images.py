"""What another draw of report images would do to a difference: a paired bootstrap of the images.

Intervals elsewhere cover re-runs with new seeds scored on *these* images. Here the images are drawn
anew as well, the same draw for both arms and all of their replicates, and the spread of the
difference over draws is added to that over seeds: a statement about data like these.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import metric_name, signed, span, times
from rethink_ray.records.detections import (
    detections_folder,
    detections_path,
    from_bits,
    read_detections,
)
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.resolve import Cell

DRAWS = 200
QUICK_IMAGES = 1000
"""Splits of at most this many images are drawn anew for every report: seconds a headline."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's; AP is the mean precision at these."""
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One replicate's detections of one label, highest score first."""

    image: npt.NDArray[np.int64]
    """[D]: index of the image among all of the split."""
    right: npt.NDArray[np.bool_]
    """[10, D]: matches an object, per IoU threshold."""
    wrong: npt.NDArray[np.bool_]
    """[10, D]: matches none; neither where it is ignored."""
    objects: npt.NDArray[np.float64]
    """[I]: how many objects of the label each image holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImages:
    """One headline, for these images and for others like them."""

    finding: Finding
    images: int
    sd: float
    """Of the difference over draws of images, in points."""
    estimate: Estimate
    """The headline's difference with both sources of noise."""


def fetch_detections(findings: Findings, directory: StudyDirectory) -> None:
    """What the headlines' replicates found is on this machine, wherever the study lives."""
    trial_ids = {t for f in findings.findings if f.family == "primary" for t in f.evidence}
    directory.fetch(*(detections_folder(trial_id) for trial_id in sorted(trial_ids)))


def with_new_images(findings: Findings, root: Path) -> tuple[tuple[NewImages, ...], str]:
    """Every headline whose replicates' detections are kept, and why others are not told.

    Args:
        findings: of the study.
        root: its directory.
    """
    if findings.study.objective.metric != "ap":
        return (), f"only AP can be scored anew, not {metric_name(findings.study)}"
    found, why = [], ""
    for finding in findings.findings:
        if (finding.family, finding.kind) != ("primary", "arms") or finding.effect is None:
            continue
        if finding.effect.se is None:
            why = "there is no interval to add to"
            continue
        try:
            found.append(_of_headline(findings, root, finding))
        except RecordError as error:
            why = str(error)
    return tuple(found), why


def _of_headline(findings: Findings, root: Path, finding: Finding) -> NewImages:
    effect, lengths = finding.effect, (finding.lengths * 2)[:2]
    assert effect is not None
    assert effect.se is not None
    assert effect.df is not None
    sides = [
        _replicates(findings, root, finding.regime, arm, length)
        for arm, length in zip(finding.arms, lengths, strict=True)
    ]
    if not all(labels for side in sides for labels in side):
        raise RecordError(f"no image of {findings.study.data.report_on} holds an object")
    num_images = sides[0][0][0].objects.shape[0]
    rng = np.random.default_rng(findings.study.seed)
    drawn = []
    for _ in range(DRAWS):
        weights = np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        scores = [_mean_score(side, weights.astype(np.float64)) for side in sides]
        drawn.append(scores[1] - scores[0])
    sd = float(np.std(drawn, ddof=1))
    return NewImages(finding=finding, images=num_images, sd=sd, estimate=widened(effect, sd))


def widened(effect: Estimate, sd: float) -> Estimate:
    """The estimate with the images' noise added, degrees of freedom after Satterthwaite.

    A second, well-known source can raise the degrees of freedom of a few replicates so far that the
    interval would shrink; more noise tells nobody more, so it then stays as it is.
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
    findings: Findings, root: Path, regime: str, arm: str, length: float
) -> list[Sequence[Label]]:
    """The labels of every replicate of an arm's incumbent; one that failed has found nothing."""
    cell = next(c for r in findings.regimes for c in r.cells if (c.regime, c.arm) == (regime, arm))
    point = cell.point(length)
    assert point is not None, "a headline has replicates"
    scored = [t for t in point.trial_ids if t not in point.failed]
    if len(scored) < len(point.trial_ids) or point.barren:
        raise RecordError(f"the method itself ended a replicate of {Cell(regime, arm).name}")
    paths = [detections_path(root, trial_id, length) for trial_id in scored]
    if not all(path.exists() for path in paths):
        where = f"{Cell(regime, arm).name} at {times(length)}"
        why = "the study is older than they are, or checkpoints.detections says none"
        raise RecordError(f"what replicates of {where} found is not kept ({why})")
    return [labels_of(read_detections(path)) for path in paths]


def labels_of(table: pa.Table) -> tuple[Label, ...]:
    """A file's rows, label by label, of labels that some image holds."""
    columns = {name: table.column(name).to_pylist() for name in ("objects", "score")}
    image_ids, labels, matched, ignored = (
        np.array([value or 0 for value in table.column(name).to_pylist()], dtype=np.int64)
        for name in ("image_id", "label", "matched", "ignored")
    )
    counted = np.array([value is not None for value in columns["objects"]], dtype=np.bool_)
    images = np.unique(image_ids[counted])
    place = np.searchsorted(images, image_ids)
    scores = np.array([value or 0.0 for value in columns["score"]], dtype=np.float64)
    held = np.array([value or 0 for value in columns["objects"]], dtype=np.float64)
    found = []
    for label in np.unique(labels[counted & (held > 0)]):
        own, rows = counted & (labels == label), np.flatnonzero(~counted & (labels == label))
        rows = rows[np.lexsort((image_ids[rows], -scores[rows]))]
        objects = np.zeros(len(images))
        objects[place[own]] = held[own]
        ignore = from_bits(ignored[rows].astype(np.uint16))
        right = from_bits(matched[rows].astype(np.uint16))
        found.append(
            Label(image=place[rows], right=right & ~ignore, wrong=~right & ~ignore, objects=objects)
        )
    return tuple(found)


def average_precision(labels: Sequence[Label], weights: Weights) -> float:
    """COCO's AP in points if image ``i`` came ``weights[i]`` times; NaN without any object."""
    found = [ap for label in labels if (ap := _of_label(label, weights)) is not None]
    return 100.0 * float(np.mean(found)) if found else math.nan


def _of_label(label: Label, weights: Weights) -> float | None:
    wanted = float(label.objects @ weights)
    if wanted == 0.0:
        return None
    weight = weights[label.image]
    right = np.cumsum(label.right * weight, axis=1)
    wrong = np.cumsum(label.wrong * weight, axis=1)
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(right / (right + wrong))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for recall, best in zip(right / wanted, precision, strict=True):
        at = np.searchsorted(recall, RECALLS, side="left")
        total += float(best[at[at < len(best)]].sum()) / len(RECALLS)
    return total / len(label.right)


def _mean_score(replicates: Sequence[Sequence[Label]], weights: Weights) -> float:
    return float(np.mean([average_precision(labels, weights) for labels in replicates]))


def new_images_sheets(findings: Findings, root: Path) -> tuple[Sheet, ...]:
    """What a report shows: the table, where it takes seconds and there is something to tell."""
    images = findings.facts.split_sizes.get(findings.study.data.report_on, 0)
    if images > QUICK_IMAGES:
        return ()
    found, why = with_new_images(findings, root)
    return (new_images_sheet(findings, found, why),) if found else ()


def new_images_sheet(findings: Findings, found: Sequence[NewImages], why: str) -> Sheet:
    """Each headline twice: on these images, and on data like these."""
    rows = [
        (
            *(one.finding.regime, f"{one.finding.arms[1]} - {one.finding.arms[0]}"),
            "/".join(times(length) for length in one.finding.lengths),
            f"{signed(one.estimate.value)} {span(one.finding.interval)}",
            f"{one.sd:.2f}",
            f"{signed(one.estimate.value)} {span(one.estimate.interval())}",
        )
        for one in found
    ]
    study = findings.study
    return Sheet(
        title="For data like these",
        note=(
            f"Headlines in {metric_name(study)}, 95 %. On these images: new seeds, scored on the "
            f"same images of {study.data.report_on}. On data like these: their draw counts as "
            f"well, from {DRAWS} paired bootstrap draws of what the replicates found."
            + (f" Not told elsewhere: {why}." if why else "")
        ),
        columns=(
            *("regime", "arms", "length", "on these images", "sd over images"),
            "on data like these",
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5}),
    )
