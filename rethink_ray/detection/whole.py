"""A whole detector's weights: backbone, neck and heads, all of them or none."""

from collections.abc import Mapping

from torch import Tensor, nn

from rethink_ray.spec.errors import SpecError, explain

_SHOWN = 5


def load_detector(detector: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy every number of ``state`` into the detector, which may hold no other.

    Counters of batches are no numbers of the model: frozen batch normalisation has none.

    Args:
        detector: takes the weights.
        state: of a detector of the same settings; norms may be frozen here and not there.
        where: named in errors.

    Raises:
        SpecError: a name is missing or left over, or a shape differs; the message lists them.
    """
    ours = detector.state_dict()
    counters = {k for k in {*ours, *state} if k.endswith("num_batches_tracked")}
    parts = {
        "missing": sorted(ours.keys() - state.keys() - counters),
        "left over": sorted(state.keys() - ours.keys() - counters),
        "of another shape": sorted(
            f"{k} {tuple(state[k].shape)} for {tuple(ours[k].shape)}"
            for k in ours.keys() & state.keys()
            if state[k].shape != ours[k].shape
        ),
    }
    if any(parts.values()):
        differences = "; ".join(f"{word}: {_few(names)}" for word, names in parts.items() if names)
        remedy = "Both must agree in family, backbone, norms, neck, heads and categories."
        raise SpecError(explain(where, "must fill the whole detector exactly", differences, remedy))
    detector.load_state_dict({name: state.get(name, ours[name]) for name in ours})


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
