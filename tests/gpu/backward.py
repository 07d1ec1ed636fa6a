"""The backward pass of tensors of a pretended GPU, node by node in Python.

PyTorch's own engine starts a thread for each GPU, once in a process, and finds none here. This one
runs the same nodes in the same order, so gradients are the same to the last bit; and each node's
operations pass the same rules as those of the forward pass.
"""

import heapq
from collections import Counter
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from tests.gpu.cuda_tensors import MixedDevices


@torch.no_grad()
def run_backward(loss: Tensor) -> None:
    """Every trained parameter that ``loss`` depends on has its gradient, added to an older one."""
    root: Any = loss.grad_fn
    waiting = _count_uses(root)
    gradients: dict[Any, list[Tensor | None]] = {root: [torch.ones_like(loss)]}
    numbers = count()
    ready = [(-root._sequence_nr(), next(numbers), root)]
    while ready:
        *_, node = heapq.heappop(ready)
        incoming = gradients.pop(node)
        outgoing = _call(node, incoming)
        for (after, position), gradient in zip(node.next_functions, outgoing, strict=False):
            if after is None:
                continue
            slots = gradients.setdefault(after, [None] * len(after._input_metadata))
            if gradient is not None:
                fitting = _fit(gradient, after._input_metadata[position], node)
                older = slots[position]
                slots[position] = fitting if older is None else older + fitting
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (-_order(after), next(numbers), after))


def _order(node: Any) -> int:
    """PyTorch writes gradients into parameters before anything else."""
    return 2**62 if hasattr(node, "variable") else node._sequence_nr()


def _count_uses(root: Any) -> Counter[Any]:
    uses: Counter[Any] = Counter()
    stack, seen = [root], {root}
    while stack:
        for after, _ in stack.pop().next_functions:
            if after is None:
                continue
            uses[after] += 1
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return uses


def _call(node: Any, incoming: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    if hasattr(node, "variable"):
        _accumulate(node.variable, incoming[0])
        return ()
    if all(gradient is None for gradient in incoming):
        return (None,) * len(node.next_functions)
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        whole = [
            torch.zeros(m.shape, dtype=m.dtype, device=m.device) if g is None else g
            for g, m in zip(incoming, node._input_metadata, strict=True)
        ]
        outgoing = node.apply(*whole)
    else:
        outgoing = node(*incoming)
    return outgoing if isinstance(outgoing, tuple) else (outgoing,)


def _fit(gradient: Tensor, metadata: Any, node: Any) -> Tensor:
    """As PyTorch checks it: of one device, summed over dimensions that were broadcast, one type."""
    if gradient.device != metadata.device:
        raise MixedDevices(f"{node.name()} returned a gradient on {gradient.device}")
    if gradient.shape != torch.Size(metadata.shape):
        gradient = gradient.sum_to_size(metadata.shape)
    return gradient.to(metadata.dtype)


def _accumulate(parameter: nn.Parameter, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = gradient.detach()
    else:
        parameter.grad += gradient
