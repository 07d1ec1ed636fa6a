"""Which caveats a report prints right under a finding: the most serious, and the twins' difference.

A finding may have many caveats; the others are listed further down.
"""

from collections.abc import Iterable, Mapping

from rethink_ray.judge.noise_floor import PREFIX
from rethink_ray.judge.verdicts import Caveat, Finding, Verdict

ORDER = [
    "failed-searches",
    "refused",
    "failed-replicates",
    "nothing-learned",
    "data-faults",
    "changed-looks",
    "few-replicates",
    "unfinished",
    "select-is-report",
    "parted-chain",
    "unscored",
    "twins",
    "confounded",
    "small-norm-batch",
    "edge",
    "failed-search",
    "few-report-images",
    "seen-holdout",
    "added-later",
    "unequal-budget",
    "unequal-first",
    "select-larger",
    "copied-values",
    "unequal-space",
    "unequal-cost",
    "unbooked-asset",
    "shared-start",
    "shared-labels",
    "mixed-machines",
    "uneven-pace",
    "unplanned",
    "thin-spread",
    "one-search",
    "still-improving",
    "unequal-ends",
    "converged",
    "one-draw",
    "redrawn",
    "tuned-so",
    "test-set-noise",
    "fixed-recipe",
]
"""Kinds of caveats, most serious first: those that make a number wrong stand before those that
narrow its meaning."""
LEAST_SERIOUS = "failed-search"
"""Where the twins' difference is printed, a caveat after this kind is not printed beside it."""


def select_cautions(finding: Finding, caveats: Mapping[str, Caveat]) -> tuple[str, ...]:
    """Texts of a finding's most serious caveat and of the twins' difference.

    A finding that was not tested has none.
    """
    if finding.verdict is Verdict.NOT_TESTED or finding.effect is None:
        return ()
    ranked = sorted(finding.caveats, key=_rank)
    twins = [key for key in ranked if key.startswith(PREFIX)]
    others = [key for key in ranked if key not in twins][:1]
    if twins and others and _rank(others[0]) > ORDER.index(LEAST_SERIOUS):
        others = []
    return tuple(caveats[key].text for key in (*others, *twins))


def select_cautions_of_all(
    findings: Iterable[Finding], caveats: Mapping[str, Caveat]
) -> tuple[str, ...]:
    """The texts for several findings, each once."""
    return tuple(dict.fromkeys(text for f in findings for text in select_cautions(f, caveats)))


def _rank(key: str) -> int:
    kind = key.partition(":")[0].replace(
        "claim", "confounded"
    )  # a claim's caveats: its sides differ
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
