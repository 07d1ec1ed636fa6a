"""Gathers the facts of a study's data set: sizes, categories, fingerprints."""

from collections.abc import Mapping

import numpy as np

from rethink_ray.data.index import AnnotationIndex, open_split
from rethink_ray.data.leaks import count_dropped, refresh_splits
from rethink_ray.data.regimes import digest_of_images, regime_image_ids, trainable_image_ids
from rethink_ray.data.sizes import require_sizes
from rethink_ray.data.upstream import require_upstream_pictures, upstream_fingerprint
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
        DataError: a regime is larger than the data set, a split or a file does not exist, most
            pictures of a split have another size than annotated, a scoring split has no object, or
            a picture of ``data.upstream`` cannot be read.
    """
    contents = {path: digest_of_file(path, where) for path, where in (files or {}).items()}
    splits = _open_used_splits(data)
    for split, index in splits.items():
        require_sizes(index, split)
    for split in dict.fromkeys((data.select_split, data.report_on)):
        _require_objects(splits[split], split)
    require_upstream_pictures(data)
    scoring = [splits[split] for split in (data.select_split, data.report_on)]
    subsets = {name: regime_image_ids(data, regime.images) for name, regime in regimes.items()}
    return DataFacts(
        fingerprint=_digest_of_splits(splits),
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
        level_ranges={
            kind: [scale.lowest, scale.highest]
            for kind, scale in splits["train"].level_ranges.items()
        },
        num_dropped=count_dropped(data),
        has_masks=splits["train"].has_masks,
        num_keypoints=len(splits["train"].keypoint_names),
        scored_masks=all(index.has_masks for index in scoring),
        scored_keypoints=min(len(index.keypoint_names) for index in scoring),
    )


def measure_fingerprint(data: DataSpec) -> str:
    """Returns the fingerprint of all splits in use, after a look at every picture file's stamp."""
    refresh_splits(data)
    return _digest_of_splits(_open_used_splits(data))


def _open_used_splits(data: DataSpec) -> dict[str, AnnotationIndex]:
    used = dict.fromkeys(("train", data.select_split, data.report_on))
    return {split: open_split(data, split) for split in used}


def _digest_of_splits(splits: Mapping[str, AnnotationIndex]) -> str:
    prints = (f"{split} {index.fingerprint}" for split, index in sorted(splits.items()))
    return digest_of_parts("data", *prints)[:16]


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
    rows = np.isin(index.image_column("image_id"), index.image_ids)
    owner = np.repeat(rows, index.image_column("num_objects"))
    num_objects = int((owner & (index.object_column("is_crowd") == 0)).sum())
    if not num_objects:
        must = "must hold at least one object of a category of train that is no crowd"
        remedy = "Check the annotations with `rethink-ray data check`, or score on another split."
        shown = f"{len(index)} images without any"
        raise DataError(explain(f"split {split}", must, shown, remedy))
