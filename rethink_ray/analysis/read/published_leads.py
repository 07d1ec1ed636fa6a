"""He et al.'s own catch-up curves, for the figure of a study that trains on the same data set.

On COCO a unit of schedule is about theirs, so leads may share a figure; absolute AP never does.
"""

from collections.abc import Sequence

from rethink_ray.analysis.read.published_tables import load_published
from rethink_ray.analysis.read.samples import published_samples
from rethink_ray.judge.matching import find_comparisons
from rethink_ray.spec.claim import paper_claims
from rethink_ray.spec.study import Study

TABLE, CLAIM = "published:he_2018", "he_2018/catch-up"
Lead = tuple[str, tuple[tuple[float, float], ...]]
"""A name for the legend, and (length, fine-tuned minus from scratch in AP) along its ladder."""


def published_leads(study: Study, lengths: Sequence[float]) -> tuple[Lead, ...]:
    """The published leads within the lengths of a study on COCO; none for other data sets."""
    if study.data.dataset != "coco" or not lengths:
        return ()
    found = find_comparisons(paper_claims()[CLAIM], list(published_samples(load_published(TABLE))))
    leads: list[Lead] = []
    for place in () if isinstance(found, str) else found:
        points = tuple(
            (met.side.length, met.against.values[0] - met.side.values[0])
            for met in place.matched_pairs
            if met.against and met.side.length and min(lengths) <= met.side.length <= max(lengths)
        )
        if points:
            name = f"He 2018, {place.labels.get('backbone', '')}, single runs"
            leads.append((name, points))
    return tuple(leads)
