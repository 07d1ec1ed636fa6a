"""Loads a whole detector's weights: backbone, neck and heads."""

from collections.abc import Mapping

from torch import Tensor, nn

from rethink_ray.detection.pixel_norm import is_pixel_norm
from rethink_ray.detection.tensor_fit import compare_tensors
from rethink_ray.spec.errors import SpecError, explain


def load_whole_detector(detector: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copies a state dict into the detector; every name and shape must agree.

    Batch counters of norms may be missing or have another shape, because no number depends on them
    and frozen batch normalisation has none. A state dict without mean and deviation of the pixels,
    such as torchvision's, keeps the detector's.

    Args:
        detector: gets the weights.
        state: of a detector of the same settings; one of the two may have frozen norms.
        where: the beginning of error messages.

    Raises:
        SpecError: a name is missing or left over, or a shape differs; the message lists them.
    """
    ours = detector.state_dict()
    require_fitting_detector(ours, state, where)
    fitting = {k: v for k, v in state.items() if k in ours and v.shape == ours[k].shape}
    detector.load_state_dict({**ours, **fitting})


def require_fitting_detector(
    needed: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> None:
    """Refuses a state dict that does not fill a detector exactly.

    Args:
        needed: the detector's tensors; they may be without content (on ``meta``).
        state: under our names.
        where: the beginning of error messages.

    Raises:
        SpecError: as ``load_whole_detector``.
    """
    fit = compare_tensors(needed, state, optional={k for k in needed if is_pixel_norm(k)})
    if not fit.is_exact:
        must = "must fill the whole detector exactly"
        remedy = "Both must agree in family, backbone, norms, neck, heads and categories."
        raise SpecError(explain(where, must, fit.words, remedy))
