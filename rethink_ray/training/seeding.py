"""Seeds as a pure function of what they are for.

No generator's state is ever saved: whoever stands at the same position of the same run draws the
same numbers, in whichever process.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rethink_ray.spec.hashing import derive_seed


def generator_at(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator of its own for one purpose at one position of a run."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *position))


@contextmanager
def seeded(device: torch.device, seed: int, purpose: str, *position: int) -> Iterator[None]:
    """Inside, torch's global generators stand at this position; outside they are untouched.

    Our own code draws from generators it is given. This is for libraries (dropout, stochastic
    depth) that know only the global ones.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, purpose, *position))
        yield
