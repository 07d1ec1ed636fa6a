"""The facts about a data set that a trial's id and its checks need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rethink_ray.spec.fault_kinds import FaultShare

TOGETHER = {
    "near_duplicates": "look alike",
    "folder": "share a folder",
    "regex": "have names that belong together",
    "none": "are equal byte for byte",
}
"""``data.split.group`` -> what pictures of one group do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFacts:
    """What ``data.split`` did with the pictures of train that can be read."""

    grouping: str
    """``data.split.group``, or ``regex``."""
    shares: Mapping[str, float]
    """Split that was cut from train -> its share as the study asks for it."""
    split_sizes: Mapping[str, int]
    """Split -> its pictures; train's are those that are left."""
    num_groups: int
    num_together: int
    """Groups of two pictures or more."""
    num_images_together: int
    """Pictures in these groups."""
    largest: int
    """Pictures of the largest group."""
    num_parted: int = 0
    """Chains of pictures that look alike that were too long for one split, and were parted."""
    num_images_parted: int = 0
    """Pictures in these chains."""
    num_pieces: int = 0
    """Pieces of these chains."""


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
    holdout_sizes: Mapping[str, int] = field(default_factory=dict)
    """Regime -> number of held-out images that it selects on; empty unless the hold-out is a
    share."""
    upstream_fingerprint: str
    """Hash of what upstream classifiers are trained on."""
    train_digest: str = ""
    """Hash of the ids of all images that a regime is drawn from."""
    upstream_detection: "DataFacts | None" = None
    """Facts of ``data.upstream_detection``, whose one regime is ``all``; ``None`` without it."""
    unlabelled_fingerprint: str = ""
    """Hash of the images that ``data.unlabelled`` names; empty where it names none."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path of each file of weights that runs start from, and of imported labels, as the study
    spells it, or the name of weights of a hub (``timm:<name>.<tag>``, ``hub:org/name``) -> hash of
    its content."""
    detector_files: tuple[str, ...] = ()
    """Those of ``files`` that hold a whole detector, which has learned from boxes already."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Backbone or family of other code (``timm:<name>``, ``package.module:function``) -> its code,
    as ``backbone_code`` names it."""
    has_masks: bool | None = None
    """Whether any training object has a mask; ``None``: not known."""
    num_keypoints: int | None = None
    """Number of keypoints that all training objects share; ``None``: not known."""
    scored_masks: bool | None = None
    """Whether every split that scores has masks."""
    scored_keypoints: int | None = None
    """The smallest number of keypoints in a split that scores."""
    undefined_metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Split that scores -> the metrics that are no number there, because no object of it has the
    size or a keypoint; only splits with such metrics."""
    level_ranges: Mapping[str, list[float]] = field(default_factory=dict)
    """Kind of deep picture -> the levels that become black and white, as train decides."""
    num_dropped: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of its images that ``data.duplicates: drop`` leaves out; only splits that
    lose some."""
    num_empty: int = 0
    """Training images that ``data.keep_empty: false`` leaves out, those of duplicates not
    counted again."""
    untrained_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Split that scores -> its classes of which train has no object; only splits with some."""
    split_faults: Mapping[str, Mapping[str, FaultShare]] = field(default_factory=dict)
    """Split in use (``unlabelled``, too, if the data set has such images) -> kind of fault -> how
    many of its images, boxes or masks have it; only splits with a fault. Empty in studies that were
    started by a version that did not count them."""
    cut: CutFacts | None = None
    """What ``data.split`` did; ``None`` without it."""
    regime_faults: Mapping[str, Mapping[str, FaultShare]] = field(default_factory=dict)
    """The same of each regime's images. Records that were left out before regimes were drawn are
    counted in every regime, as they are in train."""

    @property
    def without_faults(self) -> "DataFacts":
        """The facts that decide numbers, to be compared: later versions count other faults."""
        upstream = self.upstream_detection and self.upstream_detection.without_faults
        return replace(
            self,
            untrained_classes={},
            split_faults={},
            regime_faults={},
            cut=None,
            upstream_detection=upstream,
        )


def left_out_words(facts: DataFacts) -> str:
    """How many images of which split are left out, and why; empty if none are."""
    reasons = []
    if facts.num_dropped:
        counts = ", ".join(f"{num} of {split}" for split, num in facts.num_dropped.items())
        same = "another split shows the same picture (data.duplicates: drop)"
        reasons.append(f"{counts} left out: {same}")
    if facts.num_empty:
        lacking = "a visible keypoint" if facts.num_keypoints else "an object to learn from"
        reasons.append(
            f"{facts.num_empty} of train left out: without {lacking} (data.keep_empty: false)"
        )
    return "; ".join(reasons)


def say_cut(cut: CutFacts) -> Iterator[str]:
    """Sentences about the splits that ``data.split`` cut, and about what it kept together."""
    total = sum(cut.split_sizes.values())
    sizes = []
    for split, num in cut.split_sizes.items():
        goal = f" for {100 * cut.shares[split]:.4g} %" if split in cut.shares else ""
        sizes.append(f"{split} {num} ({100 * num / max(total, 1):.1f} %{goal})")
    yield f"{total} pictures in {cut.num_groups} groups are dealt out: {', '.join(sizes)}"
    if cut.num_together:
        groups = "1 group" if cut.num_together == 1 else f"{cut.num_together} groups"
        largest = f", the largest of {cut.largest}" if cut.num_together > 1 else ""
        does = TOGETHER[cut.grouping]
        yield f"{cut.num_images_together} pictures that {does} stay together in {groups}{largest}"
    if cut.num_parted:
        chains = "1 chain" if cut.num_parted == 1 else f"{cut.num_parted} chains"
        yield (
            f"{chains} of {cut.num_images_parted} pictures that look alike (frames of a video?) "
            f"had to be parted into {cut.num_pieces} pieces: some pictures of different splits "
            "look alike, and scores may be too high. Say what belongs together with "
            "data.split.group: folder or {regex: PATTERN}"
        )
