"""Regimes: nested subsets of the training images, and the hold-out that no regime contains."""

from collections.abc import Iterable

from rethink_ray.data.chance import hash_order
from rethink_ray.data.contents import find_same_pictures
from rethink_ray.data.index import open_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, Images, num_images


def regime_image_ids(data: DataSpec, images: Images, draw: int = 0) -> tuple[int, ...]:
    """Returns the training images of a regime.

    A regime of n images has the first n of one order of ``trainable_image_ids``, so regimes of one
    draw are nested. The order depends on ``subset_seed``, the draw and the ids.

    Raises:
        DataError: there are fewer images, or the share is less than one of them.
    """
    purpose = f"regime, draw {draw}" if draw else "regime"
    order = hash_order(purpose, data.subset_seed, trainable_image_ids(data))
    num_wanted = num_images(images, len(order))
    if not num_wanted:
        must = f"must leave at least one of the {len(order)} training images"
        raise DataError(explain("regimes: images", must, images, "Write a number of images."))
    if num_wanted > len(order):
        must = f"must be at most the {len(order)} training images that can be read"
        num_held_out = len(holdout_image_ids(data))
        must += f" (outside the hold-out of {num_held_out})" if num_held_out else ""
        raise DataError(explain("regimes: images", must, images, "Write `all` to use every one."))
    return tuple(order[:num_wanted])


def trainable_image_ids(data: DataSpec) -> tuple[int, ...]:
    """Returns the readable training images outside the hold-out, ascending.

    Under ``data.duplicates: drop`` they contain no picture of a scoring split or of the hold-out.
    """
    train, held_out = open_split(data, "train"), set(holdout_image_ids(data))
    left = [int(key) for key in train.image_ids if int(key) not in held_out]
    if not held_out or data.duplicates != "drop":
        return tuple(left)
    twins = find_same_pictures(train.pictures(left), train.pictures(held_out))
    dropped = {left[row] for row, _ in twins}
    return tuple(key for key in left if key not in dropped)


def holdout_image_ids(data: DataSpec) -> tuple[int, ...]:
    """Returns the held-out training images, ascending; empty if ``select_on`` names a split."""
    if not isinstance(data.select_on, HoldoutSpec):
        return ()
    return tuple(int(image_id) for image_id in open_split(data, "holdout").image_ids)


def digest_of_images(image_ids: Iterable[int]) -> str:
    """Returns 16 hex digits for a set of images; their order does not matter."""
    return digest_of_parts("images", *sorted(image_ids))[:16]
