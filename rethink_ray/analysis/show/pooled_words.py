"""``findings --as-if pooled`` as text: what one pool would have done with this study's records."""

import json

from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.pooled import (
    PooledRegime,
    decide_as_pool,
    pool_sentence,
    pool_sheet,
    pool_tree,
)
from rethink_ray.analysis.show.render import SCHEMA_VERSION, aligned, piped

WHY = (
    "A pool ranks all arms together at the first rung, where an arm that starts slowly stands low "
    "whatever it comes to: the ranking is the scheduler's answer, not the detector's."
)


def pooled_terminal(findings: Findings) -> str:
    """Regime by regime: a sentence and a table."""
    parts = [f"{findings.study.study}, as if pooled"]
    for found in decide_as_pool(findings):
        if isinstance(found, PooledRegime):
            parts += [pool_sentence(findings, found), aligned(pool_sheet(findings, found))]
        else:
            parts.append(found)
    return "\n\n".join([*parts, WHY]) + "\n"


def pooled_markdown(findings: Findings) -> str:
    """The same in Markdown."""
    parts = [f"# {findings.study.study}, as if pooled"]
    for found in decide_as_pool(findings):
        if isinstance(found, PooledRegime):
            parts += [pool_sentence(findings, found), piped(pool_sheet(findings, found))]
        else:
            parts.append(found)
    return "\n\n".join([*parts, WHY]) + "\n"


def pooled_json(findings: Findings) -> str:
    """The same as JSON; regimes that cannot be pooled have a sentence only."""
    pools = [
        pool_tree(findings, found) if isinstance(found, PooledRegime) else {"sentence": found}
        for found in decide_as_pool(findings)
    ]
    tree = {"schema_version": SCHEMA_VERSION, "study": findings.study.study, "pools": pools}
    return json.dumps(tree, indent=1, allow_nan=False)
