"""NAS-FPN: the pyramid whose wiring was searched (Ghiasi et al. 2019, fig. 6: the 7-node cell).

The cell is repeated; every node merges two maps, then ReLU, a 3x3 convolution and a norm. It knows
five levels. A detector that reads fewer (``tiny``) still gets all five inside, and the nodes that
none of its levels depends on are left out.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethink_ray.detection.fusing import RepeatedCells, fuse_conv, grow, resample
from rethink_ray.detection.norms import NormLayer

NUM_LEVELS = 5
"""P3 to P7: what the cell was searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One merging node. Maps are numbered: 0 to 4 come in, finest first, nodes from 5 on."""

    level: int
    """Where it stands, counted from the finest."""
    inputs: tuple[int, int]
    gated: bool
    """The finer input is scaled by the coarser one's global maximum, else both are added."""
    rest: tuple[int, ...] = ()
    """Maps of this level that nothing else reads; an output adds them."""
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
    """Five levels inside, whatever comes out."""

    def build_cells(self, width: int, norm: NormLayer, repeats: int) -> Iterator[nn.Module]:
        """Of each repeat the nodes that a level which comes out depends on."""
        return (
            nn.ModuleDict({str(number): fuse_conv(width, norm) for number in kept})
            for kept in _kept_nodes(repeats, len(self.names))
        )

    def forward(self, stages: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """The levels after all repeats."""
        maps = grow(self.lateral(list(stages.values())), NUM_LEVELS)
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        for cell in self.cells:
            assert isinstance(cell, nn.ModuleDict)
            maps = _run(cell, maps, sizes)
        return OrderedDict(zip(self.names, maps, strict=False))


def _run(
    cell: nn.ModuleDict, levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """One repeat; levels that no kept node makes stay as they came (nothing reads them)."""
    maps = dict(enumerate(levels))
    at = {**{i: i for i in range(NUM_LEVELS)}, **{_number(i): n.level for i, n in enumerate(CELL)}}
    out = list(levels)
    for number, node in ((_number(i), node) for i, node in enumerate(CELL)):
        if str(number) not in cell:
            continue
        coarser, finer = (
            resample(maps[i], at[i], node.level, sizes[node.level])
            for i in sorted(node.inputs, key=lambda i: -at[i])
        )
        merged = coarser + (_gate(coarser) * finer if node.gated else finer)
        for i in node.rest:
            merged = merged + maps[i]
        maps[number] = cell[str(number)](merged)
        if node.is_output:
            out[node.level] = maps[number]
    return out


def _gate(x: Tensor) -> Tensor:
    """``[N, C, 1, 1]`` in 0..1, from the largest value of each channel.

    ``amax`` has a deterministic gradient on CUDA, adaptive pooling has none.
    """
    return torch.sigmoid(x.amax(dim=(2, 3), keepdim=True))


def _kept_nodes(repeats: int, num_levels: int) -> list[tuple[int, ...]]:
    """For each repeat the numbers of the nodes that the finest ``num_levels`` depend on."""
    needed_levels = set(range(num_levels))
    kept: list[tuple[int, ...]] = []
    for _ in range(repeats):
        numbers = {
            _number(i) for i, n in enumerate(CELL) if n.is_output and n.level in needed_levels
        }
        for i, node in reversed(list(enumerate(CELL))):
            if _number(i) in numbers:
                numbers |= {*node.inputs, *node.rest}
        kept.append(tuple(sorted(n for n in numbers if n >= NUM_LEVELS)))
        needed_levels = {n for n in numbers if n < NUM_LEVELS}
    return kept[::-1]


def _number(index: int) -> int:
    return NUM_LEVELS + index
