"""The facts about a data set that a trial's id and its checks need."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """``data`` measures them once per study; ``resolved.json`` records them."""

    fingerprint: str
    """Hash of the annotations of every split the study uses."""
    categories: tuple[str, ...]
    regime_sizes: Mapping[str, int]
    regime_digests: Mapping[str, str]
    """Regime -> hash of its image ids."""
    split_sizes: Mapping[str, int]
    upstream_fingerprint: str
    """Hash of what upstream classifiers are trained on."""
    train_digest: str = ""
    """Hash of the ids of all images that a regime is drawn from."""
    unlabelled_fingerprint: str = ""
    """Hash of the images that ``data.unlabelled`` names; empty where it names none."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path of each file of weights that runs start from, as the study spells it -> hash of its
    content."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Backbone of other code (``timm:<name>``, ``package.module:function``) -> its code, as
    ``backbone_code`` names it."""
    has_masks: bool | None = None
    """Whether any training object has a mask; ``None``: not known."""
    num_keypoints: int | None = None
    """Number of keypoints that all training objects share; ``None``: not known."""
    scored_masks: bool | None = None
    """Whether every split that scores has masks."""
    scored_keypoints: int | None = None
    """The smallest number of keypoints in a split that scores."""
    level_ranges: Mapping[str, list[float]] = field(default_factory=dict)
    """Kind of deep picture -> the levels that become black and white, as train decides."""
    num_dropped: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of its images that ``data.duplicates: drop`` leaves out; only splits that
    lose some."""


def dropped_words(facts: DataFacts) -> str:
    """How many images of which split are left out as duplicates; empty if none are."""
    if not facts.num_dropped:
        return ""
    counts = ", ".join(f"{num} of {split}" for split, num in facts.num_dropped.items())
    return f"{counts} left out: another split shows the same picture (data.duplicates: drop)"
