"""Starts a detector from another one that was trained on other categories.

Everything is loaded but the rows that belong to categories. Of these, rows of a shared name are
kept; the seed's draw stands in all others, so a new category of a focal loss has its prior bias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.class_names import BACKGROUND, match_categories
from rethink_ray.detection.foreign import OUTPUTS_OF_COCO, PER_OUTPUT
from rethink_ray.spec.recipe import KeepClasses

STATE_OF_A_RUN = ".has_joined"
"""End of the name of a buffer that says how far a run has come, not what a network has learned."""
IN_THE_BACKBONE = "network.backbone.body."
"""Beginning of the names of a backbone's tensors; adapters in it may be new."""
DELTAS = 4
"""Numbers that describe a box: a class-agnostic regression has this many rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """How many rows of one tensor a detector took over from the loaded one."""

    num_kept: int
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptClasses:
    """What a detector took over from a detector of other categories."""

    categories: Mapping[str, str]
    """Category of the data set -> the loaded detector's name for it. Its rows were kept."""
    shared: Mapping[str, str]
    """Category of the data set -> the loaded detector's name for it, whether kept or not."""
    drawn: tuple[str, ...]
    """Categories whose rows are as the seed drew them."""
    rows: Mapping[str, KeptRows]
    """Tensor with rows per category -> how many of them were kept, the background's included."""
    num_loaded: int
    """Tensors that were loaded whole."""
    keypoints: tuple[str, ...] = ()
    """Keypoints whose rows were kept."""


def fill_class_rows(
    needed: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    learned: Sequence[str] | None,
    categories: Sequence[str],
    keep: KeepClasses,
) -> tuple[dict[str, Tensor], KeptClasses]:
    """Returns the loaded state with ``needed``'s rows where none is kept.

    Box regression of one-stage detectors, centerness, the proposal network, class-agnostic
    regression and the background's rows have no category, and are loaded. A tensor whose shape
    differs in anything but its categories stays as it was loaded, so that comparing the two states
    names it.

    Args:
        needed: the new detector's tensors; they may be without content (on ``meta``).
        state: of a detector with the same network, under our names.
        learned: its categories in the order of its outputs. ``None``: they are unknown, but taken
            for COCO's if there are as many outputs as torchvision's detectors have.
        categories: of the data set, in the order of the new detector's outputs.
        keep: whether rows of a shared name are kept.
    """
    filled = dict(state)
    for name, value in needed.items():
        is_new = is_adapter(name.removeprefix(IN_THE_BACKBONE)) and name not in filled
        if is_new or name.endswith(STATE_OF_A_RUN):
            filled[name] = value
    shared: dict[str, str] = {}
    rows: dict[str, KeptRows] = {}
    for name, given in filled.items():
        if name not in needed or not PER_OUTPUT.search(name):
            continue
        ours = _split_by_output(name, needed[name], categories)
        theirs = None if ours is None else _split_like(ours, given)
        if ours is None or theirs is None:
            continue
        outputs = _name_outputs(name, learned, num=theirs.shape[1])
        shared |= match_categories(categories, outputs)
        merged, num_kept = _merge_rows(ours, theirs, _list_outputs(name, categories), outputs, keep)
        filled[name] = merged.reshape(needed[name].shape)
        rows[name] = KeptRows(num_kept=num_kept, num_rows=len(needed[name]))
    matches = shared if keep == "by_name" else {}
    kept = KeptClasses(
        categories=matches,
        shared=shared,
        drawn=tuple(category for category in categories if category not in matches),
        rows=rows,
        num_loaded=sum(
            name in state and name not in rows and not name.endswith(STATE_OF_A_RUN)
            for name in needed
        ),
    )
    return filled, kept


def _merge_rows(
    ours: Tensor,
    theirs: Tensor,
    our_outputs: Sequence[str],
    their_outputs: Sequence[str],
    keep: KeepClasses,
) -> tuple[Tensor, int]:
    """Returns ``ours`` with the rows of shared outputs from ``theirs``, and how many these are."""
    shared = match_categories(our_outputs, their_outputs) if keep == "by_name" else {}
    if BACKGROUND in our_outputs:
        shared[BACKGROUND] = BACKGROUND
    merged = ours.clone()
    for output, original in shared.items():
        row = theirs[:, list(their_outputs).index(original)]
        merged[:, our_outputs.index(output)] = row.to(merged)
    return merged, len(shared) * ours.shape[0] * ours.shape[2]


def _split_by_output(name: str, value: Tensor, categories: Sequence[str]) -> Tensor | None:
    """Returns ``[anchors, outputs, rows of one, ...]``; ``None`` for a regression of all classes.

    A tensor of a one-stage detector has a row per anchor and category, a box regression has four
    per category.
    """
    num = len(_list_outputs(name, categories))
    if not _has_background(name):
        return value.reshape(-1, num, 1, *value.shape[1:])
    if "bbox_pred" not in name:
        return value.reshape(1, num, 1, *value.shape[1:])
    if len(value) == DELTAS:
        return None
    return value.reshape(1, num, DELTAS, *value.shape[1:])


def _split_like(ours: Tensor, given: Tensor) -> Tensor | None:
    """Returns a loaded tensor in the same form; ``None`` if it differs in more than categories."""
    rows_per_output = ours.shape[0] * ours.shape[2]
    if not given.dim() or given.shape[1:] != ours.shape[3:] or len(given) % rows_per_output:
        return None
    if ours.shape[2] == DELTAS and len(given) == DELTAS:
        return None
    return given.reshape(ours.shape[0], -1, ours.shape[2], *given.shape[1:])


def _name_outputs(name: str, learned: Sequence[str] | None, *, num: int) -> list[str]:
    """Returns the categories of the loaded detector's ``num`` outputs; empty words: unknown."""
    if learned is not None:
        outputs = _list_outputs(name, learned)
        if len(outputs) == num:
            return outputs
    elif num == len(OUTPUTS_OF_COCO):
        return list(OUTPUTS_OF_COCO)
    unknown = [""] * num
    return [BACKGROUND, *unknown[1:]] if _has_background(name) else unknown


def _list_outputs(name: str, categories: Sequence[str]) -> list[str]:
    return [BACKGROUND, *categories] if _has_background(name) else list(categories)


def _has_background(name: str) -> bool:
    """Returns whether the tensor has a background output; only region heads have one."""
    return "cls_logits" not in name
