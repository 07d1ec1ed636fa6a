"""NAS-FPN: the pyramid found by architecture search (Ghiasi et al. 2019, fig. 6: 7-node cell).

The cell is repeated. Every node merges two maps and applies ReLU, a 3x3 convolution and a norm. The
cell has five levels. For a detector that reads fewer (``tiny``), nodes without an effect on its
levels are left out.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rethink_ray.detection.fusing import (
    RepeatedCells,
    add_coarser_levels,
    build_fuse_conv,
    resample,
)
from rethink_ray.detection.norms import NormLayer

NUM_LEVELS = 5
"""P3 to P7, the levels for which the cell was searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that merges two maps. Maps 0 to 4 are the inputs, finest first; nodes begin at 5."""

    level: int
    """The node's level, counted from the finest."""
    inputs: tuple[int, int]
    gated: bool
    """Whether the finer input is scaled by the coarser one's global maximum before the addition."""
    rest: tuple[int, ...] = ()
    """Maps of this level that no other node reads; an output node adds them."""
    is_output: bool = True


CELL: tuple[Node, ...] = (
    Node(level=1, inputs=(1, 3), gated=True, is_output=False),
    Node(level=1, inputs=(1, 5), gated=False, is_output=False),
    Node(level=0, inputs=(0, 6), gated=False),
    Node(level=1, inputs=(6, 7), gated=False),
    Node(level=2, inputs=(7, 8), gated=True, rest=(2,)),
    Node(level=4, inputs=(6, 9), gated=True, rest=(4,)),
    Node(level=3, inputs=(9, 10), gated=True),
)


class NasFpn(RepeatedCells):
    """A NAS-FPN neck; it computes with five levels, even if it returns fewer."""

    merge: Literal["gate", "sum"] = "gate"
    """How gated nodes merge their maps; ``sum`` makes them plain additions."""

    def build_cells(self, width: int, norm: NormLayer, repeats: int) -> Iterator[nn.Module]:
        """Builds, for each repeat, the nodes that an output level depends on."""
        return (
            nn.ModuleDict({str(number): build_fuse_conv(width, norm) for number in kept})
            for kept in _list_kept_nodes(repeats, len(self.names))
        )

    def forward(self, stages: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Returns the levels after all repeats."""
        maps = add_coarser_levels(self.lateral(list(stages.values())), NUM_LEVELS)
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        for cell in self.cells:
            assert isinstance(cell, nn.ModuleDict)
            maps = _run_cell(cell, maps, sizes, has_gates=self.merge == "gate")
        return OrderedDict(zip(self.names, maps, strict=False))


def _run_cell(
    cell: nn.ModuleDict,
    levels: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    *,
    has_gates: bool,
) -> list[Tensor]:
    """Runs one repeat; levels without a kept node stay as they are, since no node reads them."""
    maps = dict(enumerate(levels))
    at = {
        **{i: i for i in range(NUM_LEVELS)},
        **{_number_node(i): n.level for i, n in enumerate(CELL)},
    }
    out = list(levels)
    for number, node in ((_number_node(i), node) for i, node in enumerate(CELL)):
        if str(number) not in cell:
            continue
        coarser, finer = (
            resample(maps[i], at[i], node.level, sizes[node.level])
            for i in sorted(node.inputs, key=lambda i: -at[i])
        )
        is_gated = node.gated and has_gates
        merged = coarser + (_weigh_channels(coarser) * finer if is_gated else finer)
        for i in node.rest:
            merged = merged + maps[i]
        maps[number] = cell[str(number)](merged)
        if node.is_output:
            out[node.level] = maps[number]
    return out


def _weigh_channels(x: Tensor) -> Tensor:
    """Returns ``[N, C, 1, 1]`` in 0..1: the sigmoid of each channel's largest value.

    On CUDA ``amax`` has a deterministic gradient; adaptive pooling does not.
    """
    return torch.sigmoid(x.amax(dim=(2, 3), keepdim=True))


def _list_kept_nodes(repeats: int, num_levels: int) -> list[tuple[int, ...]]:
    """Lists, for each repeat, the numbers of the nodes that the finest levels depend on."""
    needed_levels = set(range(num_levels))
    kept: list[tuple[int, ...]] = []
    for _ in range(repeats):
        numbers = {
            _number_node(i) for i, n in enumerate(CELL) if n.is_output and n.level in needed_levels
        }
        for i, node in reversed(list(enumerate(CELL))):
            if _number_node(i) in numbers:
                numbers |= {*node.inputs, *node.rest}
        kept.append(tuple(sorted(n for n in numbers if n >= NUM_LEVELS)))
        needed_levels = {n for n in numbers if n < NUM_LEVELS}
    return kept[::-1]


def _number_node(index: int) -> int:
    return NUM_LEVELS + index
