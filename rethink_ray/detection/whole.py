"""Loads a whole detector's weights: backbone, neck and heads."""

from collections.abc import Mapping

from torch import Tensor, nn

from rethink_ray.detection.pixel_norm import is_pixel_norm
from rethink_ray.spec.errors import SpecError, explain

_SHOWN = 5


def load_detector(detector: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copies a state dict into the detector; every name and shape must agree.

    Batch counters of norms are ignored, because frozen batch normalisation has none. A state dict
    without mean and deviation of the pixels, such as torchvision's, keeps the detector's.

    Args:
        detector: gets the weights.
        state: of a detector of the same settings; one of the two may have frozen norms.
        where: the beginning of error messages.

    Raises:
        SpecError: a name is missing or left over, or a shape differs; the message lists them.
    """
    ours = detector.state_dict()
    counters = {k for k in {*ours, *state} if k.endswith("num_batches_tracked")}
    optional = counters | {k for k in ours if is_pixel_norm(k)}
    parts = {
        "missing": sorted(ours.keys() - state.keys() - optional),
        "left over": sorted(state.keys() - ours.keys() - counters),
        "of another shape": sorted(
            f"{k} {tuple(state[k].shape)} for {tuple(ours[k].shape)}"
            for k in ours.keys() & state.keys()
            if state[k].shape != ours[k].shape
        ),
    }
    if any(parts.values()):
        differences = "; ".join(
            f"{word}: {_list_few(names)}" for word, names in parts.items() if names
        )
        remedy = "Both must agree in family, backbone, norms, neck, heads and categories."
        raise SpecError(explain(where, "must fill the whole detector exactly", differences, remedy))
    detector.load_state_dict({name: state.get(name, ours[name]) for name in ours})


def _list_few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
