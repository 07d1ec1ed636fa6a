"""Seeds as a pure function of their purpose and position.

No generator's state is ever saved. The same position of the same run draws the same numbers in any
process.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rethink_ray.spec.hashing import derive_seed


def generator_at(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator of its own for one purpose at one position of a run."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *position))


@contextmanager
def seed_torch(device: torch.device, seed: int, purpose: str, *position: int) -> Iterator[None]:
    """Inside, torch's global generators are seeded for this position; afterwards they are restored.

    Our own code draws from generators that it is given. Layers such as dropout and stochastic depth
    draw from the global ones, and so may the code of any other network.
    """
    value = derive_seed(seed, purpose, *position)
    before = [(generator, generator.get_state()) for generator in _global_generators(device)]
    try:
        for generator, _ in before:
            generator.manual_seed(value)
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)


def _global_generators(device: torch.device) -> list[torch.Generator]:
    """Those of the CPU and of the device.

    ``torch.manual_seed`` and ``fork_rng`` ask every kind of device that there could be, and format
    a stack trace for each.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    return generators
