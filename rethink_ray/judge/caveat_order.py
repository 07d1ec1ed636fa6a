"""Which caveats stand right under a finding: the gravest, and the difference of twins."""

from collections.abc import Iterable, Mapping

from rethink_ray.judge.noise_floor import PREFIX
from rethink_ray.judge.verdicts import Caveat, Finding, Verdict

ORDER = [
    "failed-searches",
    "refused",
    "failed-replicates",
    "nothing-learned",
    "few-replicates",
    "unfinished",
    "select-is-report",
    "unscored",
    "twins",
    "confounded",
    "edge",
    "failed-search",
    "few-report-images",
    "unequal-budget",
    "select-larger",
    "copied-values",
    "unequal-space",
    "unequal-cost",
    "unbooked-asset",
    "shared-start",
    "mixed-machines",
    "uneven-pace",
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
"""Kinds of caveats, gravest first: what undoes a number before what narrows its meaning."""
LEAST_GRAVE = "failed-search"
"""The last kind that is shown beside the twins' difference."""


def select_cautions(finding: Finding, caveats: Mapping[str, Caveat]) -> tuple[str, ...]:
    """Texts of a finding's gravest caveat and of its twins'; none where nothing was tested."""
    if finding.verdict is Verdict.NOT_TESTED or finding.effect is None:
        return ()
    ranked = sorted(finding.caveats, key=_rank)
    twins = [key for key in ranked if key.startswith(PREFIX)]
    others = [key for key in ranked if key not in twins][:1]
    if twins and others and _rank(others[0]) > ORDER.index(LEAST_GRAVE):
        others = []
    return tuple(caveats[key].text for key in (*others, *twins))


def select_cautions_of_all(
    findings: Iterable[Finding], caveats: Mapping[str, Caveat]
) -> tuple[str, ...]:
    """Those of several findings, each once."""
    return tuple(dict.fromkeys(text for f in findings for text in select_cautions(f, caveats)))


def _rank(key: str) -> int:
    kind = key.partition(":")[0].replace("claim", "confounded")  # the two sides of a claim differ
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
