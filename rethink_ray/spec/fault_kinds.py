"""Describes every kind of fault that a data set can have, in words.

``data check``, ``plan``, ``run``, ``status``, caveats and the report read this table, and no other
module spells these words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FaultUnit = Literal["images", "boxes", "masks", "keypoints", "records", "classes"]
"""The things that a kind counts. ``records``: images and objects of the annotation file."""
NOTE_PREFIXES = ("orientation", "scaled")
"""Beginnings of kinds with a value in their name: EXIF orientations, scales of deep pictures."""
BROKEN_SINCE_INDEXED = "broken_since_indexed"
"""A picture that training could read when it was indexed, and cannot read now."""

LOOKS_ALIKE = "look_alike_in_two_splits"
"""A picture of one split that nearly shows what one of another split shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One kind of fault, or of note: ``30 % of the {unit} of train {fate}: {reason}``."""

    unit: FaultUnit
    fate: str
    """Verb and object, such as ``were clamped``: the treatment of those that have the fault."""
    reason: str
    """A clause with a subject and a verb: why they have the fault."""
    is_left_out: bool = False
    """Whether those that have the fault are not in the index, and add to the number of all."""
    learned: Literal["masks", "keypoints"] | None = None
    """Only detectors that learn these are affected; ``None``: all."""
    is_note: bool = False
    """Whether the kind is worth knowing, but no fault: records and caveats leave it out."""
    is_met_in_runs: bool = False
    """Whether only a run can meet the fault: the data set was whole when the study started."""

    @property
    def unit_words(self) -> str:
        """The unit in a sentence."""
        return "images and boxes" if self.unit == "records" else self.unit


def _left_out(unit: FaultUnit, reason: str) -> FaultKind:
    """Returns the kind of records that are not in the index."""
    return FaultKind(unit=unit, fate="were left out", reason=reason, is_left_out=True)


_SAME_PICTURE = "another split shows the same picture"
FAULT_KINDS: Mapping[str, FaultKind] = {
    "missing_image": _left_out("images", "their files are missing"),
    "unreadable_image": _left_out("images", "their files cannot be read"),
    "unreadable_annotation": _left_out(
        "images", "their entries in the annotation file, or their XML files, cannot be read"
    ),
    "unreadable_object": _left_out("boxes", "nothing tells which image they belong to"),
    "unknown_image": _left_out("boxes", "they name an image that is not listed"),
    "duplicate_id": FaultKind(
        unit="records",
        fate="share their id",
        reason="another one before has the same id; equal ones count once, other boxes stay",
    ),
    "unreadable_box": _left_out("boxes", "their coordinates cannot be read"),
    "box_not_normalised": _left_out(
        "boxes", "a number of their line is no share of the picture (0 to 1)"
    ),
    "unreadable_crowd": _left_out("boxes", "it cannot be read whether they mark a crowd"),
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
    "unreadable_masks": FaultKind(
        unit="masks",
        fate="were left out",
        reason="they cannot be read, or cover no pixel of their picture",
        learned="masks",
    ),
    "mask_off_box": FaultKind(
        unit="masks",
        fate="stay",
        reason="they cover another place than their box, or a small part of it",
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
        is_left_out=True,
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
    LOOKS_ALIKE: FaultKind(
        unit="images",
        fate="stay",
        reason="a picture of another split looks like them, so scores may be too high",
        is_note=True,
    ),
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
    "untrained_class": FaultKind(
        unit="classes", fate="score 0 AP", reason="train has no object of them", is_note=True
    ),
    "unscored_class": FaultKind(
        unit="classes", fate="have no score", reason="only train has objects of them", is_note=True
    ),
    "similar_names": FaultKind(
        unit="classes",
        fate="stay two classes",
        reason="the names differ in case, blanks or one letter",
        is_note=True,
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
    """Returns the words of a kind; a kind that this version does not know is called by its name."""
    unknown = FaultKind(unit="records", fate="have a fault", reason=f"this version names it {kind}")
    return FAULT_KINDS.get(kind, unknown)


def is_note(kind: str) -> bool:
    """Whether a kind is a note; every other kind is a fault."""
    return kind.startswith(NOTE_PREFIXES) or describe_kind(kind).is_note


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultShare:
    """How many images, boxes, masks or other units have a kind of fault."""

    count: int
    total: int
    """The number of all of them, those with the fault included."""

    @property
    def percent(self) -> str:
        """The share as text: ``30 %``, and below ten ``1.4 %``."""
        value = 100.0 * self.count / self.total
        return f"{value:.0f} %" if value >= 10.0 else f"{value:.1f} %"
