"""The findings of ``data check`` as one JSON document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rethink_ray.data.check import DataFinding
    from rethink_ray.data.leaks import Leak
    from rethink_ray.data.recognise import RecognisedData
    from rethink_ray.data.split_words import SplitSummary
    from rethink_ray.spec.regime import DataSpec


def describe_data(
    data: "DataSpec",
    findings: Mapping[str, "Sequence[DataFinding]"],
    summaries: Mapping[str, "SplitSummary"],
    recognised: "RecognisedData | None",
    section: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The document, without leaks and refusal.

    Args:
        data: the data set.
        findings: faults and notes of each split.
        summaries: what each split holds.
        recognised: the format of a folder; None for a study.
        section: the ``data`` section of a study on this folder; None for a study.
    """
    return {
        "format": recognised.format if recognised else None,
        "notes": list(recognised.notes) if recognised else [],
        "splits": {split: asdict(summary) for split, summary in summaries.items()},
        "classes": _count_classes(data),
        "cut": _describe_cut(data),
        "findings": {
            split: [{**asdict(finding), "is_fault": finding.is_fault} for finding in of_split]
            for split, of_split in findings.items()
        },
        "data": None if section is None else dict(section),
    }


def describe_leaks(leaks: Sequence["Leak"]) -> list[dict[str, Any]]:
    """Every pair of pictures that two splits share: path in ``split``, path in ``other``."""
    return [
        {"split": leak.split, "other": leak.other, "pairs": [list(pair) for pair in leak.pairs]}
        for leak in leaks
    ]


def _count_classes(data: "DataSpec") -> dict[str, dict[str, int]]:
    """Split -> class -> its objects; empty if a split cannot be opened."""
    from rethink_ray.data.class_counts import count_classes
    from rethink_ray.spec.errors import DataError

    try:
        return {split: dict(counts) for split, counts in count_classes(data).items()}
    except DataError:
        return {}


def _describe_cut(data: "DataSpec") -> dict[str, Any] | None:
    """The facts of the cut by ``data.split``; None without it, or if it is refused."""
    from rethink_ray.data.cut_splits import open_cut
    from rethink_ray.spec.errors import DataError

    if data.split is None:
        return None
    try:
        cut = open_cut(data)
    except DataError:
        return None
    return {**asdict(cut.facts), "together": [list(names) for names in cut.examples]}
