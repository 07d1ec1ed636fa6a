from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from rethink_ray.data.order import RunOrder, epoch_order


def portraits(num_landscape: int, num_portrait: int) -> NDArray[np.bool_]:
    return np.array([False] * num_landscape + [True] * num_portrait)


def run_of(is_portrait: NDArray[np.bool_], batch_size: int, epochs: int) -> NDArray[np.int64]:
    order = RunOrder(seed=3, batch_size=batch_size)
    return np.concatenate([epoch_order(order, epoch, is_portrait) for epoch in range(epochs)])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 16, 64])
@pytest.mark.parametrize(("num_landscape", "num_portrait"), [(45, 15), (8, 40), (5, 5), (1, 2)])
def test_every_epoch_visits_every_image_once(
    batch_size: int, num_landscape: int, num_portrait: int
) -> None:
    is_portrait = portraits(num_landscape, num_portrait)
    num = len(is_portrait)
    run = run_of(is_portrait, batch_size, 5).reshape(5, num)
    assert (np.sort(run, axis=1) == np.arange(num)).all()
    if num > 10:
        assert all((one != two).any() for one, two in pairwise(run))


@pytest.mark.parametrize(("num_landscape", "num_portrait"), [(150, 50), (35, 165), (101, 100)])
def test_at_most_one_batch_of_an_epoch_holds_both_orientations(
    num_landscape: int, num_portrait: int
) -> None:
    is_portrait = portraits(num_landscape, num_portrait)
    run = is_portrait[run_of(is_portrait, 16, 16)]
    batches = run[: len(run) // 16 * 16].reshape(-1, 16)
    mixed = batches.any(axis=1) & ~batches.all(axis=1)
    assert mixed.sum() <= 16
    # inside a mixed batch the two orientations do not alternate
    assert all((np.diff(batch.astype(int)) != 0).sum() == 1 for batch in batches[mixed])


def test_batches_of_both_orientations_are_spread_over_the_epoch() -> None:
    is_portrait = portraits(400, 400)
    batches = is_portrait[run_of(is_portrait, 8, 1)].reshape(-1, 8).all(axis=1)
    early, late = batches[:50].sum(), batches[50:].sum()
    assert 15 <= early <= 35
    assert early + late == 50


def test_images_of_one_orientation_are_simply_shuffled() -> None:
    squares = portraits(100, 0)
    one, other = (epoch_order(RunOrder(seed=3, batch_size=size), 2, squares) for size in (8, 16))
    assert (one == other).all()
    assert (one == epoch_order(RunOrder(seed=3, batch_size=8), 2, ~squares)).all()


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    is_portrait = portraits(45, 15)
    first = epoch_order(RunOrder(seed=3, batch_size=8), 4, is_portrait)
    assert (first == epoch_order(RunOrder(seed=3, batch_size=8), 4, is_portrait)).all()
    assert (first != epoch_order(RunOrder(seed=4, batch_size=8), 4, is_portrait)).any()
