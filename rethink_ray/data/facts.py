"""Gathers the facts of a study's data set: sizes, categories, fingerprints."""

from collections.abc import Mapping, Sequence

import numpy as np

from rethink_ray.data.class_counts import count_classes, find_untrained
from rethink_ray.data.fault_shares import measure_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.leaks import count_dropped, refresh_splits
from rethink_ray.data.regimes import (
    count_empty,
    digest_of_images,
    is_share,
    open_scored,
    regime_image_ids,
    trainable_image_ids,
)
from rethink_ray.data.scorable import counted_objects, find_undefined_metrics
from rethink_ray.data.sizes import require_boxes_inside, require_sizes
from rethink_ray.data.splits import open_split
from rethink_ray.data.upstream import (
    require_upstream_classes,
    require_upstream_pictures,
    upstream_fingerprint,
)
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_file
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec, num_images, share_of


def gather_facts(
    data: DataSpec,
    regimes: Mapping[str, RegimeSpec],
    files: Mapping[str, str] | None = None,
    upstream_classes: Sequence[int] = (),
    draws: Sequence[int] = (),
) -> DataFacts:
    """Returns the facts of all splits and regimes of a study; builds missing indexes.

    Args:
        data: where the images are.
        regimes: name -> regime.
        files: path of each file of weights or labels -> the study key that names it, for messages.
        upstream_classes: each ``upstream.classes`` of a run that needs ``data.upstream``.
        draws: those of replicates (``list_planned_draws``), which need objects to learn from, too.

    Raises:
        DataError: a regime is larger than the data set, a split or a file does not exist, most
            pictures of a split have another size than annotated, most of its boxes lie outside
            their pictures or have no pixels there, a scoring split has no object, a
            regime or a draw none to learn from, or ``data.upstream`` has a picture that cannot be
            read or another number of classes.
    """
    contents = {path: digest_of_file(path, where) for path, where in (files or {}).items()}
    splits = _open_used_splits(data)
    _require_usable(data, splits)
    for num_classes in upstream_classes:
        require_upstream_classes(data, num_classes)
    require_upstream_pictures(data)
    scoring = [splits[split] for split in (data.select_split, data.report_on)]
    subsets = {name: regime_image_ids(data, regime.images) for name, regime in regimes.items()}
    for name, image_ids in subsets.items():
        _require_learnable(splits["train"], f"regimes.{name}", image_ids)
    redrawn = _draw_smallest(data, splits["train"], regimes, draws)
    sizes = {name: len(image_ids) for name, image_ids in subsets.items()}
    return DataFacts(
        fingerprint=_fingerprint_of(data, splits),
        categories=splits["train"].categories,
        regime_sizes=sizes,
        regime_digests={name: digest_of_images(image_ids) for name, image_ids in subsets.items()},
        split_sizes={split: len(index) for split, index in splits.items()},
        holdout_sizes=_holdout_sizes(data, sizes),
        train_digest=digest_of_images(trainable_image_ids(data)),
        upstream_fingerprint=upstream_fingerprint(data),
        upstream_detection=(
            None
            if data.upstream_detection is None
            else gather_facts(data.upstream_detection, {"all": RegimeSpec(images="all")})
        ),
        unlabelled_fingerprint=(
            "" if data.unlabelled is None else open_split(data, "unlabelled").fingerprint
        ),
        files=contents,
        level_ranges=_level_ranges(splits["train"]),
        num_dropped=count_dropped(data),
        num_empty=count_empty(data),
        has_masks=all(_has_masks(splits["train"], ids) for ids in (*subsets.values(), *redrawn))
        and splits["train"].has_masks,
        num_keypoints=len(splits["train"].keypoint_names),
        scored_masks=all(
            bool((counted_objects(index) & index.masked_objects()).any()) for index in scoring
        ),
        scored_keypoints=min(len(index.keypoint_names) for index in scoring),
        undefined_metrics=_undefined_metrics(data, min(sizes.values(), default=0)),
        untrained_classes={
            split: tuple(names)
            for split, names in find_untrained(count_classes(data)).items()
            if names
        },
        split_faults=_measure_splits(data, splits),
        regime_faults=_keep_faulty(
            {name: measure_faults(splits["train"], ids) for name, ids in subsets.items()}
        ),
    )


def _require_usable(data: DataSpec, splits: Mapping[str, AnnotationIndex]) -> None:
    """Refuses splits that fit other pictures than theirs, and scoring splits without objects."""
    for split, index in splits.items():
        require_sizes(index, split)
        require_boxes_inside(index, split)
    for split in dict.fromkeys((data.select_split, data.report_on)):
        _require_objects(splits[split], split)


def _undefined_metrics(data: DataSpec, smallest: int) -> dict[str, tuple[str, ...]]:
    """Returns split -> metrics that are undefined on it; only splits with such metrics.

    ``smallest``: images of the smallest regime, whose hold-out lies inside those of larger ones.
    """
    undefined = {
        split: find_undefined_metrics(open_scored(data, split, smallest))
        for split in dict.fromkeys((data.select_split, data.report_on))
    }
    return {split: names for split, names in undefined.items() if names}


