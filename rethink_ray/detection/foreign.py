"""Converts torchvision's detector weights to our names and to a data set's categories.

Only stem and region heads have other names in torchvision. Its COCO detectors have 91 outputs,
numbered by COCO's category ids, and 11 of them are unused.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

from rethink_ray.detection.class_names import BACKGROUND as BACKGROUND
from rethink_ray.spec.errors import SpecError, explain

OUTPUTS_OF_COCO: tuple[str, ...] = tuple(RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""Categories of torchvision's 91 outputs, background first."""
RENAMES = (
    (r"^(?:module\.)?(?!network\.)(?=backbone\.|head\.|rpn\.|roi_heads\.)", "network."),
    (r"^(network\.backbone\.body\.)(conv1|bn1)\.", r"\1stem.\2."),
    (r"^(network\.roi_heads\.)(mask|keypoint)_(head|predictor)\.", r"\1branches.\2s.\3."),
)
"""Patterns for beginnings of torchvision's names, and our replacements."""
OLDER_RENAMES = (
    (r"^(network\.backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
    (r"^(network\.rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    *((rf"^(network\..*masks\.head)\.mask_fcn{n + 1}\.", rf"\1.{n}.0.") for n in range(4)),
)
"""Renames layers of torchvision before 0.13, whose names its first COCO files still have. Source:
``_load_from_state_dict`` of its pyramid and heads."""
OLDER_TOWERS = tuple(
    (rf"^(network\.head\.\w+_head\.conv)\.{2 * n}\.(weight|bias)$", rf"\1.{n}.0.\2")
    for n in range(4)
)
"""The same for RetinaNet's towers. FCOS's have such names to this day."""
TOWER = "network.head.classification_head.conv.0.0.weight"
"""A tensor that RetinaNet has and FCOS has not."""
STAGE_RENAME = (r"^(network\.roi_heads\.)(box_head|box_predictor)\.", r"\1stages.0.\2.")
"""Renames the box head if our detector numbers its box stages."""
PER_OUTPUT = re.compile(
    r"(classification_head\.cls_logits|cls_score|(?<!rpn\.head\.)bbox_pred|mask_fcn_logits)"
    r"\.(weight|bias)$"
)
"""Tensors with rows per category; those of the proposal network are not among them."""


def rename_to_ours(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames a state dict from torchvision's names to ours; our names stay as they are."""
    in_a_row = any(".roi_heads.stages." in name for name in ours)
    rules = (*RENAMES, *OLDER_RENAMES, *([STAGE_RENAME] if in_a_row else []))
    if TOWER in ours:
        rules = (*rules, *OLDER_TOWERS)
    return {_rename(name, rules): value for name, value in state.items()}


def select_categories(
    state: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    categories: Sequence[str],
    learned: Sequence[str] | None,
    where: str,
) -> dict[str, Tensor]:
    """Reduces a detector's outputs to ``categories``, in their order.

    Args:
        state: the detector's state dict, under our names.
        ours: the state dict of a detector for ``categories``.
        categories: of the data set, in its order.
        learned: the categories that the file states; ``None``: it states none, and they are COCO's
            if there are as many outputs as torchvision's detectors have.
        where: the beginning of error messages.

    Raises:
        SpecError: the detector does not have one of the categories.
    """
    rows_by_name = {}
    for name, value in state.items():
        outputs = _name_outputs(name, value, ours, learned)
        if outputs is None:
            rows_by_name[name] = value
            continue
        outputs_needed = [BACKGROUND, *categories] if _has_background(name) else list(categories)
        lacking = [category for category in outputs_needed if category not in outputs]
        if lacking:
            shown = ", ".join(lacking[:5])
            must = "must detect every category of the data set"
            remedy = "Choose a detector of these categories; categories are compared by name."
            raise SpecError(explain(where, must, f"none for {shown}", remedy))
        rows = [outputs.index(category) for category in outputs_needed]
        rows_by_name[name] = _select_rows(name, value, len(outputs), rows)
    return rows_by_name


def _rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def _has_background(name: str) -> bool:
    """Returns whether the tensor has a background output; only region heads have one."""
    return "cls_logits" not in name


def _name_outputs(
    name: str, value: Tensor, ours: Mapping[str, Tensor], learned: Sequence[str] | None
) -> list[str] | None:
    """Returns the category of each output of a tensor; ``None`` if its rows need no change."""
    if not PER_OUTPUT.search(name) or name not in ours:
        return None
    if learned is not None:
        return [BACKGROUND, *learned] if _has_background(name) else list(learned)
    unlike = value.shape[:1] != ours[name].shape[:1]
    return list(OUTPUTS_OF_COCO) if unlike and not value.shape[0] % len(OUTPUTS_OF_COCO) else None


def _select_rows(name: str, value: Tensor, num_outputs: int, rows: list[int]) -> Tensor:
    """Selects the rows of some outputs; a tensor has them per anchor, or four per output."""
    if "bbox_pred" in name:
        if value.shape[0] != 4 * num_outputs:
            return value  # one regression for all categories
        return value.reshape(num_outputs, 4, *value.shape[1:])[rows].flatten(0, 1)
    each = value.reshape(-1, num_outputs, *value.shape[1:])
    return each[:, rows].flatten(0, 1)
