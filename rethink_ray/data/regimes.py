"""Regimes: nested subsets of the training images, and the hold-outs that no regime contains."""

from collections.abc import Iterable

from rethink_ray.data.chance import hash_order
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.splits import list_remaining, open_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import (
    REPORT_HOLDOUT,
    SELECT_HOLDOUT,
    DataSpec,
    HoldoutSpec,
    Images,
    num_held_out,
    num_images,
)


def regime_image_ids(data: DataSpec, images: Images, draw: int = 0) -> tuple[int, ...]:
    """Returns the training images of a regime.

    A regime of n images has the first n of one order of ``trainable_image_ids``, so regimes of one
    draw are nested. The order depends on ``subset_seed``, the draw and the ids.

    Raises:
        DataError: there are fewer images, or the share is less than one of them.
    """
    return choose_images(data, trainable_image_ids(data), images, draw)


def choose_images(
    data: DataSpec, trainable: Iterable[int], images: Images, draw: int = 0
) -> tuple[int, ...]:
    """Returns the images of a regime, as ``regime_image_ids``, out of the ``trainable`` ones.

    For a caller that asks for several regimes: it opens the data set once.
    """
    purpose = f"regime, draw {draw}" if draw else "regime"
    order = hash_order(purpose, data.subset_seed, trainable)
    num_wanted = num_images(images, len(order))
    if not num_wanted:
        must = f"must leave at least one of the {len(order)} training images"
        raise DataError(explain("regimes: images", must, images, "Write a number of images."))
    if num_wanted > len(order):
        must = f"must be at most the {len(order)} training images that can be read"
        num_held_out = len(holdout_image_ids(data))
        must += f" (outside the hold-out of {num_held_out})" if num_held_out else ""
        must += "" if data.keep_empty else " (data.keep_empty: false)"
        raise DataError(explain("regimes: images", must, images, "Write `all` to use every one."))
    return tuple(order[:num_wanted])


def trainable_image_ids(data: DataSpec) -> tuple[int, ...]:
    """Returns the readable training images outside all hold-outs, ascending.

    Under ``data.duplicates: drop`` they contain no picture of a scoring split or of a hold-out.
    """
    return list_remaining(data, open_split(data, "train"), holdout_image_ids(data))


def holdout_image_ids(data: DataSpec) -> tuple[int, ...]:
    """Returns the held-out training images; empty if study keys name splits alone.

    Where the hold-out of ``select_on`` is a share, these are the images that no regime may train
    on; a regime selects on the first ones of one order of them (``open_scored``).
    """
    cut = [
        split
        for split, scored in zip(
            (SELECT_HOLDOUT, REPORT_HOLDOUT), (data.select_on, data.report_on), strict=True
        )
        if isinstance(scored, HoldoutSpec)
    ]
    return tuple(int(key) for split in cut for key in open_split(data, split).image_ids)


def count_empty(data: DataSpec) -> int:
    """Counts the training images that ``data.keep_empty: false`` leaves out."""
    if data.keep_empty:
        return 0
    whole = data.model_copy(update={"keep_empty": True, "min_keypoints": None})
    return len(open_split(whole, "train")) - len(open_split(data, "train"))


def open_scored(data: DataSpec, split: str, num_trained_on: int) -> AnnotationIndex:
    """Returns the index of a split as a run on ``num_trained_on`` images is scored on it.

    Only a hold-out that selects and is a share differs from regime to regime: that of a smaller
    regime is inside that of a larger one.
    """
    return limit_to_scored(data, open_split(data, split), split, num_trained_on)


def limit_to_scored(
    data: DataSpec, index: AnnotationIndex, split: str, num_trained_on: int
) -> AnnotationIndex:
    """Returns the part of an open split that ``open_scored`` would open."""
    if split != SELECT_HOLDOUT or not is_share(data):
        return index
    assert isinstance(data.select_on, HoldoutSpec), "only a hold-out is a share"
    num = num_held_out(data.select_on.holdout, num_trained_on)
    order = hash_order("holdout", data.subset_seed, map(int, index.image_ids))
    return AnnotationIndex(index.directory, only=tuple(order[:num]))


def is_share(data: DataSpec) -> bool:
    """Returns whether ``select_on`` holds out a share, and so another one for each regime."""
    return isinstance(data.select_on, HoldoutSpec) and isinstance(data.select_on.holdout, str)


def digest_of_images(image_ids: Iterable[int]) -> str:
    """Returns 16 hex digits for a set of images; their order does not matter."""
    return digest_of_parts("images", *sorted(image_ids))[:16]
