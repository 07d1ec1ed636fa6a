"""Names every kind of fault that a data set can have, in words: the only place that spells them.

``data check``, ``plan``, ``run``, ``status``, caveats and the report read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FaultUnit = Literal["images", "boxes", "masks", "keypoints", "records"]
"""What a kind is counted in. ``records``: entries of the annotation file, images and objects."""
NOTE_PREFIXES = ("orientation", "scaled")
"""How the kinds of notes begin that carry values: EXIF orientations, scales of deep pictures."""
BROKEN_SINCE_INDEXED = "broken_since_indexed"
"""A picture that training could read when it was indexed, and cannot read now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One kind of fault, or of note: ``30 % of the {unit} of train {fate}: {reason}``."""

    unit: FaultUnit
    fate: str
    """Verb and object: what happens to those that have it."""
    reason: str
    """A clause with a subject and a verb."""
    is_left_out: bool = False
    """Those that have it are not in the index; they are counted in addition to those that are."""
    learned: Literal["masks", "keypoints"] | None = None
    """Only detectors that learn these are affected; ``None``: all."""
    is_note: bool = False
    """Worth knowing, and no fault: it is neither in the records nor a caveat."""
    is_met_in_runs: bool = False
    """Only a run can meet it: the data set was whole when the study started."""


_SAME_PICTURE = "another split shows the same picture"
FAULT_KINDS: Mapping[str, FaultKind] = {
    "missing_image": FaultKind(
        unit="images",
        fate="were left out",
        reason="their files are missing",
        is_left_out=True,
    ),
    "unreadable_image": FaultKind(
        unit="images",
        fate="were left out",
        reason="their files cannot be read",
        is_left_out=True,
    ),
    "unreadable_annotation": FaultKind(
        unit="images",
        fate="were left out",
        reason="their entries in the annotation file, or their XML files, cannot be read",
        is_left_out=True,
    ),
    "unreadable_object": FaultKind(
        unit="boxes",
        fate="were left out",
        reason="nothing tells which image they belong to",
        is_left_out=True,
    ),
    "unknown_image": FaultKind(
        unit="records",
        fate="were left out",
        reason="they name an image that is not listed",
        is_left_out=True,
    ),
    "duplicate_id": FaultKind(
        unit="records", fate="may be mixed up", reason="another record has the same id"
    ),
    "unreadable_box": FaultKind(
        unit="boxes",
        fate="were left out",
        reason="their coordinates cannot be read",
        is_left_out=True,
    ),
    "unreadable_crowd": FaultKind(
        unit="boxes",
        fate="were left out",
        reason="it cannot be read whether they mark a crowd",
        is_left_out=True,
    ),
    "box_degenerate": FaultKind(
        unit="boxes", fate="were dropped", reason="they have no pixels inside their picture"
    ),
    "unknown_category": FaultKind(
        unit="boxes", fate="were dropped", reason="train does not have their category"
    ),
    "repeated_object": FaultKind(
        unit="boxes",
        fate="stay",
        reason="another object of their picture has the same category and box",
    ),
    "box_outside": FaultKind(
        unit="boxes", fate="were clamped", reason="they reach beyond their picture"
    ),
    "size_disagrees": FaultKind(
        unit="images",
        fate="may show other things than their boxes mark",
        reason="their annotations state another size",
    ),
    "corners_swapped": FaultKind(
        unit="boxes", fate="were read from corner to corner", reason="their corners are swapped"
    ),
    "unreadable_masks": FaultKind(
        unit="masks",
        fate="were left out",
        reason="they cannot be read, or cover no pixel of their picture",
        learned="masks",
    ),
    "missing_masks": FaultKind(
        unit="boxes",
        fate="have no mask",
        reason="only other objects of the split have one",
        learned="masks",
    ),
    "mask_piece_left_out": FaultKind(
        unit="masks", fate="lost a piece", reason="the piece cannot be read", learned="masks"
    ),
    "unreadable_keypoints": FaultKind(
        unit="keypoints",
        fate="count as not annotated",
        reason="they cannot be read, or are fewer or more than those of other objects",
        learned="keypoints",
    ),
    "unreadable_area": FaultKind(
        unit="boxes",
        fate="were given the area of their box",
        reason="the annotated area cannot be read",
    ),
    "area_unbelievable": FaultKind(
        unit="boxes",
        fate="were given the area of their mask or box",
        reason="the annotated area is larger than their box, or below a hundredth of it",
    ),
    "unreadable_size": FaultKind(
        unit="images",
        fate="count as images without an annotated size",
        reason="the annotated size cannot be read",
    ),
    "unreadable_categories": FaultKind(
        unit="images",
        fate="count as checked for fewer categories",
        reason="their lists of checked categories cannot be read",
    ),
    "levels_cut": FaultKind(
        unit="images", fate="were cut at black or white", reason="their levels exceed those scaled"
    ),
    "levels_not_finite": FaultKind(
        unit="images", fate="have pixels without a value", reason="some levels are no number"
    ),
    "file_name_disagrees": FaultKind(
        unit="images", fate="were read", reason="their annotations name another file"
    ),
    "picture_in_two_splits": FaultKind(unit="images", fate="are refused", reason=_SAME_PICTURE),
    "splits_not_compared": FaultKind(
        unit="images", fate="were not compared", reason="the splits cannot be opened together"
    ),
    BROKEN_SINCE_INDEXED: FaultKind(
        unit="images",
        fate="were replaced by gray without boxes",
        reason="their files broke after they were indexed",
        is_met_in_runs=True,
    ),
    "crowd": FaultKind(
        unit="boxes",
        fate="are not trained on",
        reason="they mark crowds or difficult objects",
        is_note=True,
    ),
    "empty_image": FaultKind(
        unit="images", fate="are background", reason="they have no object", is_note=True
    ),
    "repeated_picture": FaultKind(
        unit="images",
        fate="stay",
        reason="another image of the split shows the same picture",
        is_note=True,
    ),
    "dropped_duplicate": FaultKind(
        unit="images", fate="are left out", reason=_SAME_PICTURE, is_note=True
    ),
    "dropped_empty": FaultKind(
        unit="images",
        fate="are left out",
        reason="they have no object to learn from (data.keep_empty: false)",
        is_note=True,
    ),
}
"""Kind -> its words, in the order in which they are shown."""


def describe_kind(kind: str) -> FaultKind:
    """The words of a kind; of one that this version does not know, its name."""
    unknown = FaultKind(unit="records", fate="have a fault", reason=f"this version names it {kind}")
    return FAULT_KINDS.get(kind, unknown)


def is_note(kind: str) -> bool:
    """Whether a kind is a note; every other kind is a fault."""
    return kind.startswith(NOTE_PREFIXES) or describe_kind(kind).is_note


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultShare:
    """How many images, boxes or masks have a kind of fault."""

    count: int
    total: int
    """How many there are, those with the fault included."""

    @property
    def percent(self) -> str:
        """``30 %``, and below ten ``1.4 %``."""
        value = 100.0 * self.count / self.total
        return f"{value:.0f} %" if value >= 10.0 else f"{value:.1f} %"
