"""A whole detector's weights from elsewhere, under our names and for our categories.

torchvision calls its parts as we do, but for the stem and the heads of regions; its COCO detectors
have 91 outputs, by the data set's category ids, of which 11 stand for nothing.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

from rethink_ray.spec.errors import SpecError, explain

BACKGROUND = "__background__"
OUTPUTS_OF_COCO: tuple[str, ...] = tuple(RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""What torchvision's 91 outputs mean, background first."""
PARTS = (
    (r"^(?:module\.)?(?!network\.)(?=backbone\.|head\.|rpn\.|roi_heads\.)", "network."),
    (r"^(network\.backbone\.body\.)(conv1|bn1)\.", r"\1stem.\2."),
    (r"^(network\.roi_heads\.)(mask|keypoint)_(head|predictor)\.", r"\1branches.\2s.\3."),
)
"""torchvision's beginnings of names, and ours."""
STAGE = (r"^(network\.roi_heads\.)(box_head|box_predictor)\.", r"\1stages.0.\2.")
"""Where region heads stand in a row."""
PER_OUTPUT = re.compile(
    r"(classification_head\.cls_logits|cls_score|bbox_pred|mask_fcn_logits)\.(weight|bias)$"
)
"""Tensors whose rows belong to categories; the proposal network's ``cls_logits`` do not."""


def rename_to_ours(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A detector's state dict with our names in place of torchvision's; ours stay as they are."""
    in_a_row = any(".roi_heads.stages." in name for name in ours)
    rules = (*PARTS, STAGE) if in_a_row else PARTS
    return {_renamed(name, rules): value for name, value in state.items()}


def select_categories(
    state: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    categories: Sequence[str],
    learned: Sequence[str] | None,
    where: str,
) -> dict[str, Tensor]:
    """The same detector, which tells ``categories`` in their order and no others.

    Args:
        state: under our names.
        wanted: the state dict of a detector for ``categories``.
        categories: of the data set, in its order.
        known: what the file says its detector tells; ``None``: nothing, and COCO's if there are as
            many outputs as torchvision's have.
        where: named in errors.

    Raises:
        SpecError: a category is not among those that the detector tells.
    """
    rows_by_name = {}
    for name, value in state.items():
        outputs = _outputs(name, value, ours, learned)
        if outputs is None:
            rows_by_name[name] = value
            continue
        outputs_needed = [BACKGROUND, *categories] if _has_background(name) else list(categories)
        lacking = [category for category in outputs_needed if category not in outputs]
        if lacking:
            shown = ", ".join(lacking[:5])
            must = "must tell every category of the data set"
            remedy = "Take a detector of these categories; they go by their names."
            raise SpecError(explain(where, must, f"none for {shown}", remedy))
        rows = [outputs.index(category) for category in outputs_needed]
        rows_by_name[name] = _rows(name, value, len(outputs), rows)
    return rows_by_name


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def _has_background(name: str) -> bool:
    """Region heads have an output for it; heads that look at every place once have none."""
    return "cls_logits" not in name


def _outputs(
    name: str, value: Tensor, ours: Mapping[str, Tensor], learned: Sequence[str] | None
) -> list[str] | None:
    """What the rows of a tensor tell; ``None`` where they need no other order."""
    if not PER_OUTPUT.search(name) or name not in ours:
        return None
    if learned is not None:
        return [BACKGROUND, *learned] if _has_background(name) else list(learned)
    unlike = value.shape[:1] != ours[name].shape[:1]
    return list(OUTPUTS_OF_COCO) if unlike and not value.shape[0] % len(OUTPUTS_OF_COCO) else None


def _rows(name: str, value: Tensor, num_outputs: int, rows: list[int]) -> Tensor:
    """Rows of a tensor that has one for each output: for each anchor, or four sides of each."""
    if "bbox_pred" in name:
        if value.shape[0] != 4 * num_outputs:
            return value  # one regression for all categories
        return value.reshape(num_outputs, 4, *value.shape[1:])[rows].flatten(0, 1)
    each = value.reshape(-1, num_outputs, *value.shape[1:])
    return each[:, rows].flatten(0, 1)
