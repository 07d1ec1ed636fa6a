"""The catch-up curves of He et al. 2018, for the figure of a study on the same data set.

On COCO a unit of schedule is about theirs, so leads may share a figure; absolute AP never does.
"""

from collections.abc import Sequence

from rethink_ray.analysis.read.published_samples import published_samples
from rethink_ray.analysis.read.published_tables import load_published
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
    compared = find_comparisons(
        paper_claims()[CLAIM], list(published_samples(load_published(TABLE)))
    )
    leads: list[Lead] = []
    for comparison in () if isinstance(compared, str) else compared:
        points = tuple(
            (pair.side.length, pair.against.values[0] - pair.side.values[0])
            for pair in comparison.matched_pairs
            if pair.against
            and pair.side.length
            and min(lengths) <= pair.side.length <= max(lengths)
        )
        if points:
            name = f"He 2018, {comparison.labels.get('backbone', '')}, single runs"
            leads.append((name, points))
    return tuple(leads)
