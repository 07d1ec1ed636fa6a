import torch

from rethink_ray.spec.hashing import derive_seed
from rethink_ray.training.seeding import generator_at, seed_torch

CPU = torch.device("cpu")


def test_seeds_of_different_purposes_and_positions_differ() -> None:
    seeds = {
        derive_seed(seed, purpose, *position)
        for seed in (0, 1)
        for purpose in ("init", "data")
        for position in ((), (0,), (1,), (0, 0))
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_depends_on_its_position_alone() -> None:
    first = torch.rand(3, generator=generator_at(7, "order", 4))
    torch.rand(1, generator=generator_at(7, "order", 3))
    assert torch.equal(first, torch.rand(3, generator=generator_at(7, "order", 4)))


def test_seeding_for_a_library_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    with seed_torch(CPU, 3, "update", 5):
        first = torch.rand(2)
    assert torch.equal(before, torch.get_rng_state())
    with seed_torch(CPU, 3, "update", 5):
        assert torch.equal(first, torch.rand(2))
