"""Gathers the facts of a study's data set: sizes, categories, fingerprints."""

from collections.abc import Mapping, Sequence

import numpy as np

from rethink_ray.data.index import AnnotationIndex, open_split
from rethink_ray.data.leaks import count_dropped
from rethink_ray.data.regimes import (
    count_empty,
    digest_of_images,
    regime_image_ids,
    trainable_image_ids,
)
from rethink_ray.data.scorable import counted_objects, find_undefined_metrics
from rethink_ray.data.upstream import upstream_fingerprint
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of_parts, sha256_of_file
from rethink_ray.spec.regime import DataSpec, RegimeSpec


def gather_facts(
    data: DataSpec, regimes: Mapping[str, RegimeSpec], files: Mapping[str, str] | None = None
) -> DataFacts:
    """Returns the facts of all splits and regimes of a study; builds missing indexes.

    Args:
        data: where the images are.
        regimes: name -> regime.
        files: path of each file of weights -> the study key that names it, for messages.

    Raises:
        DataError: a regime is larger than the data set, a split or a file does not exist, a
            scoring split has no object, or a regime none to learn from.
    """
    contents = {path: digest_of_file(path, where) for path, where in (files or {}).items()}
    used = dict.fromkeys(("train", data.select_split, data.report_on))
    splits = {split: open_split(data, split) for split in used}
    for split in dict.fromkeys((data.select_split, data.report_on)):
        _require_objects(splits[split], split)
    scoring = [splits[split] for split in (data.select_split, data.report_on)]
    undefined = {
        split: find_undefined_metrics(splits[split])
        for split in dict.fromkeys((data.select_split, data.report_on))
    }
    subsets = {name: regime_image_ids(data, regime.images) for name, regime in regimes.items()}
    for name, image_ids in subsets.items():
        _require_learnable(splits["train"], name, image_ids)
    return DataFacts(
        fingerprint=digest_of_parts(
            "data", *(f"{split} {index.fingerprint}" for split, index in sorted(splits.items()))
        )[:16],
        categories=splits["train"].categories,
        regime_sizes={name: len(image_ids) for name, image_ids in subsets.items()},
        regime_digests={name: digest_of_images(image_ids) for name, image_ids in subsets.items()},
        split_sizes={split: len(index) for split, index in splits.items()},
        train_digest=digest_of_images(trainable_image_ids(data)),
        upstream_fingerprint=upstream_fingerprint(data),
        unlabelled_fingerprint=(
            "" if data.unlabelled is None else open_split(data, "unlabelled").fingerprint
        ),
        files=contents,
        num_dropped=count_dropped(data),
        num_empty=count_empty(data),
        has_masks=all(_has_masks(splits["train"], ids) for ids in subsets.values())
        and splits["train"].has_masks,
        num_keypoints=len(splits["train"].keypoint_names),
        scored_masks=all(
            bool((counted_objects(index) & index.masked_objects()).any()) for index in scoring
        ),
        scored_keypoints=min(len(index.keypoint_names) for index in scoring),
        undefined_metrics={split: names for split, names in undefined.items() if names},
    )


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


def _require_learnable(index: AnnotationIndex, regime: str, image_ids: Sequence[int]) -> None:
    """Refuses a regime without an object to learn from: every arm would end at 0 AP."""
    rows = np.isin(index.image_column("image_id"), image_ids)
    if not index.has_learnable(min_keypoints=0)[rows].any():
        must = "must hold at least one object to learn from"
        remedy = (
            "Crowds and boxes without pixels do not count. Check the annotations with "
            "`rethink-ray data check`, or ask for more images."
        )
        shown = f"{len(image_ids)} images without any"
        raise DataError(explain(f"regimes.{regime}", must, shown, remedy))
