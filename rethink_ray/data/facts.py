"""Gathers the facts of a study's data set: sizes, categories, fingerprints."""

from collections.abc import Mapping, Sequence

import numpy as np

from rethink_ray.data.class_counts import count_objects, find_untrained
from rethink_ray.data.cut_splits import open_cut
from rethink_ray.data.fault_shares import measure_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.leaks import count_dropped, refresh_splits
from rethink_ray.data.regimes import (
    choose_images,
    count_empty,
    digest_of_images,
    is_share,
    limit_to_scored,
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
from rethink_ray.spec.data_split import share_of
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_file
from rethink_ray.spec.regime import (
    HOLDOUTS,
    DataSpec,
    HoldoutSpec,
    RegimeSpec,
    num_images,
)


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
    _require_upstream(data, upstream_classes)
    scoring = [splits[split] for split in (data.select_split, data.report_split)]
    trainable = trainable_image_ids(data)
    subsets = {name: choose_images(data, trainable, one.images) for name, one in regimes.items()}
    for name, image_ids in subsets.items():
        _require_learnable(splits["train"], f"regimes.{name}", image_ids)
    redrawn = _draw_smallest(data, splits["train"], trainable, regimes, draws)
    sizes = {name: len(image_ids) for name, image_ids in subsets.items()}
    pool = None if data.unlabelled is None else open_split(data, "unlabelled")
    return DataFacts(
        fingerprint=_fingerprint_of(data, splits),
        categories=splits["train"].categories,
        regime_sizes=sizes,
        regime_digests={name: digest_of_images(image_ids) for name, image_ids in subsets.items()},
        split_sizes={split: len(index) for split, index in splits.items()},
        holdout_sizes=_holdout_sizes(data, splits, sizes),
        train_digest=digest_of_images(trainable),
        upstream_fingerprint=upstream_fingerprint(data),
        upstream_detection=_gather_upstream(data),
        unlabelled_fingerprint="" if pool is None else pool.fingerprint,
        files=contents,
        level_ranges=_level_ranges(splits["train"]),
        num_dropped=count_dropped(data),
        num_empty=count_empty(data),
        has_masks=_have_masks(splits["train"], [*subsets.values(), *redrawn]),
        num_keypoints=len(splits["train"].keypoint_names),
        scored_masks=all(map(_scores_masks, scoring)),
        scored_keypoints=min(len(index.keypoint_names) for index in scoring),
        cut=None if data.split is None else open_cut(data).facts,
        undefined_metrics=_undefined_metrics(data, splits, min(sizes.values(), default=0)),
        untrained_classes=_untrained_classes(splits, trainable),
        split_faults=_measure_splits(splits, trainable, pool),
        regime_faults=_measure_regimes(splits["train"], subsets),
    )


def _require_usable(data: DataSpec, splits: Mapping[str, AnnotationIndex]) -> None:
    """Refuses splits that fit other pictures than theirs, and scoring splits without objects."""
    for split, index in splits.items():
        require_sizes(index, split)
        require_boxes_inside(index, split)
    for split in dict.fromkeys((data.select_split, data.report_split)):
        _require_objects(splits[split], split)


def _require_upstream(data: DataSpec, upstream_classes: Sequence[int]) -> None:
    for num_classes in upstream_classes:
        require_upstream_classes(data, num_classes)
    require_upstream_pictures(data)


def _gather_upstream(data: DataSpec) -> DataFacts | None:
    """Returns the facts of the data set of an upstream detector; ``None`` without one."""
    if data.upstream_detection is None:
        return None
    return gather_facts(data.upstream_detection, {"all": RegimeSpec(images="all")})


def _untrained_classes(
    splits: Mapping[str, AnnotationIndex], trainable: Sequence[int]
) -> dict[str, tuple[str, ...]]:
    """Returns split that scores -> classes without an object to learn from; only with some."""
    untrained = find_untrained(count_objects(splits, trainable))
    return {split: tuple(names) for split, names in untrained.items() if names}


def _undefined_metrics(
    data: DataSpec, splits: Mapping[str, AnnotationIndex], smallest: int
) -> dict[str, tuple[str, ...]]:
    """Returns split -> metrics that are undefined on it; only splits with such metrics.

    ``smallest``: images of the smallest regime, whose hold-out lies inside those of larger ones.
    """
    undefined = {
        split: find_undefined_metrics(limit_to_scored(data, splits[split], split, smallest))
        for split in dict.fromkeys((data.select_split, data.report_split))
    }
    return {split: names for split, names in undefined.items() if names}


def _level_ranges(train: AnnotationIndex) -> dict[str, list[float]]:
    return {kind: [scale.lowest, scale.highest] for kind, scale in train.level_ranges.items()}


def measure_fingerprint(data: DataSpec) -> str:
    """Returns the fingerprint of all splits in use, after a look at every picture file's stamp."""
    refresh_splits(data)
    return _fingerprint_of(data, _open_used_splits(data))


def _open_used_splits(data: DataSpec) -> dict[str, AnnotationIndex]:
    used = dict.fromkeys(("train", data.select_split, data.report_split))
    return {split: open_split(data, split) for split in used}


def _fingerprint_of(data: DataSpec, splits: Mapping[str, AnnotationIndex]) -> str:
    """Returns 16 hex digits for the annotations of these splits, and for a hold-out's share."""
    parts = [f"{split} {index.fingerprint}" for split, index in sorted(splits.items())]
    if is_share(data):
        assert isinstance(data.select_on, HoldoutSpec), "only a hold-out is a share"
        parts.append(f"select on a share of {share_of(str(data.select_on.holdout))}")
    return digest_of_parts("data", *parts)[:16]


def _holdout_sizes(
    data: DataSpec, splits: Mapping[str, AnnotationIndex], regime_sizes: Mapping[str, int]
) -> dict[str, int]:
    """Returns regime -> number of images that it selects on; empty unless they are a share."""
    if not is_share(data):
        return {}
    held_out = {
        name: limit_to_scored(data, splits["holdout"], "holdout", num)
        for name, num in regime_sizes.items()
    }
    for name, index in held_out.items():
        _require_objects(index, f"holdout of regime {name}")
    return {name: len(index) for name, index in held_out.items()}


def _measure_splits(
    splits: Mapping[str, AnnotationIndex], trainable: Sequence[int], pool: AnnotationIndex | None
) -> dict[str, dict[str, FaultShare]]:
    images = {split: index.image_ids.tolist() for split, index in splits.items()}
    images["train"] = [*trainable]
    measured = {
        split: measure_faults(index, images[split], is_holdout=split in HOLDOUTS)
        for split, index in splits.items()
    }
    if pool is not None:
        measured["unlabelled"] = measure_faults(pool, pool.image_ids.tolist())
    return _keep_faulty(measured)


def _measure_regimes(
    train: AnnotationIndex, subsets: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, FaultShare]]:
    return _keep_faulty({name: measure_faults(train, ids) for name, ids in subsets.items()})


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