def _level_ranges(train: AnnotationIndex) -> dict[str, list[float]]:
    return {kind: [scale.lowest, scale.highest] for kind, scale in train.level_ranges.items()}


def measure_fingerprint(data: DataSpec) -> str:
    """Returns the fingerprint of all splits in use, after a look at every picture file's stamp."""
    refresh_splits(data)
    return _fingerprint_of(data, _open_used_splits(data))


def _open_used_splits(data: DataSpec) -> dict[str, AnnotationIndex]:
    used = dict.fromkeys(("train", data.select_split, data.report_on))
    return {split: open_split(data, split) for split in used}


def _fingerprint_of(data: DataSpec, splits: Mapping[str, AnnotationIndex]) -> str:
    """Returns 16 hex digits for the annotations of these splits, and for a hold-out's share."""
    parts = [f"{split} {index.fingerprint}" for split, index in sorted(splits.items())]
    if is_share(data):
        assert isinstance(data.select_on, HoldoutSpec), "only a hold-out is a share"
        parts.append(f"select on a share of {share_of(str(data.select_on.holdout))}")
    return digest_of_parts("data", *parts)[:16]


def _holdout_sizes(data: DataSpec, regime_sizes: Mapping[str, int]) -> dict[str, int]:
    """Returns regime -> number of images that it selects on; empty unless they are a share."""
    if not is_share(data):
        return {}
    held_out = {name: open_scored(data, "holdout", num) for name, num in regime_sizes.items()}
    for name, index in held_out.items():
        _require_objects(index, f"holdout of regime {name}")
    return {name: len(index) for name, index in held_out.items()}


def _measure_splits(
    data: DataSpec, splits: Mapping[str, AnnotationIndex]
) -> dict[str, dict[str, FaultShare]]:
    images = {split: index.image_ids.tolist() for split, index in splits.items()}
    images["train"] = [*trainable_image_ids(data)]
    measured = {
        split: measure_faults(index, images[split], is_holdout=split == "holdout")
        for split, index in splits.items()
    }
    if data.unlabelled is not None:
        pool = open_split(data, "unlabelled")
        measured["unlabelled"] = measure_faults(pool, pool.image_ids.tolist())
    return _keep_faulty(measured)


def _keep_faulty(shares: dict[str, dict[str, FaultShare]]) -> dict[str, dict[str, FaultShare]]:
    return {name: by_kind for name, by_kind in shares.items() if by_kind}


def digest_of_file(path: str, where: str) -> str:
    """Returns 16 hex digits of the SHA-256 of a file.

    Raises:
        DataError: the file cannot be read; the message begins with ``where``.
    """
    try:
        return sha256_of_file(path).hex()[:16]
    except OSError as error:
        remedy = "Put the file there; relative paths start at the folder of the command."
        shown = f"{path} ({error.strerror})"
        raise DataError(explain(where, "must be a readable file", shown, remedy)) from None


def _require_objects(index: AnnotationIndex, split: str) -> None:
    """Refuses a scoring split without objects: average precision is undefined there."""
    if not counted_objects(index).any():
        must = "must hold at least one object of a category of train that can be found"
        remedy = (
            "Crowds and boxes without pixels do not count. Check the annotations with "
            "`rethink-ray data check`, or score on another split."
        )
        shown = f"{len(index)} images without any"
        raise DataError(explain(f"split {split}", must, shown, remedy))


def _has_masks(index: AnnotationIndex, image_ids: Sequence[int]) -> bool:
    """Returns whether some object of these images has a mask to learn from."""
    rows = np.isin(index.image_column("image_id"), image_ids)
    in_use = np.repeat(rows, index.image_column("num_objects"))
    return bool((in_use & index.masked_objects() & index.learnable_objects()).any())


def _require_learnable(index: AnnotationIndex, where: str, image_ids: Sequence[int]) -> None:
    """Refuses images without an object to learn from: every arm would end at 0 AP."""
    rows = np.isin(index.image_column("image_id"), image_ids)
    if not index.has_learnable(min_keypoints=0)[rows].any():
        must = "must hold at least one object to learn from"
        remedy = (
            "Crowds and boxes without pixels do not count. Check the annotations with "
            "`rethink-ray data check`, or ask for more images."
        )
        shown = f"{len(image_ids)} images without any"
        raise DataError(explain(where, must, shown, remedy))


def _draw_smallest(
    data: DataSpec,
    train: AnnotationIndex,
    regimes: Mapping[str, RegimeSpec],
    draws: Sequence[int],
) -> list[tuple[int, ...]]:
    """Returns the images of each draw of the smallest regime; larger regimes contain them.

    Raises:
        DataError: a draw has no object to learn from.
    """
    available = len(trainable_image_ids(data)) if draws else 0
    sizes = {name: num_images(regime.images, available) for name, regime in regimes.items()}
    name = min(sizes, key=lambda regime: sizes[regime], default="")
    if not name or sizes[name] == available:  # there is one draw of all images
        return []
    drawn = [regime_image_ids(data, regimes[name].images, draw) for draw in draws]
    for draw, image_ids in zip(draws, drawn, strict=True):
        _require_learnable(train, f"regimes.{name}, draw {draw} of replicate.vary", image_ids)
    return drawn
