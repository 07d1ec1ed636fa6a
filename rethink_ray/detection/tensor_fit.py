"""Compares the names, shapes and types of weights with those that a network needs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rethink_ray.spec.errors import Explanation, SpecError

_SHOWN = 3
ANOTHER_FILE = "Its training had diverged: take a file from before that, or other weights."


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFit:
    """How far a state dict fills a network."""

    num_needed: int
    """Tensors of the network, without optional ones that the state dict lacks."""
    num_fitting: int
    """Those of them that the state dict has in their shape and type."""
    missing: tuple[str, ...]
    """Names that the network has and the state dict lacks."""
    left_over: tuple[str, ...]
    """Names that the state dict has and the network lacks."""
    of_another_shape: tuple[str, ...]
    """Name and both shapes: ``fc.weight (2, 3) for (4, 3)``."""
    of_another_type: tuple[str, ...]
    """Name and both types: ``fc.weight int8 for float32``."""

    @property
    def is_exact(self) -> bool:
        """Whether every needed tensor fits and no tensor is left over."""
        return self.num_fitting == self.num_needed and not self.left_over

    @property
    def words(self) -> str:
        """The number of tensors that fit, and three examples of each difference, in words."""
        parts = {
            "missing": self.missing,
            "left over": self.left_over,
            "of another shape": self.of_another_shape,
            "of another type": self.of_another_type,
        }
        fitting = f"{self.num_fitting} of its {self.num_needed} tensors"
        return "; ".join(
            [fitting, *(f"{word}: {list_few(names)}" for word, names in parts.items() if names)]
        )


def compare_tensors(
    needed: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    *,
    optional: Collection[str] = (),
) -> TensorFit:
    """Returns how far a state dict fills a network; tensors may be without content (``meta``).

    Args:
        needed: the network's tensors.
        state: the state dict, under the network's names.
        optional: names that the state dict may lack; counters of batch norms always are.
    """
    counters = {k for k in {*needed, *state} if k.endswith("num_batches_tracked")}
    common = needed.keys() & state.keys() - counters
    shapes = {k for k in common if needed[k].shape != state[k].shape}
    kinds = {k for k in common - shapes if not _is_same_kind(needed[k], state[k])}
    missing = needed.keys() - state.keys() - counters - set(optional)
    return TensorFit(
        num_needed=len(common) + len(missing),
        num_fitting=len(common) - len(shapes) - len(kinds),
        missing=tuple(sorted(missing)),
        left_over=tuple(sorted(state.keys() - needed.keys() - counters)),
        of_another_shape=tuple(
            f"{k} {tuple(state[k].shape)} for {tuple(needed[k].shape)}" for k in sorted(shapes)
        ),
        of_another_type=tuple(
            f"{k} {_name_type(state[k])} for {_name_type(needed[k])}" for k in sorted(kinds)
        ),
    )


def require_finite_weights(state: Mapping[str, Tensor], names: Iterable[str], where: str) -> None:
    """Refuses weights with a NaN or an infinity: every run from them would diverge.

    Args:
        state: the state dict of a file.
        names: the tensors of it that a network takes over.
        where: the beginning of error messages.

    Raises:
        SpecError: names the tensors.
    """
    broken = [name for name in names if not bool(torch.isfinite(state[name].float()).all())]
    if broken:
        must, shown = "must hold finite numbers", f"NaN or infinity in {list_few(broken)}"
        raise SpecError(Explanation.of(where, must, shown, ANOTHER_FILE))


def list_few(names: Sequence[str]) -> str:
    """Returns the first three names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_same_kind(needed: Tensor, given: Tensor) -> bool:
    """Whether both hold floats or neither does: whole numbers would be quantised weights."""
    return needed.is_floating_point() == given.is_floating_point()


def _name_type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
