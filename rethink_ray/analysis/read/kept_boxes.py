"""The boxes that each arm's replicates kept, of one regime, and the images they were found in.

The regime is the one with the most training images, each arm is shown at its longest length that
has such boxes, and every replicate of that length's best configuration counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rethink_ray.analysis.read.detected import LabelDetections, average_precision, split_by_label
from rethink_ray.analysis.read.scored_images import ReportImages
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.wording import times
from rethink_ray.records.detections import (
    SCHEMA,
    detections_folder,
    detections_path,
    from_bits,
    read_detections,
)
from rethink_ray.spec.errors import RecordError, RethinkError, explain
from rethink_ray.spec.resolve import Cell

ObjectCounts = Mapping[tuple[int, int], int]
"""(image id, label) -> number of objects; label 0 stands for the image itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBoxes:
    """All boxes of one replicate, image by image, highest score first."""

    trial_id: str
    image_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    boxes_xyxy: npt.NDArray[np.float64]
    """[D, 4], absolute pixels."""
    right: npt.NDArray[np.bool_]
    """[10, D]: matches an object, per IoU threshold."""
    ignored: npt.NDArray[np.bool_]
    """[10, D]: counts neither as right nor as wrong."""
    threshold: float
    """The score from which on boxes balance precision and recall best (largest F1 at IoU 0.5)."""

    def rows_of(self, image_id: int) -> slice:
        """The boxes of one image."""
        start, end = np.searchsorted(self.image_ids, [image_id, image_id + 1])
        return slice(int(start), int(end))

    def sure_rows_of(self, image_id: int) -> slice:
        """The boxes of one image that reach the threshold."""
        rows = self.rows_of(image_id)
        num = int((self.scores[rows] >= self.threshold).sum())
        return slice(rows.start, rows.start + num)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmBoxes:
    """One arm of the regime: what its replicates found at one length."""

    arm: str
    length: float
    replicates: tuple[KeptBoxes, ...]
    by_label: tuple[tuple[LabelDetections, ...], ...]
    """The same, per replicate and label, with boxes sorted over all images."""
    ap: tuple[float, ...]
    """AP of each replicate, in points."""

    @property
    def mean_ap(self) -> float:
        """Over replicates."""
        return float(np.mean(self.ap))

    @property
    def middle(self) -> KeptBoxes:
        """The replicate whose AP is the middle one; of equals the first trial id."""
        order = sorted(zip(self.ap, self.replicates, strict=True), key=_by_score_and_id)
        return order[(len(order) - 1) // 2][1]


def _by_score_and_id(one: tuple[float, KeptBoxes]) -> tuple[float, str]:
    return one[0], one[1].trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStudy:
    """What sections about detections read."""

    regime: str
    arms: tuple[ArmBoxes, ...]
    """In the study's order; those without kept boxes are left out."""
    objects: ObjectCounts
    """As scored: crowds are not among them."""
    lacking: tuple[str, ...] = ()
    """Sentences about arms that are left out."""
    images: ReportImages | None = None
    """None: the annotations or the pictures are not there any more."""
    images_missing: str = ""
    """Why there are none, as a sentence."""
    label_names: tuple[str, ...] = field(default=())
    """Of label 1, 2, ..."""

    @property
    def best(self) -> ArmBoxes:
        """The arm with the highest mean AP; of equals the first in the study."""
        return max(self.arms, key=lambda arm: arm.mean_ap)


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingKept:
    """A study without boxes to show."""

    why: str
    """A sentence."""


LoadImages = Callable[[str], ReportImages]
"""Regime -> the images that its runs are scored on."""


def read_kept_study(
    results: Mapping[Cell, CellResult],
    sizes: Mapping[str, int],
    label_names: tuple[str, ...],
    root: Path,
    load_images: LoadImages | None,
) -> KeptStudy | NothingKept:
    """The boxes of the largest regime that has any, with their images if those are there.

    Args:
        results: every cell's curve.
        sizes: regime -> number of training images.
        label_names: of label 1, 2, ...
        root: the study's directory.
        load_images: opens the data set; None where the caller has none.
    """
    by_size = sorted({cell.regime for cell in results}, key=lambda r: -sizes.get(r, 0))
    lacking: list[str] = []
    for regime in by_size:
        arms, lacking = [], []
        for result in (r for cell, r in results.items() if cell.regime == regime):
            try:
                arms.append(_read_arm(result, root))
            except RecordError as error:
                lacking.append(str(error))
        shown = tuple(arm for arm, _ in arms)
        if shown:
            objects = arms[0][1]
            images, why = _load_images(load_images, regime, objects)
            return KeptStudy(
                regime=regime,
                arms=shown,
                objects=objects,
                lacking=tuple(lacking),
                images=images,
                images_missing=why,
                label_names=label_names,
            )
    return NothingKept(why=lacking[0] if lacking else "The study has no cell.")


def list_kept_folders(results: Mapping[Cell, CellResult]) -> tuple[str, ...]:
    """The folders that ``read_kept_study`` may read, inside the study."""
    trial_ids = {
        trial_id
        for result in results.values()
        for point in result.points
        for trial_id in point.of_incumbent.trial_ids
    }
    return tuple(detections_folder(trial_id) for trial_id in sorted(trial_ids))


def _read_arm(result: CellResult, root: Path) -> tuple[ArmBoxes, ObjectCounts]:
    """An arm at the longest length whose replicates kept their boxes.

    Raises:
        RecordError: there is none, or a file is damaged.
    """
    for point in sorted((p.of_incumbent for p in result.points), key=lambda p: -p.length):
        scored = [t for t in point.trial_ids if t not in point.failed]
        paths = {t: detections_path(root, t, point.length) for t in scored}
        kept = {t: path for t, path in paths.items() if path.exists()}
        if not kept:
            continue
        tables = {trial_id: _read_table(path) for trial_id, path in kept.items()}
        by_label = tuple(split_by_label(table) for table in tables.values())
        objects = read_object_counts(next(iter(tables.values())))
        if not any(by_label):
            raise RecordError(f"No image of {result.regime}/{result.arm} holds an object.")
        num_images = sum(label == 0 for _, label in objects)
        weights = np.ones(num_images)
        arm = ArmBoxes(
            arm=result.arm,
            length=point.length,
            replicates=tuple(list_boxes(trial_id, t) for trial_id, t in tables.items()),
            by_label=by_label,
            ap=tuple(average_precision(labels, weights) for labels in by_label),
        )
        return arm, objects
    raise RecordError(
        f"The boxes of {result.regime}/{result.arm} are not kept: it has no finished replicate, "
        "the study is older than this feature, or checkpoints.detections is none."
    )


def _read_table(path: Path) -> pa.Table:
    """A file's table with the types of ``SCHEMA``.

    Raises:
        RecordError: it is damaged, or another table.
    """
    table = read_detections(path)
    if table.schema.equals(SCHEMA):
        return table  # a cast imports pandas: 1 s
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        must = "must be the detections of a replicate"
        raise RecordError(explain(path.name, must, str(error).splitlines()[0])) from None


def read_object_counts(table: pa.Table) -> dict[tuple[int, int], int]:
    """The objects that a file of detections counts."""
    columns = (table.column(name).to_pylist() for name in ("image_id", "label", "objects"))
    return {
        (image_id, label): num
        for image_id, label, num in zip(*columns, strict=True)
        if num is not None
    }


def list_boxes(trial_id: str, table: pa.Table) -> KeptBoxes:
    """The boxes of a file of detections."""
    names = ("image_id", "label", "score", "x0", "y0", "x1", "y1", "matched", "ignored")
    columns = dict(zip(names, (table.column(name).to_pylist() for name in names), strict=True))
    rows = [row for row, score in enumerate(columns["score"]) if score is not None]
    arrays = {name: np.array([values[i] for i in rows]) for name, values in columns.items()}
    image_ids = arrays["image_id"].astype(np.int64)
    scores = arrays["score"].astype(np.float64)
    order = np.lexsort((arrays["label"], -scores, image_ids))
    ignored = from_bits(arrays["ignored"].astype(np.uint16))[:, order]
    right = from_bits(arrays["matched"].astype(np.uint16))[:, order] & ~ignored
    corners = np.stack([arrays[name] for name in ("x0", "y0", "x1", "y1")], axis=-1)
    num_objects = sum(num for (_, label), num in read_object_counts(table).items() if label)
    counted = ~ignored[0]
    threshold = choose_threshold(scores[order][counted], right[0][counted], num_objects)
    return KeptBoxes(
        trial_id=trial_id,
        image_ids=image_ids[order],
        labels=arrays["label"].astype(np.int64)[order],
        scores=scores[order],
        boxes_xyxy=corners.astype(np.float64).reshape(-1, 4)[order],
        right=right,
        ignored=ignored,
        threshold=threshold,
    )


def choose_threshold(
    scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], num_objects: int
) -> float:
    """The score with the largest F1, 2 right / (boxes + objects); of equals the highest score.

    1.0 where no box is right, so that none reaches it.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, num_right = scores[order], np.cumsum(right[order])
    if not len(scores) or not num_right[-1]:
        return 1.0
    is_last = np.append(sorted_scores[1:] < sorted_scores[:-1], True)
    f1 = 2.0 * num_right / (np.arange(1, len(scores) + 1) + num_objects)
    return float(sorted_scores[int(np.argmax(np.where(is_last, f1, -1.0)))])


def _load_images(
    load_images: LoadImages | None, regime: str, objects: ObjectCounts
) -> tuple[ReportImages | None, str]:
    """The images, or a sentence about why there are none."""
    if load_images is None:
        return None, "The pictures are not shown here."
    try:
        images = load_images(regime)
    except (RethinkError, OSError) as error:
        return None, f"The pictures cannot be shown, because the data set is not there: {error}"
    if dict(_count_annotated(images)) != dict(objects):
        why = "the annotations are not those that the replicates were scored against"
        return None, f"The pictures cannot be shown, because {why}."
    return images, ""


def _count_annotated(images: ReportImages) -> Iterator[tuple[tuple[int, int], int]]:
    for image_id, image in images.images.items():
        yield (image_id, 0), 0
        labels, nums = np.unique(image.labels[~image.is_crowd], return_counts=True)
        for label, num in zip(labels.tolist(), nums.tolist(), strict=True):
            yield (image_id, label), num


def arm_note(kept: KeptStudy) -> str:
    """``scratch at 6x (3 replicates), ...``: what is compared."""
    arms = (f"{a.arm} at {times(a.length)} ({len(a.replicates)})" for a in kept.arms)
    return f"Regime {kept.regime}; replicates in brackets: {', '.join(arms)}."
