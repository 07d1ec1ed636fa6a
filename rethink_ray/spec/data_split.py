"""Splits that are cut from train: which share each gets, and which pictures stay together."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rethink_ray.spec.model import Spec
from rethink_ray.spec.rules.rule import Breach, Rule, refuse_value

SHARE = r"^(100|[0-9]{1,2}([.][0-9]+)?)%$"
Percent = Annotated[str, Field(pattern=SHARE)]
GROUPINGS = ("near_duplicates", "folder", "none")


def share_of(percent: str) -> float:
    """0.2 of ``20%``."""
    return float(percent.rstrip("%")) / 100


def _refuse_odd_share(share: Any) -> Any:
    """A share of the pictures is text such as 20%, in one sentence for all that it is not."""
    if share is None or (
        isinstance(share, str) and re.fullmatch(SHARE, share) and 0 < share_of(share) < 1
    ):
        return share
    remedy = ""
    if isinstance(share, int | float) and 0 < share < 100:
        remedy = f"Write {100 * share if share < 1 else share:g}%."
    must = "must be a share such as 20% (above 0 and below 100, no space)"
    raise refuse_value(must, share, remedy=remedy)


def _refuse_odd_grouping(group: Any) -> Any:
    """A grouping is one of three words, or a group of keys with a regular expression."""
    if isinstance(group, dict | Spec) or group in GROUPINGS:
        return group
    must = "must be near_duplicates, folder, none, or {regex: PATTERN}"
    raise refuse_value(must, group)


def _refuse_odd_pattern(pattern: Any) -> Any:
    """A pattern is text that Python's ``re`` can compile."""
    try:
        re.compile(pattern if isinstance(pattern, str) and pattern else "(")
    except (re.error, RecursionError, OverflowError):
        must = "must be a regular expression of Python's re"
        remedy = "Such as ^([a-z]+)_[0-9]+ for the frames clip_001.jpg, clip_002.jpg, ..."
        raise refuse_value(must, pattern, remedy=remedy) from None
    return pattern


class RegexGroups(Spec):
    """Pictures whose file names give the same text belong together."""

    regex: Annotated[str, BeforeValidator(_refuse_odd_pattern)]
    """A regular expression (Python's ``re``), searched in the path of each picture below its folder
    of images. Its groups in brackets, or else the whole match, are the text. A picture that does
    not match is a group by itself."""


class DataSplit(Spec):
    """Splits that are cut from train, for a data set that has none.

    Which pictures a split gets depends on their content, their classes and the keys of this group,
    and on no file's name or order, unless ``group`` reads it.
    """

    val: Annotated[Percent | None, BeforeValidator(_refuse_odd_share)] = None
    """Share of train's pictures that become ``val``. Null cuts none."""
    test: Annotated[Percent | None, BeforeValidator(_refuse_odd_share)] = None
    """Share of train's pictures that become ``test``. Null cuts none."""
    seed: int = 0
    """Seed of the order in which groups of pictures are given to ``test`` and ``val``."""
    group: Annotated[
        Literal["near_duplicates", "folder", "none"] | RegexGroups,
        BeforeValidator(_refuse_odd_grouping),
    ] = "near_duplicates"
    """Which pictures stay on one side. ``near_duplicates``: those that look alike, also mirrored
    or turned by a quarter (frames of a video, augmented copies), and exports of one picture under
    the names ``NAME.rf.HASH.jpg``. ``folder``: those of one folder. ``{regex: PATTERN}``: those
    whose file names give the same text. ``none``: only files that are equal byte for byte, as in
    every grouping."""

    rules = (
        Rule(
            key="val",
            reads=("test",),
            broken=lambda split: not split.shares and Breach(came="neither"),
            must="must be given, or test",
            remedy="Such as data.split: {{val: 20%, test: 20%}}.",
        ),
        Rule(
            key="test",
            reads=("val",),
            broken=lambda split: (
                sum(split.shares.values()) >= 1
                and Breach(came=" + ".join(filter(None, (split.val, split.test))))
            ),
            must="must leave pictures to train on: val and test are less than 100 % together",
            remedy="Such as val: 20%, test: 20%.",
        ),
    )

    @property
    def shares(self) -> dict[str, float]:
        """Split -> its share, above 0 and below 1; only splits that are cut."""
        shares = {"val": self.val, "test": self.test}
        return {split: share_of(share) for split, share in shares.items() if share is not None}