def _have_masks(train: AnnotationIndex, subsets: Sequence[Sequence[int]]) -> bool:
    """Returns whether each of these sets of images has an object with a mask to learn from."""
    image_id, num_objects = train.image_column("image_id"), train.image_column("num_objects")
    masked = train.masked_objects() & train.learnable_objects()
    of_subsets = (np.repeat(np.isin(image_id, ids), num_objects) for ids in subsets)
    return train.has_masks and all((masked & in_use).any() for in_use in of_subsets)


def _scores_masks(index: AnnotationIndex) -> bool:
    """Returns whether some object that counts when the split is scored has a mask."""
    return bool((counted_objects(index) & index.masked_objects()).any())


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
    trainable: Sequence[int],
    regimes: Mapping[str, RegimeSpec],
    draws: Sequence[int],
) -> list[tuple[int, ...]]:
    """Returns the images of each draw of the smallest regime; larger regimes contain them.

    Raises:
        DataError: a draw has no object to learn from.
    """
    if not draws or not regimes:
        return []
    sizes = {name: num_images(one.images, len(trainable)) for name, one in regimes.items()}
    name = min(sizes, key=lambda regime: sizes[regime])
    if sizes[name] == len(trainable):  # there is one draw of all images
        return []
    drawn = [choose_images(data, trainable, regimes[name].images, draw) for draw in draws]
    for draw, image_ids in zip(draws, drawn, strict=True):
        _require_learnable(train, f"regimes.{name}, draw {draw} of replicate.vary", image_ids)
    return drawn
