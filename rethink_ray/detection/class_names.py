"""Matches the categories of two data sets by name."""

from collections.abc import Mapping, Sequence

BACKGROUND = "__background__"
NO_CATEGORY = frozenset({BACKGROUND, "n/a", ""})
"""Names of outputs that stand for no category. COCO's ids leave eleven of torchvision's unused."""
ALIASES: Mapping[str, str] = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""PASCAL VOC's name -> COCO's name, for the six of VOC's twenty categories that differ."""


def match_categories(categories: Sequence[str], learned: Sequence[str]) -> dict[str, str]:
    """Returns our category -> the other data set's name for it, for every name that both share.

    Names are compared without regard to case. An equal name goes before an alias.

    Example: ``match_categories(("Dog", "sofa"), ("couch", "dog"))`` is
    ``{"Dog": "dog", "sofa": "couch"}``.
    """
    by_name = {_fold(name): name for name in reversed(learned) if _fold(name) not in NO_CATEGORY}
    by_meaning = {_resolve_alias(name): original for name, original in by_name.items()}
    matches = {}
    for category in categories:
        name = _fold(category)
        match = by_name.get(name, by_meaning.get(_resolve_alias(name)))
        if match is not None:
            matches[category] = match
    return matches


def _fold(name: str) -> str:
    return name.strip().casefold()


def _resolve_alias(name: str) -> str:
    return ALIASES.get(name, name)
