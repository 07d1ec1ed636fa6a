"""Which parts of a detector can stay as they were loaded, and from which update on they train.

The parts stand in the order in which pixels pass them, so that everything before a frozen part is
frozen too and no gradient has to pass one.
"""

from typing import Final, Literal

from rethink_ray.spec.model import PositiveFloat, Spec

Frozen = Literal[
    "none", "stem", "layer1", "layer2", "layer3", "layer4", "backbone", "neck", "heads"
]
WHOLE_BACKBONE: Final[tuple[Frozen, ...]] = ("layer4", "backbone", "neck", "heads")
"""Depths that freeze every stage of the backbone."""
ABOVE_BACKBONE: Final[tuple[Frozen, ...]] = ("neck", "heads")
"""Depths that need a whole detector to start from."""


class UnfreezeSpec(Spec):
    """When everything that ``init.frozen`` froze begins to train."""

    after: PositiveFloat
    """The first update in which it trains, in units of 1x from the beginning of the run: at or
    before the first decay point of the shortest length, so that all lengths share their trunk.
    Source: Kumar et al. 2022 (arXiv 2202.10054: last layers first, then all); the unit is ours."""

    def first_update(self, unit: int) -> int:
        """Number of the first update in which everything trains; ``unit`` is updates in 1x."""
        return round(self.after * unit)
