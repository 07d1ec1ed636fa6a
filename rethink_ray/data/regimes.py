"""How much data: nested subsets of the training images, and the hold-out that none of them sees."""

from collections.abc import Iterable

from rethink_ray.data.chance import hash_order
from rethink_ray.data.contents import same_pictures
from rethink_ray.data.index import open_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, Images, num_images


def regime_image_ids(data: DataSpec, images: Images, draw: int = 0) -> tuple[int, ...]:
    """The training images of a regime, in the order that nests them.

    A regime of n images is the first n of one order over ``trainable_image_ids``; the order knows
    only ``subset_seed``, the draw and the ids. Each draw has an order of its own, so regimes are
    nested inside every draw. ``DataError`` if there are fewer.
    """
    purpose = f"regime, draw {draw}" if draw else "regime"
    order = hash_order(purpose, data.subset_seed, trainable_image_ids(data))
    num_wanted = num_images(images, len(order))
    if num_wanted > len(order):
        must = f"must be at most the {len(order)} training images that can be read"
        num_held_out = len(holdout_image_ids(data))
        must += f" (outside the hold-out of {num_held_out})" if num_held_out else ""
        raise DataError(explain("regimes: images", must, images, "Write `all` to use every one."))
    return tuple(order[:num_wanted])


def trainable_image_ids(data: DataSpec) -> tuple[int, ...]:
    """The training images that can be read and are not held out, rising.

    With ``data.duplicates: drop`` nor do they show a picture that a scoring split or the hold-out
    shows.
    """
    train, held_out = open_split(data, "train"), set(holdout_image_ids(data))
    left = [int(key) for key in train.image_ids if int(key) not in held_out]
    if not held_out or data.duplicates != "drop":
        return tuple(left)
    twins = same_pictures(train.pictures(left), train.pictures(held_out))
    dropped = {left[row] for row, _ in twins}
    return tuple(key for key in left if key not in dropped)


def holdout_image_ids(data: DataSpec) -> tuple[int, ...]:
    """The training images kept for selection, by id; empty if ``select_on`` names a split."""
    if not isinstance(data.select_on, HoldoutSpec):
        return ()
    return tuple(int(image_id) for image_id in open_split(data, "holdout").image_ids)


def digest_of_images(image_ids: Iterable[int]) -> str:
    """16 hex characters that name this set of images, in whatever order it comes."""
    return digest_of_parts("images", *sorted(image_ids))[:16]
