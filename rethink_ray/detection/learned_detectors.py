"""Reads whole detectors that were trained before, with the names of their outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

from rethink_ray.detection.detector_start import KeptClasses, fill_class_rows
from rethink_ray.detection.foreign import rename_to_ours
from rethink_ray.detection.published_weights import find_published_detector
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.detection.tensor_fit import require_finite_weights
from rethink_ray.detection.whole import load_whole_detector, require_fitting_detector
from rethink_ray.spec.recipe import WITH_KEYPOINTS, DetectorSpec, KeepClasses

KEYPOINTS_OF_COCO: tuple[str, ...] = tuple(
    KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.meta["keypoint_names"]
)
KEYPOINT_ROWS = ".kps_score_lowres."
"""Part of the names of tensors with a row per keypoint: its weight has them in its second axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedDetector:
    """A trained detector's weights, and what its outputs stand for."""

    state: Mapping[str, Tensor]
    """Under our names or torchvision's."""
    categories: Sequence[str] | None = None
    """In the order of its outputs, without background. ``None``: they are unknown, but taken for
    COCO's if there are as many outputs as torchvision's detectors have."""
    keypoints: Sequence[str] | None = None
    """In the order of its outputs; ``None``: it finds none, or they are unknown."""


def load_published_detector(detector: DetectorSpec, name: str, where: str) -> LearnedDetector:
    """Returns a detector of torchvision's by name; it is downloaded if it is not in the cache.

    Raises:
        SpecError: there is none, or it can be neither found nor downloaded.
    """
    published = find_published_detector(detector, name)
    meta, has_keypoints = published.weights.meta, detector.family in WITH_KEYPOINTS
    return LearnedDetector(
        state=read_state_dict(published.fetch(), where),
        # its two outputs are "no person" and "person"; the other detectors have COCO's 91
        categories=tuple(meta["categories"][1:]) if has_keypoints else None,
        keypoints=tuple(meta["keypoint_names"]) if has_keypoints else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputNames:
    """What the outputs of a new detector stand for, in their order."""

    categories: Sequence[str]
    keypoints: Sequence[str] = ()


def start_from_learned(
    detector: nn.Module,
    learned: LearnedDetector,
    names: OutputNames,
    keep: KeepClasses,
    where: str,
) -> KeptClasses:
    """Copies a trained detector into a new one, without the rows of outputs they do not share.

    Args:
        detector: gets the weights. Rows that are not kept stay as they are.
        learned: a detector with the same network.
        names: what the outputs of ``detector`` stand for.
        keep: whether rows of a shared category are kept.
        where: the beginning of error messages.

    Raises:
        SpecError: the weights hold a number that is not finite, or do not fit: a name is missing or
            left over, or a shape differs; the message lists them.
    """
    filled, kept = _fill(detector.state_dict(), learned, names, keep, where)
    load_whole_detector(detector, filled, where)
    return kept


def require_fitting_learned(
    needed: Mapping[str, Tensor],
    learned: LearnedDetector,
    names: OutputNames,
    keep: KeepClasses,
    where: str,
) -> KeptClasses:
    """Compares as ``start_from_learned`` does, and loads nothing.

    Raises:
        SpecError: as there.
    """
    filled, kept = _fill(needed, learned, names, keep, where)
    require_fitting_detector(needed, filled, where)
    return kept


def _fill(
    needed: Mapping[str, Tensor],
    learned: LearnedDetector,
    names: OutputNames,
    keep: KeepClasses,
    where: str,
) -> tuple[Mapping[str, Tensor], KeptClasses]:
    """Returns the learned state with ``needed``'s rows where none is kept, and what is kept."""
    require_finite_weights(learned.state, learned.state, where)
    state, keypoints = fill_keypoint_rows(needed, learned, names.keypoints)
    filled, kept = fill_class_rows(needed, state, learned.categories, names.categories, keep)
    num_of_keypoints = sum(KEYPOINT_ROWS in name for name in needed.keys() & state.keys())
    num_loaded = kept.num_loaded - num_of_keypoints
    return filled, replace(kept, keypoints=keypoints, num_loaded=num_loaded)


def fill_keypoint_rows(
    needed: Mapping[str, Tensor], learned: LearnedDetector, keypoints: Sequence[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Returns the learned state, under our names, with heatmaps for ``keypoints``, and the names
    that both share.

    A keypoint of another name, and all of them if names are unknown, is as ``needed`` has it.
    """
    state = rename_to_ours(learned.state, needed)
    shared: tuple[str, ...] = ()
    for name in [name for name in state if KEYPOINT_ROWS in name and name in needed]:
        if state[name].dim() != needed[name].dim():
            continue  # comparing the two states names it
        dim = 0 if name.endswith(".bias") else 1
        num_learned = state[name].shape[dim]
        known = _name_keypoints(learned, num_learned)
        shared = tuple(k for k in keypoints if k in known)
        row_shapes = [(*t.shape[:dim], *t.shape[dim + 1 :]) for t in (state[name], needed[name])]
        if row_shapes[0] != row_shapes[1] or needed[name].shape[dim] != len(keypoints):
            continue  # comparing the two states names it
        merged = needed[name].clone()
        for keypoint in shared:
            row = state[name].select(dim, known.index(keypoint))
            merged.select(dim, list(keypoints).index(keypoint)).copy_(row.to(merged))
        state[name] = merged
    return state, shared


def _name_keypoints(learned: LearnedDetector, num: int) -> list[str]:
    if learned.keypoints is not None and len(learned.keypoints) == num:
        return list(learned.keypoints)
    is_of_coco = learned.keypoints is None and num == len(KEYPOINTS_OF_COCO)
    return list(KEYPOINTS_OF_COCO) if is_of_coco else []
