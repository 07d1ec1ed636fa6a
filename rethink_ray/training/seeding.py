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
    draw from the global ones.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        value = derive_seed(seed, purpose, *position)
        if device.type == "cpu":
            # torch.manual_seed also formats a stack trace for each kind of device there could be
            torch.default_generator.manual_seed(value)
        else:
            torch.manual_seed(value)
        yield
